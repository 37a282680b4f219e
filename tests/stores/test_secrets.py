"""No secret in any output: each way in, in each state of fault, with the most that can be printed."""

from collections.abc import Callable
from pathlib import Path

import pytest

from identity_server import Reply, fields, granted_by_metadata, granted_by_sts, identity_server
from oss_server import Account, Answer, Fault, Instead, LoseAnswer, OssServer, Reset, Truncate
from scripts import command, environment, finished

SECRET = "marked-Secret0"
TOKEN = "marked-Token0-of-STS"
PASSWORD = "marked-Password0"
MARK = "marked-"

STATES: dict[str, tuple[Fault, ...]] = {
    "well": (),
    "denied": (Fault("*", Answer(403, "SignatureDoesNotMatch", f"You signed with {SECRET}.")),),
    "busy": (Fault("*", Answer(503, "ServiceUnavailable")),),
    "reset": (Fault("*", Reset()),),
    "lost": (Fault("PutObject", LoseAnswer()),),
    "cut": (Fault("GetObject", Truncate(0)),),
    "led elsewhere": (Fault("*", Instead(307, b"", {"Location": f"http://127.0.0.1:9/?token={TOKEN}"})),),
    "a page": (Fault("*", Instead(200, b"<html>", {"x-oss-request-id": ""})),),
}


def printed(folder: Path, script: str, *arguments: object, **variables: str) -> tuple[int, str]:
    """The exit code of a script in a folder of its own, and all that it printed or wrote there."""
    line = command(script, *arguments, "--debug", "--timeout", "0.3")
    words = []
    code = 0
    for form in ("json", "text"):
        told = {
            "AGGREGATION_LOG_FORMAT": form,
            "AGGREGATION_SUMMARY_FILE": str(folder / "summary.json"),
            "AGGREGATION_TERMINATION_MESSAGE": str(folder / "message"),
        }
        env = environment(**told, **variables)
        done = finished(line, env=env, cwd=folder)
        code = done.returncode
        words += [done.stdout, done.stderr]
        words += [path.read_text("utf-8", "replace") for path in folder.rglob("*") if path.is_file()]
    return code, "\n".join(words)


def own(_: OssServer, __: Path) -> dict[str, str]:
    """OSS_*."""
    return {"OSS_ACCESS_KEY_ID": "id", "OSS_ACCESS_KEY_SECRET": SECRET, "OSS_SESSION_TOKEN": TOKEN}


def of_all_tools(_: OssServer, __: Path) -> dict[str, str]:
    """What other tools of Alibaba Cloud read."""
    return {
        "ALIBABA_CLOUD_ACCESS_KEY_ID": "id",
        "ALIBABA_CLOUD_ACCESS_KEY_SECRET": SECRET,
        "ALIBABA_CLOUD_SECURITY_TOKEN": TOKEN,
    }


def with_an_end_of_line(server: OssServer, folder: Path) -> dict[str, str]:
    """As a Secret made by `echo | base64` has it."""
    return {name: f"{value}\n" for name, value in own(server, folder).items()}


def of_several_lines(server: OssServer, folder: Path) -> dict[str, str]:
    """What no header can hold."""
    return own(server, folder) | {"OSS_SESSION_TOKEN": f"{TOKEN}\n{TOKEN}"}


def not_ascii(server: OssServer, folder: Path) -> dict[str, str]:
    """What no signature can be made with."""
    return own(server, folder) | {"OSS_ACCESS_KEY_SECRET": f"{SECRET}\u5bc6"}


def by_a_proxy(server: OssServer, folder: Path) -> dict[str, str]:
    """A proxy's password; nobody listens there."""
    return own(server, folder) | {"http_proxy": f"http://name:{PASSWORD}@127.0.0.1:9"}


def by_a_wrong_proxy(server: OssServer, folder: Path) -> dict[str, str]:
    """A proxy whose URL cannot be read."""
    return own(server, folder) | {"http_proxy": f"http://name:{PASSWORD}@127.0.0.1:port"}


def in_the_endpoint(server: OssServer, folder: Path) -> dict[str, str]:
    """A password that does not belong there."""
    endpoint = server.endpoint.replace("://", f"://name:{PASSWORD}@")
    return own(server, folder) | {"OSS_ENDPOINT": endpoint}


