"""What the fuzzing shares: texts that nobody would write, how much is tried, and what no call may do."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from aggregation.errors import EXIT_CODES
from scripts import environment
from warm import Ended, Warm

FACTOR = int(os.environ.get("FUZZ", "0"))
"""How many times as many examples as in CI, by hand (`make fuzz`): then they are others each time."""

CODES = {row.code for row in EXIT_CODES} - {1}


def words(text: str, *others: str) -> list[str]:
    """The words of a text, and others, which hold spaces or are long."""
    return [*text.split(), *others]


PIECES = words(
    "/ // .. ../ . ~ { } {inputs} {inputs-file: {output} {number:04} {number} ' \" \\ a~ * ** ? [ ] ! ^ "
    "- -- = , ; & | $ # % %00 %2e%2e%2f l1 l2 runs runs/a result.txt inputs.txt missing.json .tmp "
    ".pipeline.json 0 1 2 00 +1 -1 1_000 \u0663 \u00b2 0x1 1.5 1e400 nan inf 100% 1-3 1-9x2 skip fail "
    "oss:// file:// memory:// :// :: : @ \u202e \ufeff é \udcff \U0001f4a9 \x1b[2J \x7f",
    *(" ", "\n", "\r", "\t", "\u2028", "9" * 99, "9" * 101, "a" * 70, "b" * 300),
)

TEXTS = st.one_of(
    st.lists(st.sampled_from(PIECES), max_size=6).map("".join),
    st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40),
    st.binary(max_size=20).map(lambda data: os.fsdecode(data.replace(b"\0", b"\xff"))),
)
"""What an argument or a variable may hold: anything but NUL."""


def tried(examples: int) -> settings:
    """So many examples in CI, always the same ones; by hand others, and more."""
    return settings(
        max_examples=examples * max(FACTOR, 1),
        derandomize=not FACTOR,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


def state(folder: Path) -> dict[str, bytes | None]:
    """Each file below a folder with what it holds, and each folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


class Sandbox:
    """A root, a folder to call from, and beside them what no call may touch."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.root = place / "root"
        self.cwd = place / "beside" / "cwd"
        self._beside = place / "beside"
        programs = place / "beside" / "bin"
        for folder in (self.cwd, programs, self._beside / "l1"):
            folder.mkdir(parents=True)
        for name in ("cat", "true", "false"):
            (programs / name).symlink_to(f"/bin/{name}")
        for name in ("l1/0.txt", "result.txt", "inputs.txt"):
            (self._beside / name).write_bytes(b"beside")
        self._env = environment(AGGREGATION_ROOT=str(self.root), PATH=str(programs), TMPDIR=str(self.cwd))
        self._before = state(self._beside)

    def fill(self, files: dict[str, bytes]) -> None:
        """Let the root hold these files, and nothing else."""
        for path in sorted(self.root.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        for name, data in files.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_bytes(data)

    def call(
        self,
        script: str,
        arguments: list[str],
        variables: dict[str, str] | None = None,
        tidy: Callable[["Sandbox"], None] = lambda _: None,
    ) -> Ended:
        """Call a script, and see that it ends as it may: with a code of the table, one line, and no harm."""
        ended = Warm.shared().run(script, arguments, self._env | (variables or {}), self.cwd)
        said = (script, arguments, variables, ended)
        assert ended.code in CODES, said
        assert "Traceback" not in ended.stderr, said
        errors = [line for line in ended.stderr.splitlines() if ": error: " in line or '"ERROR"' in line]
        assert len(errors) == bool(ended.code), said
        tidy(self)
        self.see_that_all_is_as_before(said)
        return ended

    def see_that_all_is_as_before(self, said: object = None) -> None:
        """Beside the root nothing is new, gone or another."""
        assert state(self._beside) == self._before, said
        assert {path.name for path in self.place.iterdir()} <= {"root", "beside"}, said


def json_values() -> st.SearchStrategy[object]:
    """Whatever JSON can say."""
    simple = st.none() | st.booleans() | st.integers() | st.floats() | TEXTS
    return st.recursive(
        simple,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
        max_leaves=6,
    )


def damaged(data: bytes, draw: Callable[..., Any]) -> bytes:
    """Data with some bytes cut out, put in or put in place of others."""
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + draw(st.sampled_from([0, 1, 8, 1 << 16])))))
        new = draw(st.one_of(st.binary(max_size=4), st.sampled_from(_BYTES)))
        data = data[:start] + new + data[end:]
    return data


_BYTES = [
    *(b"[" * 100_000, b'{"a":' * 5000, b"9" * 5000, b"\n", b"\r\n", b"\0", b"\xff"),
    *map(str.encode, words("Infinity 1e999 null -1 .. /")),
]
