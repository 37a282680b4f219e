"""Endpoint, region and credentials of OSS, from the environment, when a root asks for OSS."""

import datetime as dt
import os
import threading
import time
from http import HTTPStatus
from typing import Any, NamedTuple

import oss2
import requests
from oss2.credentials import (
    CredentialsProvider,
    EcsRamRoleCredentialsProvider,
    StaticCredentialsProvider,
)

from .errors import ConfigurationError

_METADATA = "http://100.100.100.200"
"""Where an ECS instance asks for its RAM role's credentials."""

_RENEW_SECONDS = 300
_STS_SECONDS = 10

_SETTLE = (
    "set OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET (OSS_SESSION_TOKEN too for an STS token), "
    "or run as a service account with RRSA, or set ALIBABA_CLOUD_ECS_METADATA to the instance's RAM role"
)


class Configuration(NamedTuple):
    """How to reach OSS."""

    endpoint: str
    region: str
    """"" where it is not known: then requests are signed by V1."""
    provider: CredentialsProvider

    def auth(self) -> Any:
        """The signer: V4 where the region is known, V1 otherwise."""
        kind = oss2.ProviderAuthV4 if self.region else oss2.ProviderAuth
        return kind(self.provider)


def from_environment(doing: str) -> Configuration:
    """The configuration that the environment describes.

    Raises:
        ConfigurationError: endpoint or credentials are missing or incomplete: there is no anonymous access.
    """
    endpoint = os.environ.get("OSS_ENDPOINT", "")
    if not endpoint:
        raise ConfigurationError(
            doing,
            "no endpoint is set",
            "set OSS_ENDPOINT, for example to https://oss-cn-hangzhou-internal.aliyuncs.com",
        )
    if "://" not in endpoint:
        endpoint = f"https://{endpoint}"
    region = os.environ.get("OSS_REGION", "").removeprefix("oss-").removesuffix("-internal")
    return Configuration(endpoint, region, _provider(doing))


def _provider(doing: str) -> CredentialsProvider:
    key = os.environ.get("OSS_ACCESS_KEY_ID", "")
    secret = os.environ.get("OSS_ACCESS_KEY_SECRET", "")
    token = os.environ.get("OSS_SESSION_TOKEN", "")
    if key and secret:
        return StaticCredentialsProvider(key, secret, token)
    if key or secret or token:
        lacking = "OSS_ACCESS_KEY_SECRET" if key else "OSS_ACCESS_KEY_ID"
        raise ConfigurationError(doing, f"the credentials lack {lacking}", _SETTLE)
    if os.environ.get("ALIBABA_CLOUD_ROLE_ARN") and os.environ.get("ALIBABA_CLOUD_OIDC_TOKEN_FILE"):
        return _RrsaProvider(doing)
    role = os.environ.get("ALIBABA_CLOUD_ECS_METADATA", "")
    if role:
        host = os.environ.get("ALIBABA_CLOUD_ECS_METADATA_ENDPOINT", _METADATA)
        return _EcsProvider(doing, f"{host}/latest/meta-data/ram/security-credentials/{role}")
    raise ConfigurationError(doing, "no credentials are set", _SETTLE)


class _RrsaProvider(CredentialsProvider):  # type: ignore[misc]  # oss2 ships no types
    """RAM Roles for Service Accounts: the pod's OIDC token against temporary credentials, renewed in time.

    The variables are those that the cluster's webhook sets. Alibaba's own package for this sends the token in
    the URL, and logs the URL when it fails; here it is in the request's body and in no message.
    """

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._lock = threading.Lock()
        self._found: oss2.credentials.Credentials | None = None
        self._expires = 0.0

    def get_credentials(self) -> oss2.credentials.Credentials:
        """See oss2. Asks STS for new ones some minutes before the old ones end."""
        with self._lock:
            if self._found is None or time.time() > self._expires - _RENEW_SECONDS:
                self._found, self._expires = self._assume_role()
            return self._found

    def _assume_role(self) -> tuple[oss2.credentials.Credentials, float]:
        try:
            with open(os.environ["ALIBABA_CLOUD_OIDC_TOKEN_FILE"], encoding="ascii") as file:
                token = file.read().strip()
        except (OSError, ValueError) as error:
            raise self._refused(f"the OIDC token cannot be read ({type(error).__name__})") from None
        answer = requests.post(
            _sts_endpoint(),
            params={
                "Action": "AssumeRoleWithOIDC",
                "Version": "2015-04-01",
                "Format": "JSON",
                "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "SignatureNonce": os.urandom(16).hex(),
            },
            data={
                "RoleArn": os.environ["ALIBABA_CLOUD_ROLE_ARN"],
                "OIDCProviderArn": os.environ.get("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", ""),
                "OIDCToken": token,
                "RoleSessionName": "aggregation-worker",
            },
            timeout=_STS_SECONDS,
        )
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            answer.raise_for_status()  # which is tried again, as a failed connection is
        found = None
        try:
            found = answer.json()
            credentials = found["Credentials"]
            expires = dt.datetime.fromisoformat(credentials["Expiration"]).timestamp()
            return (
                oss2.credentials.Credentials(
                    credentials["AccessKeyId"], credentials["AccessKeySecret"], credentials["SecurityToken"]
                ),
                expires,
            )
        except (ValueError, KeyError, TypeError):
            code = found.get("Code", "") if isinstance(found, dict) else ""
            raise self._refused(f"STS answered {answer.status_code} {code}") from None

    def _refused(self, why: str) -> ConfigurationError:
        return ConfigurationError(
            self._doing,
            f"RRSA gave no credentials: {why}",
            "check the service account's role, its trust policy and ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
        )


def _sts_endpoint() -> str:
    region = os.environ.get("ALIBABA_CLOUD_STS_REGION", "")
    within = "-vpc" if os.environ.get("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "").lower() == "true" else ""
    host = f"sts{within}.{region}.aliyuncs.com" if region else "sts.aliyuncs.com"
    endpoint = os.environ.get("ALIBABA_CLOUD_STS_ENDPOINT") or host
    return endpoint if "://" in endpoint else f"https://{endpoint}"


class _EcsProvider(EcsRamRoleCredentialsProvider):  # type: ignore[misc]  # oss2 ships no types
    """The RAM role of the ECS instance."""

    def __init__(self, doing: str, url: str) -> None:
        super().__init__(url)
        self._doing = doing

    def get_credentials(self) -> oss2.credentials.Credentials:
        """See oss2."""
        try:
            return super().get_credentials()
        except oss2.exceptions.ClientError as error:
            raise ConfigurationError(
                self._doing,
                "the ECS metadata service gave no credentials",
                "check ALIBABA_CLOUD_ECS_METADATA and the role that the instance has",
            ) from error
