"""Temporary credentials: what each answer of STS and of the metadata service comes to, and renewal."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from aggregation.errors import ConfigurationError
from aggregation.stores.oss import role_answers, roles
from aggregation.stores.oss.transport import UnansweredError
from identity_server import (
    Asked,
    Reply,
    fields,
    granted_by_metadata,
    granted_by_sts,
    identity_server,
    refused,
)
from oss_server import Account, Answer, Delay, Fault, OssServer
from places import variables
from scripts import Script

ROOT = ("--root", "oss://demo/data")
TOKEN_PATH = "/latest/api/token"
TOKEN_HEADER = "x-aliyun-ecs-metadata-token"
MIB = 1 << 20


class Service(NamedTuple):
    """One of the two services: its table, how it grants, how the worker is led to it."""

    name: str
    table: tuple[role_answers.Row, ...]
    granted: Callable[[Account], Reply]
    led: Callable[[Path, str], dict[str, str]]
    fetch: Callable[[], role_answers.Temporary]


def led_to_sts(folder: Path, url: str) -> dict[str, str]:
    """RRSA's variables."""
    token = folder / "oidc-token"
    token.write_text("the-oidc-token\n")
    return {
        "ALIBABA_CLOUD_ROLE_ARN": "acs:ram::1:role/worker",
        "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": "acs:ram::1:oidc-provider/ack-rrsa",
        "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(token),
        "ALIBABA_CLOUD_STS_ENDPOINT": url,
    }


def led_to_metadata(_: Path, url: str) -> dict[str, str]:
    """The variables of an ECS instance's role."""
    return {"ALIBABA_CLOUD_ECS_METADATA": "demo-role", "ALIBABA_CLOUD_ECS_METADATA_ENDPOINT": url}


def ask_sts() -> role_answers.Temporary:
    """What a worker does that is led to STS."""
    return roles.assume_role("testing", "the-role", os.environ["ALIBABA_CLOUD_OIDC_TOKEN_FILE"])


def ask_metadata() -> role_answers.Temporary:
    """What a worker does that is led to the metadata service."""
    return roles.ask_metadata("testing", "demo-role")


STS = Service("STS", role_answers.STS_ANSWERS, granted_by_sts, led_to_sts, ask_sts)
METADATA = Service(
    "metadata", role_answers.METADATA_ANSWERS, granted_by_metadata, led_to_metadata, ask_metadata
)

LATER, WRONG = 75, 5
ROWS: list[tuple[Service, Reply, int]] = [
    (STS, Reply(302, headers={"Location": "{elsewhere}"}), WRONG),
    (STS, Reply(307, headers={"Location": "{elsewhere}"}), WRONG),
    (STS, refused(408, "RequestTimeout"), LATER),
    (STS, refused(429, "Throttling"), LATER),
    (STS, refused(500, "InternalError"), LATER),
    (STS, refused(503, "ServiceUnavailable"), LATER),
    (STS, Reply(502, b"<html>Bad Gateway</html>"), LATER),
    (STS, refused(400, "Throttling"), LATER),
    (STS, refused(400, "Throttling.User"), LATER),
    (STS, refused(403, "Throttling.Api"), LATER),
    (STS, refused(400, "ServiceUnavailable"), LATER),
    (STS, refused(400, "SignatureNonceUsed"), LATER),
    (STS, refused(401, "AuthenticationFail.OIDCToken.Expired"), LATER),
    (STS, refused(401, "AuthenticationFail.OIDCToken.Invalid"), WRONG),
    (STS, refused(401, "AuthenticationFail.NoPermission"), WRONG),
    (STS, refused(404, "EntityNotExist.Role"), WRONG),
    (STS, refused(400, "InvalidParameter.RoleArn"), WRONG),
    (STS, Reply(200, b"<html>Log in</html>"), WRONG),
    (STS, Reply(200, []), WRONG),
    (STS, Reply(200, {"Credentials": {}}), WRONG),
    (STS, Reply(200, {"Credentials": {**fields(Account("i", "s", "a\nb"))}}), WRONG),
    (STS, Reply(200, b'{"Credentials": {', length=400), LATER),
    (METADATA, Reply(302, headers={"Location": "{elsewhere}"}), WRONG),
    (METADATA, refused(408, ""), LATER),
    (METADATA, refused(429, "Throttling"), LATER),
    (METADATA, refused(500, "InternalError"), LATER),
    (METADATA, Reply(503, b""), LATER),
    (METADATA, refused(200, "Throttling.User"), LATER),
    (METADATA, refused(200, "InternalError"), LATER),
    (METADATA, refused(200, "AssumeRoleUnauthorizedOperation"), WRONG),
    (METADATA, Reply(404, b"<html>404 - Not Found</html>"), WRONG),
    (METADATA, Reply(403, b"<html>403 - Forbidden</html>"), WRONG),
    (METADATA, Reply(200, b"not JSON"), WRONG),
]
"""Sources: the pages of STS's and of the common error codes, those on instance metadata, and HTTP."""


