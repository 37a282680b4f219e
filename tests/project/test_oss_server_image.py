"""The OSS server in a container, as docs/oss-server.md says it for other projects."""

import re
import time

import pytest

import machine
from pages.markdown import page
from scripts import REPOSITORY, command, environment, finished

pytestmark = [pytest.mark.docker, pytest.mark.xdist_group("docker")]


def shell(script: str) -> str:
    """Run a shell's lines in the repository, which must succeed; returns what they printed."""
    done = finished(["bash", "-euc", script], cwd=REPOSITORY, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_another_project_s_client_reaches_it() -> None:
    """The page's two commands: the image is built, and a join runs against its published port."""
    machine.docker_command()
    (script,) = [
        block.text for block in page("docs/oss-server.md").blocks("sh") if "docker build" in block.text
    ]
    build, run = script.splitlines()
    name = "aggregation-oss-server-test"
    shell(re.sub(r"--tag \S+", f"--tag {name}:test", build))
    run, changed = re.subn(
        r"--publish 127\.0\.0\.1:9000:9000 \S+", f"-d --publish 127.0.0.1::9000 {name}:test", run
    )
    assert changed
    container = shell(run).strip()
    try:
        port = shell(f"docker port {container} 9000").strip().rpartition(":")[2]
        deadline = time.monotonic() + 60
        while "serving" not in shell(f"docker logs {container} 2>&1") and time.monotonic() < deadline:
            time.sleep(0.1)
        given = dict(re.findall(r"^export (\w+)=(.*)$", shell(f"docker logs {container}"), re.MULTILINE))
        given["OSS_ENDPOINT"] = f"http://127.0.0.1:{port}"
        done = finished(
            command("pipeline.py", "--root", "oss://demo/a", "--prepare", "--files", "4", "--levels", "1"),
            env=environment(**given),
        )
        assert done.returncode == 0, done.stderr
        assert "oss://demo/a/result.txt: 4 bytes" in done.stdout
    finally:
        shell(f"docker rm --force {container}")
