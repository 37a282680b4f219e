"""Asks for a role's temporary credentials: RRSA's at STS, an ECS instance's at its metadata service."""

import os
import time
from http import HTTPStatus
from urllib.parse import quote

from aggregation import masking
from aggregation.errors import ConfigurationError

from .role_answers import METADATA_ANSWERS, SENDABLE, STS_ANSWERS, Question, Temporary
from .transport import UnansweredError, new_session

_STS_SECONDS = 10.0
_METADATA_SECONDS = 5.0
_TOKEN_SECONDS = 2.0
"""Without a byte of an answer, at most. A metadata token that does not come from the next hop never comes."""

_METADATA = "http://100.100.100.200"
"""Where an ECS instance asks for its RAM role's credentials."""

_TOKEN_TTL_SECONDS = 60


def assume_role(doing: str, role: str, token_file: str) -> Temporary:
    """RAM Roles for Service Accounts: the pod's OIDC token against temporary credentials.

    The variables are those that the cluster's webhook sets. Alibaba's own package for this sends the token in
    the URL, and logs the URL when it fails; here it is in the request's body and in no message.

    Raises:
        ConfigurationError: what STS refuses for good.
        UnansweredError: what it may grant later.
    """
    cure = "check the service account's role, its trust policy and ALIBABA_CLOUD_OIDC_PROVIDER_ARN"
    try:
        with open(token_file, encoding="ascii") as file:
            token = file.read().strip()
    except (OSError, ValueError) as error:
        why = f"RRSA gave no credentials: the OIDC token cannot be read ({type(error).__name__})"
        raise ConfigurationError(doing, why, cure) from None
    masking.hide(token)
    question = Question(doing, "STS", STS_ANSWERS, "RRSA gave no credentials", cure)
    url = _sts_endpoint()
    answer = question.send(
        "POST",
        url,
        new_session(url),
        _STS_SECONDS,
        params={
            "Action": "AssumeRoleWithOIDC",
            "Version": "2015-04-01",
            "Format": "JSON",
            "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "SignatureNonce": os.urandom(16).hex(),
        },
        data={
            "RoleArn": role,
            "OIDCProviderArn": os.environ.get("ALIBABA_CLOUD_OIDC_PROVIDER_ARN", "").strip(),
            "OIDCToken": token,
            "RoleSessionName": "aggregation-worker",
        },
    )
    return question.credentials(answer, lambda document: document["Credentials"])


def ask_metadata(doing: str, role: str) -> Temporary:
    """The RAM role of the ECS instance: in hardened mode, by a token; in plain mode where there is none.

    Raises:
        ConfigurationError: what the service refuses for good.
        UnansweredError: what it may grant later.
    """
    question = Question(
        doing,
        "the ECS metadata service",
        METADATA_ANSWERS,
        "the ECS metadata service gave no credentials",
        "check ALIBABA_CLOUD_ECS_METADATA and the role that the instance has",
    )
    host = os.environ.get("ALIBABA_CLOUD_ECS_METADATA_ENDPOINT", "").strip().rstrip("/") or _METADATA
    host = host if "://" in host else f"http://{host}"
    session = new_session(host, direct=True)
    headers = {"X-aliyun-ecs-metadata-token-ttl-seconds": str(_TOKEN_TTL_SECONDS)}
    token = ""
    failure: UnansweredError | None = None
    try:
        answer = question.send("PUT", f"{host}/latest/api/token", session, _TOKEN_SECONDS, headers=headers)
    except UnansweredError as error:
        failure = error
    else:
        if answer.status_code == HTTPStatus.OK and SENDABLE.fullmatch(answer.text.strip()):
            token = answer.text.strip()
            masking.hide(token)
        elif answer.status_code != HTTPStatus.NOT_IMPLEMENTED and question.is_retried(answer):
            failure = question.unanswered(answer)
    url = f"{host}/latest/meta-data/ram/security-credentials/{quote(role, safe='')}"
    headers = {"X-aliyun-ecs-metadata-token": token} if token else {}
    answer = question.send("GET", url, session, _METADATA_SECONDS, headers=headers)
    if failure and answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise failure  # only the token would have opened this door
    return question.credentials(answer, lambda document: document)


def _sts_endpoint() -> str:
    region = os.environ.get("ALIBABA_CLOUD_STS_REGION", "").strip()
    within = "-vpc" if os.environ.get("ALIBABA_CLOUD_VPC_ENDPOINT_ENABLED", "").lower() == "true" else ""
    host = f"sts{within}.{region}.aliyuncs.com" if region else "sts.aliyuncs.com"
    endpoint = os.environ.get("ALIBABA_CLOUD_STS_ENDPOINT", "").strip() or host
    return endpoint if "://" in endpoint else f"https://{endpoint}"