def named(value: object) -> str:
    """An id for a row."""
    if isinstance(value, Service):
        return value.name
    if isinstance(value, Reply):
        code = value.body.get("Code", "") if isinstance(value.body, dict) else value.body
        return f"{value.status} {code!s:.20}"
    return str(value)


@pytest.mark.parametrize(("service", "reply", "exit_code"), ROWS, ids=named)
def test_each_answer(tmp_path: Path, service: Service, reply: Reply, exit_code: int) -> None:
    """It is told to the client's retries, or final; nothing goes to where a redirect points."""
    account = Account("id", "secret", "token")
    with identity_server(lambda _: service.granted(account)) as elsewhere:
        headers = {name: value.format(elsewhere=elsewhere.url) for name, value in reply.headers.items()}

        def answer(asked: Asked) -> Reply:
            return Reply(404) if asked.path == TOKEN_PATH else reply._replace(headers=headers)

        with identity_server(answer) as identity, variables(service.led(tmp_path, identity.url)):
            expected = UnansweredError if exit_code == LATER else ConfigurationError
            with pytest.raises(expected) as raised:
                service.fetch()
        assert elsewhere.asked == []
    said = str(raised.value)
    assert "Said by a test" not in said
    assert reply.status == 200 or str(reply.status) in said


@pytest.mark.parametrize(
    ("service", "reply", "exit_code"),
    [
        (STS, refused(400, "Throttling.User"), LATER),
        (STS, refused(401, "AuthenticationFail.NoPermission"), WRONG),
        (METADATA, Reply(503, b""), LATER),
        (METADATA, Reply(404, b""), WRONG),
    ],
    ids=named,
)
def test_what_an_answer_ends_in(
    run: Script, server: OssServer, tmp_path: Path, service: Service, reply: Reply, exit_code: int
) -> None:
    """Given always it ends in its exit code and one line; what passes, given once, only costs a try."""
    account = server.issue_credentials()
    always = True

    def answer(asked: Asked) -> Reply:
        if asked.path == TOKEN_PATH:
            return Reply(404)
        first = len([one for one in identity.asked if one.path != TOKEN_PATH]) == 1
        return reply if always or first else service.granted(account)

    with identity_server(answer) as identity:
        led = {"OSS_ENDPOINT": server.endpoint, **service.led(tmp_path, identity.url)}
        outcome = run("process.py", 0, 1, *ROOT, "--timeout", 0.4, **led)
        assert outcome.returncode == exit_code, outcome.stderr
        assert outcome.stderr.count("\n") == 1
        always = False
        identity.asked.clear()
        again = run("process.py", 0, 1, *ROOT, "--timeout", 20, **led)
        assert again.returncode == (0 if exit_code == LATER else exit_code), again.stderr


@pytest.mark.parametrize("service", [STS, METADATA], ids=named)
def test_each_row_has_an_answer(service: Service) -> None:
    """Each row of a table is the first that fits some answer above: none is there for nothing."""
    for row in service.table:
        for other, reply, exit_code in ROWS:
            code = reply.body.get("Code", "") if isinstance(reply.body, dict) else ""
            fits = [r for r in service.table if reply.status in r.status and re.fullmatch(r.code, code)]
            if other is service and fits and fits[0] == row:
                assert row.retried == (exit_code == LATER)
                break
        else:
            pytest.fail(f"no answer for {row}")


@pytest.mark.parametrize("service", [STS, METADATA], ids=named)
def test_a_service_that_is_not_there(
    run: Script, server: OssServer, tmp_path: Path, service: Service
) -> None:
    """A refused connection is tried again, then 75; the line names the service, not the bucket's endpoint."""
    led = {"OSS_ENDPOINT": server.endpoint, **service.led(tmp_path, "http://127.0.0.1:9")}
    outcome = run("process.py", 0, 1, *ROOT, "--timeout", 0.4, **led)
    assert outcome.returncode == LATER, outcome.stderr
    assert service.name in outcome.stderr
    assert outcome.stderr.count("\n") == 1


@pytest.mark.parametrize("service", [STS, METADATA], ids=named)
def test_a_stalled_service_is_asked_again(
    run: Script, server: OssServer, tmp_path: Path, service: Service
) -> None:
    """One question that is not answered does not cost the whole --timeout."""
    account = server.issue_credentials()

    def answer(asked: Asked) -> Reply:
        if asked.path == TOKEN_PATH:
            return Reply(200, b"the-token")
        first = len([one for one in identity.asked if one.path != TOKEN_PATH]) == 1
        return Reply(200, stall=True) if first else service.granted(account)

    with identity_server(answer) as identity:
        led = {"OSS_ENDPOINT": server.endpoint, **service.led(tmp_path, identity.url)}
        outcome = run("process.py", 0, 1, *ROOT, "--timeout", 12, **led)
    assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize(
    ("service", "later"), [(STS, "new ones"), (STS, "down"), (METADATA, "refused")], ids=named
)
def test_renewal(run: Script, server: OssServer, tmp_path: Path, service: Service, later: str) -> None:
    """Before credentials end new ones are asked for and used; the old ones where none come."""
    server.settings.credential_seconds = 60
    accounts = [server.issue_credentials()]

    def answer(asked: Asked) -> Reply:
        if asked.path == TOKEN_PATH:
            return Reply(404)
        first = len([one for one in identity.asked if one.path != TOKEN_PATH]) == 1
        if first or later == "new ones":
            if not first:
                accounts.append(server.issue_credentials())
            return service.granted(accounts[-1])
        return Reply(503) if later == "down" else refused(403, "AuthenticationFail.NoPermission")

    for number in range(2):
        server.put_pattern("demo", f"data/l1/{number}.txt", 3 * MIB)
    server.faults.add(Fault("UploadPartCopy", Delay(11), times=1))  # longer than between two questions
    with identity_server(answer) as identity:
        led = {"OSS_ENDPOINT": server.endpoint, **service.led(tmp_path, identity.url)}
        outcome = run("process.py", 0, 1, *ROOT, **led)
        asked = [one for one in identity.asked if one.path != TOKEN_PATH]
    assert outcome.returncode == 0, outcome.stderr
    assert len(asked) == 2
    used = set(server.counters.clients)
    assert used == {account.access_key_id for account in accounts}
    assert len(used) == (2 if later == "new ones" else 1)


