"""The manifests without a volume, on a bucket of whoever runs the checks."""

import json
import os

from e2e.cases import Case, ended_well, joined
from e2e.cluster import Cluster, Manifest, SkippedError, last_line
from e2e.scripts import EMPTY_PREFIX, LOOK_AT_PREFIX

KEYS = {
    "akId": "OSS_ACCESS_KEY_ID",
    "akSecret": "OSS_ACCESS_KEY_SECRET",
    "securityToken": "OSS_SESSION_TOKEN",
}
SECRET = "aggregation-e2e-oss"


def on_a_bucket(cluster: Cluster) -> str:
    """prepare, process-data-oss.yaml and aggregation-oss.yaml under a prefix of this run's, removed after."""
    options = cluster.options
    given = {key: os.environ[name] for key, name in KEYS.items() if os.environ.get(name)}
    if not (options.oss_bucket and options.oss_endpoint and {"akId", "akSecret"} <= given.keys()):
        raise SkippedError("give --oss-bucket, --oss-endpoint, OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET")
    cluster.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET}, "stringData": given})
    prefix = f"aggregation-e2e/{cluster.namespace}"
    where = {"bucket": options.oss_bucket, "endpoint": options.oss_endpoint, "region": options.oss_region}
    said = {**where, "prefix": prefix, "secret": SECRET}
    env: list[Manifest] = [
        {"name": "OSS_ENDPOINT", "value": options.oss_endpoint},
        {"name": "BUCKET", "value": options.oss_bucket},
        {"name": "PREFIX", "value": prefix},
        *({"name": KEYS[key], "valueFrom": {"secretKeyRef": {"name": SECRET, "key": key}}} for key in given),
    ]
    try:
        return _on_a_prefix(cluster, said, env)
    finally:
        cluster.run_pod("empty-prefix", EMPTY_PREFIX, env=env)


def _on_a_prefix(cluster: Cluster, said: dict[str, str], env: list[Manifest]) -> str:
    (pipeline,) = cluster.documents("process-data-oss.yaml", said)
    preparing = {**pipeline, "spec": {**pipeline["spec"], "entrypoint": "prepare-data"}}
    ended_well(cluster.run_workflow(preparing)["status"], "1/1")
    named = {
        **{key: pipeline[key] for key in ("apiVersion", "kind", "metadata")},
        "spec": {"workflowTemplateRef": {"name": "aggregation-oss"}},
    }
    by_template = cluster.adapted(named, {**said, "fan-in": "4"})
    for workflow, progress in (pipeline, "25/25"), (by_template, "9/9"):
        ended_well(cluster.run_workflow(workflow)["status"], progress)
        seen: Manifest = json.loads(last_line(cluster.run_pod("look-at-prefix", LOOK_AT_PREFIX, env=env)))
        right = joined(seen, 32)
    return f"process-data-oss.yaml and aggregation-oss.yaml Succeeded, {right}"


OSS = Case("process-data-oss.yaml, aggregation-oss.yaml", on_a_bucket)
