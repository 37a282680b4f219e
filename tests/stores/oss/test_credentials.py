"""Credentials: each way to get them works for real; a wrong or missing one is exit code 5."""

import os
from pathlib import Path
from urllib.parse import parse_qs

import pytest

from identity_server import Asked, Reply, granted_by_metadata, granted_by_sts, identity_server, refused
from oss_server import Answer, Fault, OssServer
from scripts import Script

ROOT = ("--root", "oss://demo/data")


def joined(server: OssServer) -> bool:
    """Whether the join took place."""
    return "data/l2/0.txt" in server.keys("demo") and server.get("demo", "data/l2/0.txt") == b"ab"


@pytest.mark.parametrize("region", ["cn-hangzhou", ""], ids=["V4", "V1"])
def test_access_key(run: Script, server: OssServer, region: str) -> None:
    """An AccessKey, signed by V4 where the region is known and by V1 where it is not."""
    variables = {**server.environment(), "OSS_REGION": region}
    outcome = run("process.py", 0, 1, *ROOT, **variables)
    assert outcome.returncode == 0, outcome.stderr
    assert joined(server)


@pytest.mark.parametrize("region", ["cn-hangzhou", ""], ids=["V4", "V1"])
def test_sts_token(run: Script, server: OssServer, region: str) -> None:
    """Temporary credentials with their token; without the token they are refused."""
    account = server.issue_credentials()
    variables = {
        **server.environment(),
        "OSS_REGION": region,
        "OSS_ACCESS_KEY_ID": account.access_key_id,
        "OSS_ACCESS_KEY_SECRET": account.access_key_secret,
        "OSS_SESSION_TOKEN": account.security_token or "",
    }
    outcome = run("process.py", 0, 1, *ROOT, **variables)
    assert outcome.returncode == 0, outcome.stderr
    assert joined(server)
    variables["OSS_SESSION_TOKEN"] = ""
    assert run("process.py", 0, 1, *ROOT, **variables).returncode == 5


def test_ecs_ram_role(run: Script, server: OssServer) -> None:
    """The RAM role of an ECS instance, from its metadata service."""

    def answer(asked: Asked) -> Reply:
        known = asked.path.endswith("/ram/security-credentials/demo-role")
        return granted_by_metadata(server.issue_credentials()) if known else refused(404, "NotFound")

    with identity_server(answer) as identity:
        for role, code in (("demo-role", 0), ("no-such-role", 5)):
            led = {"ALIBABA_CLOUD_ECS_METADATA": role, "ALIBABA_CLOUD_ECS_METADATA_ENDPOINT": identity.url}
            outcome = run("process.py", 0, 1, *ROOT, OSS_ENDPOINT=server.endpoint, **led)
            assert outcome.returncode == code, outcome.stderr
            assert outcome.stderr.count("\n") == (code != 0)
    assert joined(server)


