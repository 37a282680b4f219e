"""Compiles what the image's scripts import: `compile.py TREE`, where TREE is what lies above the base image.

The base image has no compiled standard library, and a read-only root file system never gets one: a fresh pod
would compile all that it imports, at each start. Compiled is what the worker's modules import, and no more;
unchecked, because nothing in an image changes. The same sources give the same bytes.
"""

import importlib
import importlib.util
import json  # noqa: F401 - what the scripts import only when it is needed
import pkgutil
import py_compile
import sys
import traceback  # noqa: F401 - as json
from pathlib import Path


def main() -> None:
    """Import all, and compile what that loaded into the tree."""
    tree = Path(sys.argv[1])
    worker = str(tree / "opt/aggregation")
    sys.path[0] = worker
    for found in pkgutil.walk_packages([worker]):
        importlib.import_module(found.name)
    cells = importlib.import_module("rich.cells")
    cells.cell_len(chr(0x2714))  # rich loads its table of wide characters for the first that is not ASCII
    for name in sorted(sys.modules):
        file = getattr(sys.modules[name], "__file__", None) or ""
        if file.endswith(".py") and name != "__main__":
            inside = Path(file).is_relative_to(tree)
            shown = Path("/") / Path(file).relative_to(tree) if inside else Path(file)
            target = tree / Path(importlib.util.cache_from_source(str(shown))).relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
            py_compile.compile(file, str(target), str(shown), doraise=True, invalidation_mode=mode)


if __name__ == "__main__":
    main()
