"""What the scripts share: options and their types, the lines that they print, and the way to an exit code."""

import gc

gc.set_threshold(20_000)
"""Objects, instead of 700: or the collector looks at what is being imported again and again, 3 ms of a start.
The scripts import this package before click therefore."""
