"""Whom the OSS server of the tests lets in: both signatures, secrets, tokens, clocks, regions."""

from typing import Any

import oss2
import pytest

from oss_clients import connect, refused, send, signed
from oss_server import OssServer


@pytest.mark.parametrize("version", [oss2.AUTH_VERSION_1, oss2.AUTH_VERSION_4])
def test_who_may_sign(server: OssServer, version: str) -> None:
    """A wrong secret, an unknown key, no key, another token and an expired one are told apart."""
    key, secret = server.access_key_id, server.access_key_secret
    account, other = server.issue_credentials(), server.issue_credentials()
    theirs, token = (account.access_key_id, account.access_key_secret), account.security_token
    sts = connect(server, oss2.StsAuth(*theirs, token, version))
    sts.put_object("a", b"1")
    for auth, code in (
        (oss2.make_auth(key, "wrong", version), "SignatureDoesNotMatch"),
        (oss2.make_auth("unknown", secret, version), "InvalidAccessKeyId"),
        (oss2.AnonymousAuth(), "AccessDenied"),
        (oss2.StsAuth(*theirs, other.security_token, version), "InvalidSecurityToken"),
        (oss2.make_auth(*theirs, version), "InvalidAccessKeyId"),
        (oss2.StsAuth(key, secret, "token", version), "InvalidSecurityToken"),
    ):
        assert refused(code, connect(server, auth).head_object, "a").status == 403
    server.settings.clock_offset = 10 * 60
    server.settings.credential_seconds = -1
    late = server.issue_credentials()
    auth = oss2.StsAuth(late.access_key_id, late.access_key_secret, late.security_token, version)
    refused("SecurityTokenExpired", connect(server, auth).get_object, "a")


def test_skewed_clocks(server: OssServer, bucket: Any) -> None:
    """A clock off by more than 15 minutes is refused; less passes. V4 names the region."""
    server.settings.clock_offset = 14 * 60
    bucket.put_object("a", b"1")
    for minutes in (16, -16):
        server.settings.clock_offset = minutes * 60
        assert refused("RequestTimeTooSkewed", bucket.get_object, "a").details["ServerTime"]
    server.settings.clock_offset = 0
    assert (
        "signing region"
        in refused("InvalidArgument", connect(server, region="cn-beijing").list_objects).message
    )


@pytest.mark.parametrize("sent", ["prefix", "prefix="])
@pytest.mark.parametrize(("canonical", "taken"), [("prefix", True), ("prefix=", False)])
def test_an_empty_value_is_signed_without_its_sign(
    server: OssServer, sent: str, canonical: str, taken: bool
) -> None:
    """However the URL spells it: oss2 and the Go SDK sign `prefix`; ali-oss signs `prefix=`: refused."""
    headers = signed(server, "GET", query=f"delimiter=%2F&{canonical}")
    said = send(server, "GET", f"/demo/?{sent}&delimiter=%2F", headers)
    assert (b"<ListBucketResult>" in said) is taken
    assert (b"<CanonicalRequest>GET\n/demo/\ndelimiter=%2F&amp;prefix\n" in said) is not taken
