"""The worker's scripts as processes that are forked from one that has imported them: 5 ms a call, not 150.

All else is as ever: each call has its own arguments, environment, streams, signals and end.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple, NoReturn, Self

SECONDS = 60
"""What a call may take before SIGALRM ends it; shortly before, its threads say on stderr where they are."""

_WORKER = Path(__file__).resolve().parent.parent.parent / "worker"
_SCRIPTS = ("prepare", "process", "merge", "inputs", "plan", "pipeline")


class Ended(NamedTuple):
    """What came of a call: its exit code, negative for a signal's number, and what it printed."""

    code: int
    stdout: str
    stderr: str


class Warm:
    """The process that forks."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._streams = tempfile.TemporaryDirectory()
        self._calls = 0

    @classmethod
    @cache
    def shared(cls) -> Self:
        """One for all tests of this process; it ends with it."""
        return cls()

    def start(self, script: str, arguments: Sequence[object], env: dict[str, str], folder: Path) -> int:
        """Start a call in a folder; returns its process's number, which is its group's too."""
        return int(self._ask(script, [*map(str, arguments)], env, str(folder)))

    def wait(self, pid: int) -> Ended:
        """Wait until a call has ended, in whatever order the others do."""
        code = int(self._ask(pid))
        streams = [Path(self._streams.name, f"{pid}.{name}") for name in ("out", "err")]
        texts = []
        for stream in streams:
            stream.touch()  # it is not there where a kill came first
            texts.append(stream.read_text(encoding="utf-8", errors="replace"))
            stream.unlink()
        return Ended(code, *texts)

    def run(self, script: str, arguments: Sequence[object], env: dict[str, str], folder: Path) -> Ended:
        """Run a script to its end."""
        return self.wait(self.start(script, arguments, env, folder))

    def _ask(self, *question: object) -> str:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps([*question, self._streams.name]), file=self._process.stdin, flush=True)
        return self._process.stdout.readline()


def _serve() -> None:
    sys.path.insert(0, str(_WORKER))
    import importlib  # noqa: PLC0415 - for the process that forks

    import aggregation.commands.command  # noqa: PLC0415
    import aggregation.inputs.given  # noqa: PLC0415
    import aggregation.runner  # noqa: PLC0415
    import aggregation.stores.fsspec_store.store  # noqa: PLC0415
    import aggregation.stores.oss.store  # noqa: PLC0415
    import aggregation.stores.volume.store  # noqa: F401, PLC0415

    for script in _SCRIPTS:
        importlib.import_module(script)
    for line in sys.stdin:
        first, *rest = json.loads(line)
        if isinstance(first, int):
            print(os.waitstatus_to_exitcode(os.waitpid(first, 0)[1]), flush=True)
            continue
        if "AWS_ENDPOINT_URL" in rest[1]:
            importlib.import_module("s3fs")  # a second, for calls that need it
        if (pid := os.fork()) == 0:
            _become(first, *rest)
        else:
            print(pid, flush=True)


def _become(script: str, arguments: list[str], env: dict[str, str], folder: str, streams: str) -> NoReturn:
    import faulthandler  # noqa: PLC0415 - as above
    import signal  # noqa: PLC0415

    from aggregation.command_line import entry  # noqa: PLC0415
    from aggregation.command_line.console import console  # noqa: PLC0415

    os.setsid()
    signal.alarm(SECONDS)
    for number, path in enumerate(
        (os.devnull, f"{streams}/{os.getpid()}.out", f"{streams}/{os.getpid()}.err")
    ):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.dup2(descriptor, number)
        os.close(descriptor)
    faulthandler.dump_traceback_later(SECONDS - 5)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    sys.argv = [str(_WORKER / script), *arguments]
    console.__init__()  # type: ignore[misc]  # it reads the arguments and the environment
    entry.main(getattr(sys.modules[script.removesuffix(".py")], script.removesuffix(".py")))


if __name__ == "__main__":
    _serve()
