"""The faults: what fails must say why at once, what passes must be tried again, and nothing may mix."""

from e2e.cases import Case, ended_well, failed_pods, joined, look, reason
from e2e.cluster import Cluster, E2EError, Manifest, SkippedError

SLOW = """sh -c 'sleep 20; cat "$@" > "$0"' {output} {inputs}"""
"""Long enough to delete the pod meanwhile."""


def missing_input(cluster: Cluster) -> str:
    """A level 1 that holds less than was said: exit code 3, final at once, its cause in the pod's message."""
    (workflow,) = cluster.documents("aggregate.yaml", {"files": "34"})
    status = cluster.run_workflow(workflow)["status"]
    look(cluster)
    return failed_so(status, pods=1, words=("exit code 3", "l1/32.txt"))


def nobody_answers(cluster: Cluster) -> str:
    """An endpoint where nobody listens: exit code 75, tried again, once here instead of three times."""
    where = {"endpoint": "http://127.0.0.1:9", "bucket": "none", "secret": "none", "numbers": "1"}
    (workflow,) = cluster.documents("process-data-oss.yaml", where)
    environment = workflow["spec"]["templateDefaults"]["container"]["env"]
    # Keys by value: no Secret is needed for a request that nobody answers.
    kept = [each for each in environment if not each["name"].startswith("OSS_ACCESS_KEY")]
    said = {"AGGREGATION_TIMEOUT": "1", "OSS_ACCESS_KEY_ID": "none", "OSS_ACCESS_KEY_SECRET": "none"}
    kept += [{"name": name, "value": value} for name, value in said.items()]
    workflow["spec"]["templateDefaults"]["container"]["env"] = kept
    for template in workflow["spec"]["templates"]:
        if "retryStrategy" in template:
            template["retryStrategy"] = {**template["retryStrategy"], "limit": "1"}
    status = cluster.run_workflow(workflow)["status"]
    return failed_so(status, pods=2, words=("exit code 75",))


def failed_so(status: Manifest, *, pods: int, words: tuple[str, ...]) -> str:
    """Say that a workflow failed by so many pods whose messages have some words.

    Raises:
        E2EError: it did not.
    """
    failed = failed_pods(status)
    if status.get("phase") != "Failed":
        raise E2EError(f"phase {status.get('phase')} where Failed was expected: {reason(status)}")
    if len(failed) != pods:
        raise E2EError(f"{len(failed)} pods failed where {pods} were expected: {'; '.join(failed)}")
    for message in failed:
        if lacking := [word for word in words if word not in message]:
            raise E2EError(f"{lacking[0]!r} is not in the message: {message}")
    tries = "at once" if pods == 1 else f"after {pods} tries"
    return f"Failed {tries}, {failed[0]}"


def deleted_pod(cluster: Cluster) -> str:
    """A pod that is deleted while it runs is made again, and the result is whole."""
    (workflow,) = cluster.documents("aggregate.yaml", {"final-width": "32", "command": SLOW})
    name = cluster.start(workflow)
    pod = cluster.running_pod(name)
    cluster.kubectl("delete", "pod", pod, "-n", cluster.namespace, "--wait=false")
    status = cluster.wait(name)["status"]
    lost = failed_pods(status)
    if status.get("phase") != "Succeeded" or len(lost) != 1:
        raise E2EError(f"phase {status.get('phase')}, {len(lost)} pods lost: {reason(status)}")
    return f"Succeeded after {lost[0]}, {joined(look(cluster), 32)}"


def two_at_once(cluster: Cluster) -> str:
    """Two runs of different shape in one directory at once: the result is whole, their folders gone."""
    shapes: list[dict[str, str]] = [{"fan-in": "2"}, {"fan-in": "3", "final-width": "1"}]
    names = [cluster.start(cluster.documents("aggregate.yaml", shape)[0]) for shape in shapes]
    ends = [cluster.wait(name)["status"] for name in names]
    for status, progress in zip(ends, ("25/25", "19/19"), strict=True):
        ended_well(status, progress)
    seen = look(cluster)
    if seen["runs"]:
        raise E2EError(f"the folders of {seen['runs']} are left")
    return f"both Succeeded, {joined(seen, 32)}"


def restricted(cluster: Cluster) -> str:
    """A namespace that enforces the Pod Security Standard `restricted` lets our pods in."""
    namespace = cluster.add_namespace("restricted", {"pod-security.kubernetes.io/enforce": "restricted"})
    (workflow,) = cluster.documents("prepare-data.yaml")
    for volume in workflow["spec"]["volumes"]:
        if volume["name"] == "workdir":  # the claim is in the other namespace, and one pod needs none
            del volume["persistentVolumeClaim"]
            volume["emptyDir"] = {}
    status = cluster.wait(cluster.start(workflow, namespace), namespace)["status"]
    if "PodSecurity" in reason(status):
        raise SkippedError("Argo's own containers are refused: manifests/patches/restricted.yaml is the cure")
    return ended_well(status, "1/1")


FAULTS = [
    Case("a missing input", missing_input),
    Case("exit code 75", nobody_answers),
    Case("a pod deleted while it runs", deleted_pod),
    Case("two runs of different shape at once", two_at_once),
    Case("a namespace that enforces restricted", restricted),
]
