"""`python tests/support/lengths.py FOLDER...`: names each file, function and class that is over a limit."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FILE_LINES = 300
FUNCTION_LINES = 50
PUBLIC_METHODS = 12


def too_long(path: Path) -> Iterator[str]:
    """What of a file is over a limit, a line each."""
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    if lines > FILE_LINES:
        yield f"{path}: {lines} lines, more than {FILE_LINES}"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            size = (node.end_lineno or node.lineno) - node.lineno + 1
            if size > FUNCTION_LINES:
                yield f"{path}:{node.lineno}: {node.name} has {size} lines, more than {FUNCTION_LINES}"
        elif isinstance(node, ast.ClassDef) and not _is_store(node):
            methods = [
                item for item in node.body if isinstance(item, ast.FunctionDef) and item.name[0] != "_"
            ]
            if len(methods) > PUBLIC_METHODS:
                count = f"{len(methods)} public methods, more than {PUBLIC_METHODS}"
                yield f"{path}:{node.lineno}: {node.name} has {count}"


def _is_store(node: ast.ClassDef) -> bool:
    """A protocol and what keeps it have as many methods as the promise."""
    return node.name.endswith("Storage") or any(ast.unparse(base) == "Protocol" for base in node.bases)


def main(folders: list[str]) -> int:
    """Print what is too long; 1 if there is any."""
    found = [
        line for folder in folders for path in sorted(Path(folder).rglob("*.py")) for line in too_long(path)
    ]
    for line in found:
        print(line)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
