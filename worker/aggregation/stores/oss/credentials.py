"""Endpoint, region and credentials of OSS, from the environment, when a root asks for OSS.

What Secrets and shells add, white space at the ends, is taken off. What cannot be sent is refused before a
request, by the variable's name and never by its value.
"""

import os
from typing import Any, NamedTuple

import oss2
from oss2.credentials import CredentialsProvider, StaticCredentialsProvider

from aggregation import masking
from aggregation.errors import ConfigurationError

from . import endpoint
from .endpoint import Endpoint
from .renewal import RoleProvider
from .role_answers import SENDABLE
from .roles import ask_metadata, assume_role

_SETTLE = (
    "set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET (OSS_SESSION_TOKEN too for an STS token), "
    "or run as a service account with RRSA, or set ALIBABA_CLOUD_ECS_METADATA to the instance's RAM role"
)

_OWN_KEY = ("OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN")
_COMMON_KEY = (
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABA_CLOUD_SECURITY_TOKEN",
)
"""What the other tools of Alibaba Cloud read."""

_ANSWERS = {"": None, "true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


class Configuration(NamedTuple):
    """How to reach a bucket of OSS."""

    endpoint: Endpoint
    region: str
    """"" where it is not known: then requests are signed by V1."""
    provider: CredentialsProvider

    def auth(self) -> Any:
        """The signer: V4 where the region is known, V1 otherwise."""
        kind = oss2.ProviderAuthV4 if self.region else oss2.ProviderAuth
        return kind(self.provider)


def from_environment(doing: str, bucket: str) -> Configuration:
    """The configuration that the environment describes. Nobody is anonymous.

    Raises:
        ConfigurationError: endpoint or credentials are missing, incomplete or impossible.
    """
    provider = _provider(doing)  # first, so that no message shows a secret that was pasted elsewhere too
    endpoint = _endpoint(doing, bucket)
    region = _value(doing, "OSS_REGION").removeprefix("oss-").removesuffix("-internal")
    return Configuration(endpoint, region, provider)


def _endpoint(doing: str, bucket: str) -> Endpoint:
    text = os.environ.get("OSS_ENDPOINT", "").strip()
    cure = "set OSS_ENDPOINT, for example to https://oss-cn-hangzhou-internal.aliyuncs.com"
    if not text:
        raise ConfigurationError(doing, "no endpoint is set", cure)
    cname = os.environ.get("OSS_CNAME", "").strip().lower()
    if cname not in _ANSWERS:
        raise ConfigurationError(
            doing, "OSS_CNAME is neither true nor false", "set it to one of them, or not"
        )
    try:
        return endpoint.parse(text, bucket, cname=_ANSWERS[cname])
    except ValueError as error:
        why = f"OSS_ENDPOINT ({masking.masked(text)!r}) is no endpoint: {error}"
        raise ConfigurationError(doing, why, cure) from None


def _value(doing: str, name: str, *, secret: bool = False) -> str:
    """A variable without white space at its ends; a secret one is shown nowhere from now on.

    Raises:
        ConfigurationError: it holds what cannot be sent.
    """
    value = os.environ.get(name, "").strip()
    if secret:
        masking.hide(value)
    if value and not SENDABLE.fullmatch(value):
        why = f"{name} holds a space, a line break or a character that is not ASCII"
        raise ConfigurationError(doing, why, "write it anew, without anything around or within it")
    return value


def _provider(doing: str) -> CredentialsProvider:
    own = [_value(doing, name, secret=name != _OWN_KEY[0]) for name in _OWN_KEY]
    if any(own):
        return _static(doing, _OWN_KEY, own)
    common = [_value(doing, name, secret=name != _COMMON_KEY[0]) for name in _COMMON_KEY]
    if all(common[:2]):
        return _static(doing, _COMMON_KEY, common)
    role = _value(doing, "ALIBABA_CLOUD_ROLE_ARN")
    token_file = os.environ.get("ALIBABA_CLOUD_OIDC_TOKEN_FILE", "")
    if role and token_file:
        return RoleProvider(lambda: assume_role(doing, role, token_file))
    role = _value(doing, "ALIBABA_CLOUD_ECS_METADATA")
    if role:
        return RoleProvider(lambda: ask_metadata(doing, role))
    if any(common[:2]):
        return _static(doing, _COMMON_KEY, common)
    raise ConfigurationError(doing, "no credentials are set", _SETTLE)


def _static(doing: str, names: tuple[str, ...], values: list[str]) -> CredentialsProvider:
    key, secret, token = values
    if not (key and secret):
        raise ConfigurationError(doing, f"the credentials lack {names[1] if key else names[0]}", _SETTLE)
    return StaticCredentialsProvider(key, secret, token)
