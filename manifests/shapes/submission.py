"""Sending documents to an Argo server, by Hera's client."""

import os
from collections.abc import Iterable

import pydantic
import requests
from hera import exceptions
from hera.workflows import Workflow, WorkflowsService, WorkflowTemplate

from aggregation.errors import AggregationError, ConfigurationError, UnavailableError


def submit(documents: Iterable[Workflow], server: str) -> str:
    """Create the documents on an Argo server, in their order, and return the last one's name.

    The token is $ARGO_TOKEN; $ARGO_INSECURE_SKIP_VERIFY is as the argo CLI has it.

    Args:
        documents: what to create; a template that is there already is left as it is.
        server: the server's address, https:// if it says no scheme.

    Raises:
        ConfigurationError: the server refuses the token or the request, or is no Argo server.
        UnavailableError: there is no answer, or an error of the server's own.
    """
    address = server if "://" in server else f"https://{server}"
    doing = f"submitting to {address}"
    # For servers whose certificate signs itself.
    verify = os.environ.get("ARGO_INSECURE_SKIP_VERIFY", "").lower() not in ("1", "true")
    try:
        with WorkflowsService(address, verify, os.environ.get("ARGO_TOKEN")) as service:
            for document in documents:
                document.workflows_service = service
                _create(document)
    except exceptions.HeraException as error:
        raise _translated(error, doing) from error
    except (requests.JSONDecodeError, pydantic.ValidationError, KeyError) as error:
        raise ConfigurationError(
            doing, "the answer is not a workflow", "name an Argo server in ARGO_SERVER"
        ) from error
    except requests.RequestException as error:
        why = f"no answer ({type(error).__name__})"
        raise UnavailableError(doing, why, "check ARGO_SERVER, and that the server runs") from error
    return document.name or ""


def _create(document: Workflow) -> None:
    try:
        document.create()
    except exceptions.AlreadyExists:
        # A template's name is a hash of its contents, so the one that is there is the same.
        if not isinstance(document, WorkflowTemplate):
            raise


def _translated(error: exceptions.HeraException, doing: str) -> AggregationError:
    if isinstance(error, exceptions.Unauthorized | exceptions.Forbidden):
        return ConfigurationError(doing, str(error), "set ARGO_TOKEN to a token that may create workflows")
    if isinstance(error, exceptions.BadRequest | exceptions.NotFound | exceptions.AlreadyExists):
        return ConfigurationError(doing, str(error), "check the namespace and the server's version")
    return UnavailableError(doing, str(error), "try again, or look at the server's log")
