"""The standard library's way: shutil.copyfileobj, then fsync."""

import os
import shutil
import sys

*sources, target = sys.argv[1:]
with open(target, "wb") as out:
    for path in sources:
        with open(path, "rb") as file:
            shutil.copyfileobj(file, out)
    out.flush()
    os.fsync(out.fileno())
