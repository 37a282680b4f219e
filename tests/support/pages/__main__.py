"""Write anew what is made from the code: the drawings, and the tables between their marks (`make docs`).

`python tests/support/pages NAME` prints the generated part of that name instead, such as `scale`.
"""

import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parent.parent.parent
sys.path[:0] = [str(TESTS.parent / "worker"), str(TESTS), str(TESTS / "support"), str(TESTS.parent)]

from pages import picture, tables  # noqa: E402 - the path leads there now
from pages.markdown import pages  # noqa: E402


def main() -> None:
    """Write what differs, and say what that was; or print the parts that are named."""
    if names := sys.argv[1:]:
        print("\n\n".join(tables.TABLES[name]() for name in names))
        return
    made = {page.path: tables.written(page) for page in pages()} | picture.drawn()
    for path, text in made.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            print(f"written: {path.relative_to(TESTS.parent)}")


if __name__ == "__main__":
    main()