WAYS: list[Callable[[OssServer, Path], dict[str, str]]] = [
    own,
    of_all_tools,
    with_an_end_of_line,
    of_several_lines,
    not_ascii,
    by_a_proxy,
    by_a_wrong_proxy,
    in_the_endpoint,
]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_a_key_of_ones_own(way: Callable[[OssServer, Path], dict[str, str]], tmp_path: Path) -> None:
    """Keys, tokens and passwords from the environment, as they should be and as they should not."""
    account = Account("id", SECRET, security_token=TOKEN)
    with OssServer(["demo"], access_key_id="other", access_key_secret="other") as server:
        server.accounts.add(account)
        for number in range(2):
            server.put("demo", f"a/l1/{number}.txt", b"x")
        for state, faults in STATES.items():
            folder = tmp_path / state
            folder.mkdir()
            for fault in faults:
                server.faults.add(fault)
            given = {"OSS_ENDPOINT": server.endpoint, "OSS_REGION": "cn-hangzhou"} | way(server, folder)
            code, text = printed(folder, "process.py", 0, 1, "--root", "oss://demo/a", **given)
            server.faults.clear()
            assert MARK not in text, f"{state}: {text}"
            assert code != 1, f"{state}: {text}"
            if way in (own, of_all_tools, with_an_end_of_line) and state == "well":
                assert code == 0, text


@pytest.mark.parametrize("service", ["sts", "metadata"])
@pytest.mark.parametrize("answer", ["granted", "refused", "busy", "nonsense", "led elsewhere"])
def test_a_role(service: str, answer: str, tmp_path: Path) -> None:
    """The OIDC token that goes to STS, and what STS and the metadata service grant."""
    account = Account("id", SECRET, security_token=TOKEN)
    granted = granted_by_sts(account) if service == "sts" else granted_by_metadata(account)
    reply = {
        "granted": granted,
        "refused": Reply(403, {"Code": "NoPermission", "Message": f"for {SECRET} {TOKEN}"}),
        "busy": Reply(503, fields(account)),
        "nonsense": Reply(200, f"{SECRET} {TOKEN}".encode()),
        "led elsewhere": Reply(302, b"", {"Location": f"http://127.0.0.1:9/?token={TOKEN}"}),
    }[answer]
    (tmp_path / "work").mkdir()
    oidc = tmp_path / "oidc"
    oidc.write_text(f"{PASSWORD}\n")
    with OssServer(["demo"]) as server, identity_server(lambda _: reply) as identity:
        url = identity.url
        led = (
            {
                "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/worker",
                "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/ack",
                "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(oidc),
                "ALIBABA_CLOUD_STS_ENDPOINT": url,
            }
            if service == "sts"
            else {"ALIBABA_CLOUD_ECS_METADATA": "role", "ALIBABA_CLOUD_ECS_METADATA_ENDPOINT": url}
        )
        led |= {"OSS_ENDPOINT": server.endpoint, "OSS_REGION": "cn-hangzhou"}
        code, text = printed(tmp_path / "work", "process.py", 0, 1, "--root", "oss://demo/a", **led)
    assert MARK not in text, text
    assert code in (3, 5, 75), text


@pytest.mark.parametrize(
    "root",
    [
        f"ftp://name:{PASSWORD}@127.0.0.1:9/x",
        f"http://name:{PASSWORD}@127.0.0.1:9/x",
        f"sftp://name:{PASSWORD}@127.0.0.1:9/x",
        f"oss://name:{PASSWORD}@demo/x",
        f"s3://name:{PASSWORD}@demo/x",
        f"http://127.0.0.1:9/x?Signature={PASSWORD}",
        f"simplecache::ftp://name:{PASSWORD}@127.0.0.1:9/x",
    ],
)
@pytest.mark.parametrize("script", [("process.py", 0, 1), ("pipeline.py",)])
def test_a_root_with_a_password(root: str, script: tuple[object, ...], tmp_path: Path) -> None:
    """Wherever a root is shown, its password is not."""
    name, *arguments = script
    keys = {"OSS_ENDPOINT": "http://127.0.0.1:9", "OSS_ACCESS_KEY_ID": "id", "OSS_ACCESS_KEY_SECRET": SECRET}
    code, text = printed(tmp_path, str(name), *arguments, "--root", root, **keys)
    assert MARK not in text, text
    assert code in (2, 3, 5, 75), text
