"""Runs the commands of expanded pods on this machine, with a directory in the place of their volume."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import scripts
from workflows.expansion import expand
from workflows.parameters import Manifest
from workflows.pods import Outputs, Pod, Stage

DEFAULT_ROOT = "/mnt/vol/aggregation-demo"
"""What the worker takes where a pod says nothing."""

_IN_ONE_PROCESS = """
import json, os, runpy, sys
for command, variables in json.load(sys.stdin):
    os.environ.update(variables)
    script, *arguments = command
    name = os.path.basename(script).removesuffix(".py")
    runpy.run_path(script)[name].main(arguments, standalone_mode=False)
    for name in variables:
        del os.environ[name]
"""


class Finished(NamedTuple):
    """A workflow that has run: what ran, and the parameters that its entrypoint puts out."""

    stages: list[Stage]
    outputs: dict[str, str]


class Cluster:
    """A volume, one Secret's keys, and processes in the place of pods."""

    def __init__(self, folder: Path, secret: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._secret = secret or {}
        self.volume = folder / "volume"
        self.volume.mkdir()

    def run(self, pod: Pod) -> Outputs:
        """Run one pod as a process and return what Argo would hand on."""
        places = self._places(pod)
        done = self._started(pod, places)
        assert done.returncode == 0, f"{pod.command} ended with {done.returncode}: {done.stderr}"
        files = {output.parameter: Path(_moved(output.path, places)) for output in pod.outputs}
        contents = {name: path.read_text().removesuffix("\n") for name, path in files.items()}
        return Outputs(done.stdout.removesuffix("\n"), contents)

    def attempt(self, pod: Pod) -> tuple[int, str]:
        """Run one pod as a process: its exit code, and what it says last."""
        done = self._started(pod, self._places(pod))
        return done.returncode, (done.stderr.splitlines() or [""])[-1]

    def _started(self, pod: Pod, places: Mapping[str, Path]) -> subprocess.CompletedProcess[str]:
        return scripts.finished(
            _command(pod), cwd=scripts.WORKER, env=scripts.environment(**self._variables(pod, places))
        )

    def run_each(self, pods: Iterable[Pod]) -> list[Outputs]:
        """Run each pod as a process of its own, two at a time."""
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(self.run, pods))

    def finish(
        self, submitted: Manifest, library: Sequence[Manifest], given: Mapping[str, str] | None = None
    ) -> Finished:
        """Run all the pods of a manifest, stage by stage."""
        made: dict[int, Outputs] = {}
        running = expand(submitted, library, given, run=lambda pod: made[id(pod)], outputs=True)
        stages = []
        while True:
            try:
                stages.append(next(running))
            except StopIteration as ended:
                outputs = {key.removeprefix("parameters."): text for key, text in ended.value.items()}
                return Finished(stages, outputs)
            pods = stages[-1].pods
            made.update(zip(map(id, pods), self.run_each(pods), strict=True))

    def run_together(self, pods: Iterable[Pod]) -> None:
        """Run pods one after the other in a single process: the same scripts without the start-up of each."""
        calls = [(_command(pod)[1:], self._variables(pod, self._places(pod))) for pod in pods]
        done = scripts.finished(
            [sys.executable, "-c", _IN_ONE_PROCESS],
            cwd=scripts.WORKER,
            env=scripts.environment(),
            input=json.dumps(calls),
        )
        assert done.returncode == 0, done.stderr

    def _places(self, pod: Pod) -> dict[str, Path]:
        """Where each mount is on this machine: the claim is shared, all else is a pod's own."""
        return {
            path: self.volume
            if "persistentVolumeClaim" in pod.volumes[volume]
            else Path(tempfile.mkdtemp(prefix="scratch-", dir=self._folder))
            for path, volume in pod.mounts
        }

    def _variables(self, pod: Pod, places: Mapping[str, Path]) -> dict[str, str]:
        variables = {"AGGREGATION_ROOT": DEFAULT_ROOT} | dict(pod.environment)
        keys = {key.variable: self._secret[key.key] for key in pod.secrets if key.key in self._secret}
        return {name: _moved(value, places) for name, value in variables.items()} | keys


def _moved(path: str, places: Mapping[str, Path]) -> str:
    for mount, place in places.items():
        if path == mount or path.startswith(f"{mount}/"):
            return f"{place}{path.removeprefix(mount)}"
    return path


def _command(pod: Pod) -> list[str]:
    assert pod.command[0] == "python3", pod.command
    return [sys.executable, *pod.command[1:]]
