"""Endpoint, region and credentials of OSS, from the environment, when a root asks for OSS."""

import os
from typing import Any, NamedTuple

import oss2
from oss2.credentials import (
    CredentialsProvider,
    EcsRamRoleCredentialsProvider,
    StaticCredentialsProvider,
)

from .errors import ConfigurationError

_METADATA = "http://100.100.100.200"
"""Where an ECS instance asks for its RAM role's credentials."""

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

    The variables are those that the cluster's webhook sets: ALIBABA_CLOUD_ROLE_ARN,
    ALIBABA_CLOUD_OIDC_PROVIDER_ARN, ALIBABA_CLOUD_OIDC_TOKEN_FILE.
    """

    def __init__(self, doing: str) -> None:
        from alibabacloud_credentials.provider import (  # noqa: PLC0415 - aiohttp and more, for RRSA only
            OIDCRoleArnCredentialsProvider,
        )

        self._doing = doing
        try:
            self._provider = OIDCRoleArnCredentialsProvider(
                role_session_name="aggregation-worker",
                sts_endpoint=os.environ.get("ALIBABA_CLOUD_STS_ENDPOINT"),
            )
        except Exception as error:
            raise self._wrong(error) from error

    def get_credentials(self) -> oss2.credentials.Credentials:
        """See oss2."""
        try:
            found = self._provider.get_credentials()
        except Exception as error:
            raise self._wrong(error) from error
        return oss2.credentials.Credentials(
            found.get_access_key_id(), found.get_access_key_secret(), found.get_security_token()
        )

    def _wrong(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(
            self._doing,
            f"RRSA gave no credentials ({type(error).__name__})",
            "check the service account's role, its trust policy and ALIBABA_CLOUD_OIDC_PROVIDER_ARN",
        )


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
