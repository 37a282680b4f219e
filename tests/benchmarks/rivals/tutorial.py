"""The tutorial's inline script, after its description: both files read as text, stripped, written."""

import sys

first, second, target = sys.argv[1:]
with open(first) as file:
    start = file.read().strip()
with open(second) as file:
    end = file.read().strip()
with open(target, "w") as file:
    file.write(start + end)
