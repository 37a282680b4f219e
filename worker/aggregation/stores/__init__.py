"""Where files lie: the promise that every store keeps, and a folder for each kind of store."""
