"""What a command starts: what still runs when it ends, how it is ended, what it says, why it fails."""

import os
import pty
import re
import resource
import select
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import pytest

import machine
import seccomp
from scripts import Script, command, environment, finished, leftovers, mounted, runs, write_level

PYTHON = shlex.quote(sys.executable)
OLD = b"what an earlier run left\n"


def shell(script: str, *arguments: str, program: str = "sh") -> str:
    """A command that runs a shell, whose script sees the arguments as $0, $1 and so on."""
    return f"{program} -c {shlex.quote(script)} {' '.join(arguments)}"


def in_python(code: str, *arguments: str) -> str:
    """A command that runs a few lines of Python."""
    return f"{PYTHON} -c {shlex.quote(code)} {' '.join(arguments)}"


DAEMON = """
import os, sys, time
with open(sys.argv[1], "w") as file:
    file.write("half")
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        CODE
        time.sleep(2)
        with open(sys.argv[1], "a") as file:
            file.write("whole")
    os._exit(0)
"""
LEFT = {
    "a background job": shell('echo half > "$0"; (sleep 2; echo whole >> "$0") &', "{output}"),
    "a process substitution": shell("cat > >(sleep 2; cat > $0)", "{output}", program="bash"),
    "a job in a group of its own": shell(
        'set -m; echo half > "$0"; (sleep 2; echo whole >> "$0") &', "{output}", program="bash"
    ),
    "a session of its own": shell(
        'echo half > "$0"; setsid sh -c "sleep 2; echo whole >> \\"\\$0\\"" "$0" &', "{output}"
    ),
    "by a variable": shell(
        'echo half > "$0"; F="$0" setsid sh -c "sleep 2; echo whole >> \\"\\$F\\"" & sleep 0.2', "{output}"
    ),
    "by its folder": shell(
        'cd "${0%/*}"; echo half > "${0##*/}"; setsid sh -c "sleep 2; echo whole >> 0.txt" & sleep 0.2',
        "{output}",
    ),
    "a daemon": in_python(DAEMON.replace("CODE", "pass"), "{output}"),
    "a daemon that closes its streams": in_python(DAEMON.replace("CODE", "os.closerange(0, 99)"), "{output}"),
    "what holds its stdout": shell("echo half; (sleep 2; echo whole) &"),
    "a daemon that holds its stdout": shell("echo half; setsid sleep 2 &"),
    "what holds its stdin": shell("echo half; sleep 2 > /dev/null & : stdin"),
}


@pytest.mark.parametrize("text", LEFT.values(), ids=LEFT)
def test_what_still_runs_when_the_command_has_ended(text: str, run: Script, root: Path) -> None:
    """Exit code 7, the process is named, the target stays, and nothing goes on writing."""
    write_level(root, 1, [b"a\n" * (100_000 if "stdin" in text else 1), b"b\n"])
    write_level(root, 2, [OLD])
    started = time.monotonic()
    outcome = run("process.py", 0, 1, "--command", text)
    assert outcome.returncode == 7, outcome
    assert "it ended with 0 while something that it had started still ran" in outcome.stderr
    # A shell that is ended may say so of what it had started.
    assert [line for line in outcome.stderr.splitlines() if line != "Terminated"][1:] == []
    assert (root / "l2/0.txt").read_bytes() == OLD
    assert leftovers(root) == []
    for pid in re.findall(r"process (\d+)", outcome.stderr):
        assert not runs(int(pid))
    time.sleep(max(0.0, started + 3 - time.monotonic()))
    assert (root / "l2/0.txt").read_bytes() == OLD


def test_what_is_about_to_end_is_waited_for(run: Script, root: Path) -> None:
    """A process substitution that only has to write its last bytes makes a whole target."""
    write_level(root, 1, [b"b\n", b"a\n"])
    late = shell('cat "$@" > >(sort > "$0"; sleep 0.1)', "{output}", "{inputs}", program="bash")
    outcome = run("process.py", 0, 1, "--command", late)
    assert outcome.returncode == 0, outcome
    assert (root / "l2/0.txt").read_bytes() == b"a\nb\n"


