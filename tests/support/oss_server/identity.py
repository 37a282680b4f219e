"""Temporary credentials: the RAM-role endpoint of an ECS instance, and STS's AssumeRoleWithOIDC."""

import json
import secrets
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from urllib.parse import parse_qsl

from oss_server.operations import Response
from oss_server.settings import Settings
from oss_server.signing import Account, Accounts

_ROLES = "/latest/meta-data/ram/security-credentials/"
_TOKEN = "/latest/api/token"
ROLE = "demo-role"


def identity_operation(method: str, path: str, params: Mapping[str, str]) -> str:
    """Return the name of the operation, or the empty string for a request that is not about credentials."""
    if method == "GET" and path.rstrip("/") + "/" == _ROLES:
        return "ListRamRoles"
    if method == "GET" and path.startswith(_ROLES):
        return "GetRamRoleCredentials"
    if method == "PUT" and path == _TOKEN:
        return "GetMetadataToken"
    if path == "/" and (method == "POST" or params.get("Action") == "AssumeRoleWithOIDC"):
        return "AssumeRoleWithOIDC"
    return ""


class Identity:
    """Issues credentials that the server then accepts."""

    def __init__(self, accounts: Accounts, settings: Settings) -> None:
        self._accounts = accounts
        self._settings = settings

    def issue(self) -> Account:
        """Return new temporary credentials, valid for `Settings.credential_seconds` on the server's clock."""
        now = time.time() + self._settings.clock_offset
        return self._accounts.issue(now + self._settings.credential_seconds)

    def carry_out(self, operation: str, path: str, params: Mapping[str, str], body: bytes) -> Response:
        """Answer one of the operations that `identity_operation` names."""
        if operation == "AssumeRoleWithOIDC":
            form = dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
            return self._assume_role({**params, **form})
        if operation == "GetMetadataToken":
            return Response(headers={"Content-Type": "text/plain"}, document=secrets.token_hex(16).encode())
        if operation == "ListRamRoles":
            return Response(headers={"Content-Type": "text/plain"}, document=ROLE.encode())
        if path.removeprefix(_ROLES) != ROLE:
            return _json({"Code": "NotFound", "Message": f"The only role is {ROLE}."}, 404)
        fields = _fields(self.issue())
        return _json({**fields, "LastUpdated": _stamp(time.time()), "Code": "Success"})

    def _assume_role(self, params: Mapping[str, str]) -> Response:
        if params.get("Action") != "AssumeRoleWithOIDC":
            return _json({"Code": "InvalidAction.NotFound", "Message": "Specified api is not found."}, 404)
        for name in ("RoleArn", "OIDCProviderArn", "OIDCToken"):
            if not params.get(name):
                return _json({"Code": f"MissingParameter.{name}", "Message": f"{name} is mandatory."}, 400)
        account = self.issue()
        user = {
            "Arn": f"{params['RoleArn']}/{params.get('RoleSessionName', 'session')}",
            "AssumedRoleId": account.access_key_id,
        }
        return _json(
            {
                "RequestId": secrets.token_hex(16).upper(),
                "AssumedRoleUser": user,
                "Credentials": _fields(account),
            }
        )


def _fields(account: Account) -> dict[str, str]:
    return {
        "AccessKeyId": account.access_key_id,
        "AccessKeySecret": account.access_key_secret,
        "SecurityToken": account.security_token or "",
        "Expiration": _stamp(account.expires or 0),
    }


def _stamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _json(value: object, status: int = 200) -> Response:
    return Response(status, {"Content-Type": "application/json"}, json.dumps(value).encode())