def test_rrsa(run: Script, server: OssServer, tmp_path: Path) -> None:
    """RRSA: the pod's OIDC token is exchanged for temporary credentials; what STS refuses is error 5."""
    token = tmp_path / "oidc-token"
    token.write_text("the-oidc-token")
    asks = {
        "Action": ["AssumeRoleWithOIDC"],
        "RoleArn": ["acs:ram::1:role/worker"],
        "OIDCProviderArn": ["acs:ram::1:oidc-provider/ack-rrsa"],
        "OIDCToken": ["the-oidc-token"],
    }

    def answer(asked: Asked) -> Reply:
        said = parse_qs(asked.path.partition("?")[2]) | parse_qs(asked.body.decode())
        whole = asks.items() <= said.items()
        return granted_by_sts(server.issue_credentials()) if whole else refused(400, "MissingParameter")

    with identity_server(answer) as identity:
        variables = {
            "OSS_ENDPOINT": server.endpoint,
            "ALIBABA_CLOUD_ROLE_ARN": asks["RoleArn"][0],
            "ALIBABA_CLOUD_OIDC_PROVIDER_ARN": asks["OIDCProviderArn"][0],
            "ALIBABA_CLOUD_OIDC_TOKEN_FILE": str(token),
            "ALIBABA_CLOUD_STS_ENDPOINT": identity.url,
        }
        outcome = run("process.py", 0, 1, *ROOT, **variables)
        assert outcome.returncode == 0, outcome.stderr
        assert joined(server)
        for changes, code in [
            ({"ALIBABA_CLOUD_OIDC_PROVIDER_ARN": ""}, 5),
            ({"ALIBABA_CLOUD_OIDC_TOKEN_FILE": "/no/token"}, 5),
            ({"ALIBABA_CLOUD_STS_ENDPOINT": "http://127.0.0.1:9"}, 75),
        ]:
            outcome = run("process.py", 0, 1, *ROOT, "--timeout", 0.5, **{**variables, **changes})
            assert outcome.returncode == code, outcome.stderr
            assert outcome.stderr.count("\n") == 1
            assert "the-oidc-token" not in outcome.stderr


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"OSS_ACCESS_KEY_SECRET": "the-wrong-secret"}, "SignatureDoesNotMatch"),
        ({"OSS_ACCESS_KEY_ID": "nobody"}, "InvalidAccessKeyId"),
        ({"OSS_ACCESS_KEY_ID": "", "OSS_ACCESS_KEY_SECRET": ""}, "no credentials are set"),
        ({"OSS_ACCESS_KEY_SECRET": ""}, "the credentials lack OSS_ACCESS_KEY_SECRET"),
        ({"OSS_ACCESS_KEY_ID": ""}, "the credentials lack OSS_ACCESS_KEY_ID"),
        ({"OSS_ENDPOINT": ""}, "set OSS_ENDPOINT"),
        ({"OSS_REGION": "cn-nowhere"}, "OSS_REGION"),
    ],
    ids=str,
)
@pytest.mark.parametrize("script", ["process.py 0 1", "pipeline.py"])
def test_wrong_or_missing(
    run: Script, server: OssServer, script: str, changes: dict[str, str], said: str
) -> None:
    """What is wrong or missing is exit code 5 and one line, never a silent anonymous try, never a secret."""
    outcome = run(*script.split(), *ROOT, "--debug", **{**server.environment(), **changes})
    assert outcome.returncode == 5
    assert said in outcome.stderr.splitlines()[0]
    for secret in ("the-secret", "the-wrong-secret"):
        assert secret not in outcome.stderr + outcome.stdout
    assert not joined(server)


def test_a_bucket_that_is_not_there(run: Script, server: OssServer) -> None:
    """A wrong bucket is a wrong configuration, not a missing input."""
    outcome = run("process.py", 0, 1, "--root", "oss://nobody/data", **server.environment())
    assert outcome.returncode == 5
    assert "NoSuchBucket" in outcome.stderr


def test_a_denied_listing_is_not_an_empty_one(run: Script, server: OssServer) -> None:
    """Where listing is denied merge.py says so, rather than that there is no level."""
    server.faults.add(Fault("*", Answer(403, "AccessDenied")))
    outcome = run("merge.py", 2, *ROOT, **server.environment())
    assert outcome.returncode == 5
    assert "AccessDenied" in outcome.stderr


def test_an_unreachable_endpoint(run: Script) -> None:
    """An endpoint that refuses connections is tried again for --timeout seconds, then exit code 75."""
    outcome = run(
        "process.py",
        *(0, 1, *ROOT, "--timeout", 0.5),
        OSS_ENDPOINT="http://127.0.0.1:9",
        OSS_ACCESS_KEY_ID="the-key",
        OSS_ACCESS_KEY_SECRET="the-secret",
    )
    assert outcome.returncode == 75
    assert outcome.stderr.count("\n") == 1
    assert "for 0.5 seconds" in outcome.stderr
    assert os.strerror(111) in outcome.stderr


@pytest.mark.parametrize("url", ["gs://bucket/x", "nonsense://bucket/x"])
def test_a_protocol_that_cannot_be_spoken(run: Script, url: str) -> None:
    """A store whose package is missing, or that nobody knows, is exit code 5, and says which."""
    outcome = run("process.py", 0, 1, "--root", url)
    assert outcome.returncode == 5
    assert "gcsfs" in outcome.stderr or "nonsense" in outcome.stderr