def test_an_agent_that_was_woken_is_left_alone(run: Script, root: Path, tmp_path: Path) -> None:
    """A daemon that knows nothing of the output (one that keeps keys, say) is no failure, and lives on."""
    write_level(root, 1, [b"a", b"b"])
    wake = shell(
        f'cd /; setsid sleep 30 < /dev/null > /dev/null 2>&1 & echo $! > {tmp_path}/pid; cat "$@"',
        "_",
        "{inputs}",
    )
    outcome = run("process.py", 0, 1, "--command", wake)
    assert outcome.returncode == 0, outcome
    pid = int((tmp_path / "pid").read_text())
    assert runs(pid)
    os.kill(pid, signal.SIGKILL)
    assert (root / "l2/0.txt").read_bytes() == b"ab"


def test_what_is_older_than_the_command_is_left_alone(root: Path, tmp_path: Path) -> None:
    """A child of the worker's that works in the command's folder, as a driver that serves the volume does."""
    write_level(root, 1, [b"a", b"b"])
    works = (
        "import glob, os, sys, time\n"
        "while not (found := glob.glob(sys.argv[1])): time.sleep(0.01)\n"
        "os.chdir(found[0])\n"
        "open(sys.argv[2], 'w').write(str(os.getpid()))\n"
        "time.sleep(30)"
    )
    there = tmp_path / "there"
    driver = shlex.join([sys.executable, "-S", "-c", works, f"{root}/l2/.0.txt.*", str(there)])
    waits = shell(f"until [ -s {there} ]; do sleep 0.01; done; cat")
    line = shlex.join(command("process.py", 0, 1, "--root", root, "--command", waits))
    line = f"{driver} > /dev/null 2>&1 & sleep 0.1; exec {line}"
    done = finished(["bash", "-c", line], env=environment())
    assert (done.returncode, done.stderr) == (0, "")
    pid = int(there.read_text())
    assert runs(pid)
    os.kill(pid, signal.SIGKILL)
    assert (root / "l2/0.txt").read_bytes() == b"ab"


def test_what_a_command_left_is_reaped(root: Path) -> None:
    """The worker keeps no zombie of what commands orphaned: those before, and one that still runs."""
    write_level(root, 1, [b"x"] * 8)
    orphaning = shell('(sleep 0.01 &); cat "$@"', "_", "{inputs}")
    counting = shell(
        "(sleep 0.01 &); (sleep 0.01 &); sleep 0.5; cat /proc/[0-9]*/stat 2> /dev/null | "
        'while read -r line; do case "${line##*) }" in "Z $PPID "*) echo zombie >&2;; esac; done; cat'
    )
    options = ["--workers", 1, "--levels", 2, "--command", orphaning, "--final-command", counting]
    line = command("pipeline.py", "--root", root, *options)
    outcome = finished(line, env=environment())
    assert (outcome.returncode, outcome.stderr) == (0, "")


# Signals and terminals


class OnTerminal(NamedTuple):
    """What came of a program on a terminal of its own."""

    output: bytes
    returncode: int


