"""The processors that a process may use, from control groups of both versions as a container shows them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from aggregation.processors import available, cgroup_quota
from scripts import WORKER, environment

V1 = "32 24 0:28 {root} {mount} rw,nosuid - cgroup cgroup rw,cpu,cpuacct"
V2 = "32 24 0:28 {root} {mount} rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate"


def hierarchy(folder: Path, files: dict[str, str]) -> Path:
    """A mounted hierarchy of control groups."""
    for name, content in files.items():
        path = folder / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    return folder / "cgroup"


@pytest.mark.parametrize(
    ("kind", "root", "group", "files", "quota"),
    [
        # A container with its own namespace of control groups sees its group as the root.
        (V2, "/", "0::/", {"cpu.max": "50000 100000\n"}, 0.5),
        (V2, "/", "0::/", {"cpu.max": "max 100000\n"}, None),
        # Without one it sees the path on the node, and mounted is its own group or all.
        (V2, "/kube/pod1/c1", "0::/kube/pod1/c1", {"cpu.max": "250000 100000\n"}, 2.5),
        (V2, "/", "0::/pod/c", {"pod/cpu.max": "100000 100000\n", "pod/c/cpu.max": "max 100000\n"}, 1.0),
        (V2, "/", "0::/pod/c", {"pod/cpu.max": "400000 100000\n", "pod/c/cpu.max": "300000 100000\n"}, 3.0),
        (V1, "/", "4:cpu,cpuacct:/", {"cpu.cfs_quota_us": "150000\n", "cpu.cfs_period_us": "100000\n"}, 1.5),
        (V1, "/", "4:cpu,cpuacct:/", {"cpu.cfs_quota_us": "-1\n", "cpu.cfs_period_us": "100000\n"}, None),
        (
            V1,
            "/docker/abc",
            "4:cpu,cpuacct:/docker/abc",
            {"cpu.cfs_quota_us": "200000\n", "cpu.cfs_period_us": "100000\n"},
            2.0,
        ),
        (V1, "/", "4:cpu:/", {}, None),
        (V2, "/", "0::/../../other", {"cpu.max": "100000 100000\n"}, 1.0),
        (V2, "/", "nonsense", {"cpu.max": "100000 100000\n"}, None),
    ],
)
def test_quotas(
    tmp_path: Path, kind: str, root: str, group: str, files: dict[str, str], quota: float | None
) -> None:
    """The least of the limits of the group and those above it, as far as they can be seen."""
    mount = hierarchy(tmp_path, files)
    (tmp_path / "mountinfo").write_text(kind.format(root=root, mount=mount) + "\n")
    (tmp_path / "cgroup-of-process").write_text(f"1:name=systemd:/x\n{group}\n")
    proc = tmp_path / "proc"
    proc.mkdir()
    (tmp_path / "mountinfo").rename(proc / "mountinfo")
    (tmp_path / "cgroup-of-process").rename(proc / "cgroup")
    assert cgroup_quota(str(proc)) == quota


def test_no_procfs(tmp_path: Path) -> None:
    """Where nothing can be read no limit is known."""
    assert cgroup_quota(str(tmp_path)) is None


def test_affinity() -> None:
    """A process that is kept to one processor counts one."""
    allowed = min(os.sched_getaffinity(0))
    code = "from aggregation.processors import available; print(available())"
    outcome = subprocess.run(
        ["taskset", "-c", str(allowed), sys.executable, "-c", code],
        env=environment(PYTHONPATH=str(WORKER)),
        capture_output=True,
        text=True,
        check=True,
    )
    assert outcome.stdout == "1\n"
    assert 1 <= available() <= len(os.sched_getaffinity(0))
