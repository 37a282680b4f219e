"""What the scripts share: options and their types, the lines that they print, and the way to an exit code."""
