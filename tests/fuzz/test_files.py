"""Files that somebody damaged, or that something else wrote under our names: a code of the table, no harm."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hostile import TEXTS, Sandbox, damaged, json_values, tried

LETTERS = {f"l1/{number}.txt": bytes([65 + number]) for number in range(4)}
WHOLE = b"ABCD"
FORM = {
    "files": 4,
    "fan_in": 2,
    "levels": 2,
    "output": "result.txt",
    "suffix": ".txt",
    "commands": [None, None],
}
JOURNAL = {"run": "0123456789abcdef", "form": FORM, "writer": "host-1 1 1"}
NOTES = {"run": "0123456789abcdef", "made": {"0": ["a", "b"], "1": ["a", "b"]}}
LIST = b"# 2 inputs, 1 missing, made by inputs.py --expected names.txt --missing skip\nl1/0.txt\nl1/1.txt\n"
DIGEST = "c4a9d3d2f7f4a39c6a7e1c5c1d4f7d38"
ACCOUNT = {"made_by": "inputs.py", "missing": 1, "expected": 3, "names": ["x"], "list": DIGEST}


@st.composite
def documents(draw: st.DrawFn, sample: dict[str, Any]) -> bytes:
    """A JSON document like the sample, with other values, or damaged."""
    document: Any = dict(sample)
    for name in draw(st.lists(st.sampled_from(sorted(sample)), max_size=2)):
        document[name] = draw(json_values())
    if draw(st.integers(0, 5)) == 0:
        document = draw(json_values())
    return damaged(json.dumps(document).encode(), draw)


@st.composite
def lists(draw: st.DrawFn) -> bytes:
    """A list of inputs like the sample, with other lines, or damaged."""
    lines = LIST.split(b"\n")
    for _ in range(draw(st.integers(0, 2))):
        lines[draw(st.integers(0, len(lines) - 1))] = draw(TEXTS).encode("utf-8", "surrogateescape")
    return damaged(b"\n".join(lines), draw)


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    """One for all examples."""
    return Sandbox(Path(tmp_path_factory.mktemp("sandbox")))


@tried(25)
@given(journal=documents(JOURNAL), notes=documents(NOTES), mark=st.none() | documents({"form": FORM}))
def test_any_journal(sandbox: Sandbox, journal: bytes, notes: bytes, mark: bytes | None) -> None:
    """Whatever an interrupted run is said to have been, a result is made of all inputs."""
    marks = {} if mark is None else {"runs/a~": mark}
    sandbox.fill(LETTERS | {"runs/a/.pipeline.json": journal, "runs/a/.made-l2.json": notes} | marks)
    arguments = ["--resume", "--files=4", "--workers=1"] + (["--run=a"] if mark is not None else [])
    ended = sandbox.call("pipeline.py", arguments)
    assert ended.code in (0, 2), ended
    if ended.code == 0:
        assert (sandbox.root / "result.txt").read_bytes() == WHOLE


@tried(70)
@given(
    given=lists(),
    account=documents(ACCOUNT),
    call=st.sampled_from(
        [
            ("process.py", "0", "1", "--inputs=inputs.txt"),
            ("merge.py", "2", "--level=1", "--inputs=inputs.txt"),
            ("merge.py", "2", "--inputs=inputs.txt", "--run=a", "--clean"),
            ("plan.py", "1", "--inputs=inputs.txt"),
            ("pipeline.py", "--inputs=inputs.txt", "--levels=1", "--workers=1"),
            ("inputs.py", "--expected=inputs.txt", "--missing=skip", "--inputs=other.txt"),
            ("inputs.py", "--glob=l1/*"),
        ]
    ),
)
def test_any_list(sandbox: Sandbox, given: bytes, account: bytes, call: tuple[str, ...]) -> None:
    """Whatever a list of inputs and the account of its gaps hold, by whatever script they are read."""
    beside = dict.fromkeys(("missing.json", "result.txt.missing.json"), account)
    in_run = {f"runs/a/{name}": data for name, data in (("inputs.txt", given), ("missing.json", account))}
    sandbox.fill(LETTERS | beside | in_run | {"inputs.txt": given, "runs/a~": b""})
    ended = sandbox.call(call[0], list(call[1:]))
    assert ended.code in (0, 2, 3, 5, 6), ended
    for name, data in LETTERS.items():
        assert (sandbox.root / name).read_bytes() == data