def on_a_terminal(*line: str) -> OnTerminal:
    """Run a program as the leader of a terminal's session; one that hangs is killed."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(line[0], line, environment())
    deadline = time.monotonic() + 20
    output = b""
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            try:
                block = os.read(terminal, 4096)
            except OSError:  # the other side is closed
                break
            output += block
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(terminal)
    return OnTerminal(output, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


@pytest.mark.parametrize(
    "touch",
    [
        "stty sane < /dev/tty",
        "stty -echo <&2",
        "read -r line < /dev/tty",
        "read -r line <&2",
        "echo x > /dev/tty",
    ],
)
def test_a_command_that_touches_the_terminal(root: Path, touch: str) -> None:
    """It is neither stopped nor fed: a prompt fails at once, or is none of ours."""
    write_level(root, 1, [b"a", b"b"])
    if "<&2" in touch and "read" in touch:
        touch = f"timeout 1 sh -c {shlex.quote(touch)}"  # a read of stderr waits, unless it fails at once
    text = shell(f'{touch}; cat "$@"', "_", "{inputs}")
    ran = on_a_terminal(*command("pipeline.py", "--workers", 2, "--root", root, "--command", text))
    assert ran.returncode == 0, ran
    assert (root / "result.txt").read_bytes() == b"ab"


@pytest.mark.parametrize("how", ["ignores it", "is stopped", "ignores it and left a daemon"])
def test_sigterm_ends_any_command_in_time(root: Path, tmp_path: Path, how: str) -> None:
    """Well before the 10 s of docker stop, whatever the command makes of the signal."""
    write_level(root, 1, [b"a", b"b"])
    act = {
        "ignores it": 'trap "" TERM',
        "is stopped": ":",
        "ignores it and left a daemon": 'trap "" TERM; export F="$0"; setsid sleep 4242 & sleep 0.2',
    }[how]
    stop = "kill -STOP $$;" if how == "is stopped" else ""
    text = shell(f"{act}; echo $$ > {tmp_path}/pid; {stop} while :; do sleep 0.1; done", "{output}")
    worker = subprocess.Popen(
        command("process.py", 0, 1, "--root", root, "--command", text),
        env=environment(),
        stderr=subprocess.PIPE,
    )
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        assert worker.poll() is None
        time.sleep(0.01)
    time.sleep(0.3)
    started = time.monotonic()
    worker.terminate()
    worker.communicate(timeout=30)
    assert worker.returncode == 143
    assert time.monotonic() - started < 10
    assert not runs(int((tmp_path / "pid").read_text()))
    assert leftovers(root) == []


# What is said


def test_side_files_are_named(run: Script, root: Path) -> None:
    """What a command writes beside {output} is not kept, and one line says so: on stderr, in JSON too."""
    write_level(root, 1, [b"a", b"b"])
    aside = shell(
        'cat "$@" > "$0"; touch "$0.aux.xml" "${0%.txt}.wld"; mkdir "${0%/*}/d"', "{output}", "{inputs}"
    )
    outcome = run("process.py", 0, 1, "--command", aside)
    assert outcome.returncode == 0
    assert outcome.stderr.count("\n") == 1
    assert "making l2/0.txt: beside {output} the command wrote 0.txt.aux.xml, 0.wld, d;" in outcome.stderr
    outcome = run("process.py", 0, 1, "--command", aside, "--log-format", "json")
    assert '"severity": "WARNING"' in outcome.stderr
    many = shell(
        'cat "$@" > "$0"; touch "$0".1 "$0".2 "$0".3 "$0".4 "$0".5 "$0".6 "$0".7', "{output}", "{inputs}"
    )
    assert "0.txt.5 and 2 more;" in run("process.py", 0, 1, "--command", many).stderr


def test_lines_of_several_commands_are_told_apart(root: Path) -> None:
    """Each line on stderr begins with its step; bytes stay, and the last line needs no end."""
    write_level(root, 1, [b"x"] * 8)
    loud = shell(
        'for n in 1 2 3; do echo "line $n of $1"; done >&2; echo "plain $1"; '
        'printf "50%%\\r60%%\\r\\n\\377 end" >&2; cat > "$0"',
        "{output}",
        "{number}",
    )
    line = command("pipeline.py", "--root", root, "--workers", 4, "--levels", 1, "--command", loud)
    done = subprocess.run(line, env=environment(), capture_output=True, check=False)
    assert done.returncode == 0, done
    lines = done.stderr.splitlines()
    for number in range(4):
        label = f"process.py {number} 1: ".encode()
        mine = [line.removeprefix(label) for line in lines if line.startswith(label)]
        texts = [f"{what} {number}".encode() for what in ("line 1 of", "line 2 of", "line 3 of", "plain")]
        assert sorted(mine) == sorted([*texts, b"50%", b"60%", b"\xff end"])
    labelled = [line for line in lines if line.startswith(b"process.py ")]
    assert len(labelled) == 4 * 7


def test_nothing_of_much_output_is_lost(root: Path) -> None:
    """Lines without end, a slow reader and little memory: all bytes come through."""
    write_level(root, 1, [b"x"] * 4)
    loud = in_python(
        "import sys; sys.stderr.buffer.write(b'a' * 3_000_000 + b'\\n' + b'b\\n' * 200_000); print('out')"
    )
    line = command("pipeline.py", "--root", root, "--workers", 2, "--levels", 1, "--command", loud)
    with subprocess.Popen(
        line, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as worker:
        assert worker.stderr is not None
        time.sleep(1)  # the pipe is full, and the commands wait
        peak = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{worker.pid}/status").read_text())[0])
        printed = worker.stderr.read()
    assert worker.returncode == 0
    assert printed.count(b"a") >= 2 * 3_000_000
    assert printed.count(b"b\n") == 2 * 200_000 + 200_000  # the last merge prints without a label
    assert peak < 64_000


# Why it does not run


def test_a_script_with_windows_line_ends(run: Script, root: Path, tmp_path: Path) -> None:
    """The kernel only says that there is no such file; the line says why, also where `env` does."""
    write_level(root, 1, [b"a", b"b"])
    for first in ("#!/bin/sh", "#!/usr/bin/env bash"):
        path = tmp_path / "merge.sh"
        path.write_bytes(f"{first}\r\ncat\r\n".encode())
        path.chmod(0o755)
        outcome = run("process.py", 0, 1, "--command", str(path))
        assert outcome.returncode == 7
        assert f"{path} has Windows line ends (CRLF); convert it: sed -i 's/\\r$//' {path}" in outcome.stderr


class Broken(NamedTuple):
    """A file that cannot be run, and what is said of it."""

    content: bytes
    said: str
    mode: int = 0o755


def elf(machine: int, loader: bytes = b"") -> bytes:
    """The headers of a 64-bit program for some processor, with a loader if it has one."""
    fields = (2, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", *fields)
    return head + struct.pack("<IIQQQQQQ", 3, 4, 120, 0, 0, len(loader) + 1, 0, 1) + loader + b"\0"


BROKEN = {
    "a missing interpreter": Broken(
        b"#!/opt/none/python3 -u\n", "asks for /opt/none/python3, which is not there"
    ),
    "no interpreter": Broken(b"#!\n", "asks for no program"),
    "no first line": Broken(b"cat\n", "does not say what runs it"),
    "empty": Broken(b"", "does not say what runs it"),
    "a byte order mark": Broken(b"\xef\xbb\xbf#!/bin/sh\n", "begins with a byte order mark"),
    "another processor": Broken(elf(183), "is built for aarch64, this is"),
    "another loader": Broken(elf(62, b"/lib/ld-none.so.1"), "asks for the loader /lib/ld-none.so.1"),
    "for Windows": Broken(b"MZ\x90\0", "is a program for Windows"),
    "not executable": Broken(b"#!/bin/sh\n", "is not executable; chmod +x", 0o644),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
def test_a_program_that_cannot_run(broken: Broken, run: Script, root: Path, tmp_path: Path) -> None:
    """Exit code 7, and the line says what is wrong with the file."""
    write_level(root, 1, [b"a", b"b"])
    path = tmp_path / "prog"
    path.write_bytes(broken.content)
    path.chmod(broken.mode)
    outcome = run("process.py", 0, 1, "--command", str(path))
    assert outcome.returncode == 7, outcome
    assert f"{path} {broken.said}" in outcome.stderr
    assert "cannot be started: " in outcome.stderr
    assert outcome.stderr.count("\n") == 1


def test_a_program_on_a_mount_without_programs(run: Script, root: Path, tmp_path: Path) -> None:
    """A volume mounted noexec."""
    write_level(root, 1, [b"a", b"b"])
    folder = tmp_path / "tools"
    folder.mkdir()
    with mounted(folder, "-t", "tmpfs", "-o", "noexec", "none"):
        shutil.copy("/bin/cat", folder / "cat")
        outcome = run("process.py", 0, 1, "--command", folder / "cat")
    assert outcome.returncode == 7
    assert "mounted noexec" in outcome.stderr


def test_a_program_that_is_still_written(run: Script, root: Path, tmp_path: Path) -> None:
    """What passes is 75: a file that another process has open to write."""
    write_level(root, 1, [b"a", b"b"])
    path = tmp_path / "cat"
    shutil.copy("/bin/cat", path)
    with path.open("ab"):
        outcome = run("process.py", 0, 1, "--command", path)
    assert outcome.returncode == 75, outcome
    assert "Text file busy" in outcome.stderr


def test_too_many_processes(root: Path) -> None:
    """Neither a thread nor a process can be started: that passes, so 75, and it is no bug."""
    machine.syscall_filter()
    write_level(root, 1, [b"a", b"b"])
    calls = [name for name in ("clone", "clone3", "fork", "vfork") if name in seccomp.calls()]
    denied = [word for name in calls for word in ("--deny", f"{name}=EAGAIN")]
    line = command("process.py", 0, 1, "--root", root, "--command", "cat")
    limited = [sys.executable, seccomp.__file__, *denied, "--", *line]
    done = finished(limited, env=environment())
    assert done.returncode == 75, done
    assert done.stderr.count("\n") == 1


# Where it runs


def test_a_relative_root_and_scratch(root: Path, tmp_path: Path) -> None:
    """{inputs} and {output} are absolute, so that a command may change its folder."""
    write_level(root, 1, [b"a", b"b"])
    (tmp_path / "scratch").mkdir()
    text = shell('cd /; cat "$@" > "$0"; echo "$0" "$@" >&2', "{output}", "{inputs}")
    for options in ([], ["--scratch", "scratch"]):
        done = finished(
            command("process.py", 0, 1, "--root", root.name, "--command", text, *options),
            cwd=tmp_path,
            env=environment(),
        )
        assert done.returncode == 0, done
        assert all(path.startswith("/") for path in done.stderr.split())
        assert (root / "l2/0.txt").read_bytes() == b"ab"
    assert os.listdir(tmp_path / "scratch") == []


def test_no_folder_for_temporary_files(root: Path, tmp_path: Path) -> None:
    """Exit code 5 and the cure: in a pod with a read-only root and no volume at /tmp."""
    write_level(root, 1, [b"a", b"b"])
    (tmp_path / "sitecustomize.py").write_text(
        "import tempfile; tempfile._candidate_tempdir_list = lambda: ['/proc/nowhere']"
    )
    line = command("process.py", 0, 1, "--root", f"file://{root}", "--command", "cat {inputs}")
    done = finished(line, env=environment(PYTHONPATH=str(tmp_path)))
    assert done.returncode == 5, done
    assert "--scratch" in done.stderr
    assert "emptyDir" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("text", ["exit 3", "cat > /dev/null"])
def test_a_mount_that_goes_away_under_the_command(run: Script, root: Path, text: str) -> None:
    """The failure, the command's or that of reading for it, is then the mount's: 75, which is tried again."""
    with mounted(root, "-t", "tmpfs", "none"):
        write_level(root, 1, [b"a" * 2**20, b"b"])  # more than a pipe holds, so that 1.txt is opened later
        outcome = run("process.py", 0, 1, "--command", shell(f"umount -l {root}; {text}", "{output}"))
        mounts = Path("/proc/mounts").read_text()
        if str(root) not in mounts:  # for the umount at the end
            subprocess.run(["mount", "-t", "tmpfs", "none", str(root)], check=True)
    assert outcome.returncode == 75, outcome
    assert "see that the volume is mounted" in outcome.stderr


# Limits of open files


def test_the_limit_of_open_files_is_raised(root: Path) -> None:
    """To the hard limit for the worker, and not for its command, which may use select()."""
    write_level(root, 1, [b"a", b"b"])
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    # The worker's own limit is low until its child has started: the child looks until it is not.
    until = "until ! grep -q 'open files *100 ' /proc/$PPID/limits; do sleep 0.01; done"
    report = shlex.join(["sh", "-c", f"{until}; grep open.files /proc/$PPID/limits; ulimit -Sn; ulimit -Hn"])
    line = shlex.join(command("process.py", 0, 1, "--root", str(root), "--command", report))
    done = subprocess.run(
        ["bash", "-c", f"ulimit -Sn 100; {line}"], env=environment(), check=False, timeout=60
    )
    assert done.returncode == 0
    ours, soft, theirs = (root / "l2/0.txt").read_text().splitlines()
    assert ours.split()[3:5] == [str(hard), str(hard)]
    assert (soft, theirs) == ("100", str(hard))


def test_descriptors_above_1023(root: Path) -> None:
    """A command's pipes may have any number: select() would refuse them."""
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 2000:
        pytest.skip("the hard limit of open files is below 2000 here (ulimit -Hn)")
    write_level(root, 1, [b"a", b"b"])
    line = shlex.join(command("process.py", 0, 1, "--root", str(root), "--command", "cat"))
    held = 'ulimit -Sn 2000; for n in $(seq 3 1100); do eval "exec $n< /dev/null"; done'
    done = subprocess.run(["bash", "-c", f"{held}; {line}"], env=environment(), check=False)
    assert done.returncode == 0
    assert (root / "l2/0.txt").read_bytes() == b"ab"
