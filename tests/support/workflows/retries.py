"""Which ends of a pod are tried again."""

from collections.abc import Mapping
from typing import Any

from workflows import expressions
from workflows.parameters import ManifestError


def is_retried(
    strategy: Mapping[str, Any], *, status: str, exit_code: str, message: str = "", retries: int = 0
) -> bool:
    """Whether a pod that ended so, after so many retries, runs again, its limit aside.

    Raises:
        ManifestError: the policy depends on the version of Argo.
    """
    policy = strategy.get("retryPolicy")
    if policy not in ("Always", "OnFailure", "OnError"):
        raise ManifestError(f"retryPolicy {policy!r} does not mean the same in each version")
    if (policy, status) in (("OnFailure", "Error"), ("OnError", "Failed")):
        return False
    last = {"status": status, "exitCode": exit_code, "message": message, "duration": "1.5"}
    verdict = expressions.evaluate(strategy["expression"], {"lastRetry": last, "retries": str(retries)})
    if not isinstance(verdict, bool):
        raise ManifestError(f"the retry expression gives {verdict!r}")
    return verdict