def hardened(account: Account) -> Callable[[Asked], Reply]:
    """A metadata service that answers nobody without a token."""

    def answer(asked: Asked) -> Reply:
        if asked.path == TOKEN_PATH:
            seconds = asked.headers.get("x-aliyun-ecs-metadata-token-ttl-seconds", "")
            whole = asked.method == "PUT" and seconds.isdigit() and 1 <= int(seconds) <= 21600
            return Reply(200, b"the-metadata-token") if whole else Reply(400)
        if asked.headers.get(TOKEN_HEADER) != "the-metadata-token":
            return Reply(403, b"<html>403 - Forbidden</html>")
        return granted_by_metadata(account)

    return answer


def test_hardened_metadata(run: Script, server: OssServer, tmp_path: Path) -> None:
    """Where an instance demands a token, one is asked for, and shown in no line."""
    with identity_server(hardened(server.issue_credentials())) as identity:
        led = {"OSS_ENDPOINT": server.endpoint, **led_to_metadata(tmp_path, identity.url)}
        outcome = run("process.py", 0, 1, *ROOT, **led)
        assert outcome.returncode == 0, outcome.stderr


@pytest.mark.parametrize(
    "token",
    [
        Reply(404),
        Reply(405),
        Reply(403),
        Reply(501),
        Reply(503),
        Reply(200, b"<html>\n</html>"),
        Reply(200, stall=True),
        Reply(302, headers={"Location": "/latest/meta-data"}),
    ],
    ids=["404", "405", "403", "501", "503", "HTML", "stalled", "redirect"],
)
def test_plain_metadata(tmp_path: Path, token: Reply) -> None:
    """An instance that knows no tokens, or whose tokens do not come, is asked in the plain mode."""
    account = Account("id", "secret", "token")

    def answer(asked: Asked) -> Reply:
        return token if asked.path == TOKEN_PATH else granted_by_metadata(account)

    with identity_server(answer) as identity, variables(led_to_metadata(tmp_path, identity.url)):
        assert ask_metadata().credentials.get_security_token() == "token"


def test_a_token_that_comes_later(run: Script, server: OssServer, tmp_path: Path) -> None:
    """Where the plain mode is refused, and the token only late, the role is not called wrong."""
    answer = hardened(server.issue_credentials())

    def busy_once(asked: Asked) -> Reply:
        return Reply(503) if len(identity.asked) == 1 else answer(asked)

    with identity_server(busy_once) as identity:
        led = {"OSS_ENDPOINT": server.endpoint, **led_to_metadata(tmp_path, identity.url)}
        outcome = run("process.py", 0, 1, *ROOT, **led)
    assert outcome.returncode == 0, outcome.stderr


def test_metadata_go_through_no_proxy(run: Script, server: OssServer, tmp_path: Path) -> None:
    """A proxy for the world is none for the instance's own link."""
    with identity_server(hardened(server.issue_credentials())) as identity:
        led = {
            "OSS_ENDPOINT": f"http://localhost:{server.port}",
            "http_proxy": "http://127.0.0.1:9",
            "no_proxy": "localhost",
            **led_to_metadata(tmp_path, identity.url),
        }
        outcome = run("process.py", 0, 1, *ROOT, **led)
    assert outcome.returncode == 0, outcome.stderr


def test_one_thread_asks_for_all(run: Script, server: OssServer, tmp_path: Path) -> None:
    """Many requests at once that need credentials cost one question; its failure is not repeated by each."""
    for number in range(32):
        server.put("demo", f"data/l1/{number}.txt", b"x")
    server.faults.add(Fault("*", Answer(503, "ServiceUnavailable"), times=3))
    with identity_server(lambda _: granted_by_sts(server.issue_credentials())) as identity:
        led = {"OSS_ENDPOINT": server.endpoint, **led_to_sts(tmp_path, identity.url)}
        outcome = run("merge.py", 32, "--level", 1, *ROOT, **led)
        assert outcome.returncode == 0, outcome.stderr
        assert len(identity.asked) == 1
