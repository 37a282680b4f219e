"""A workflow of workflows: the children's template, and what the parent asks of them."""

import re

import pytest

from workflows.catalogue import DOCUMENTS, SETTINGS
from workflows.children import follow
from workflows.generated import BUCKET, documents, running, written
from workflows.retries import is_retried


def test_children_work_in_their_parents_levels() -> None:
    """Parent and children say one run, the parent's name or what it was given, and nobody holds a lock."""
    shape = ("--files", 100, "--pods-per-workflow", 10)
    assert "synchronization" not in written(*shape)
    for given, run in ({}, "a-workflow"), ({"run": "earlier-x7k2p"}, "earlier-x7k2p"):
        parent = running(*shape, **given)
        pods = [pod for level in parent.levels() for pod in level]
        assert {dict(pod.environment)["AGGREGATION_RUN"] for pod in pods} == {run}
    _, *submitted = parent.workflows()
    assert {tuple(each.document["spec"]) for each in submitted} == {("workflowTemplateRef", "arguments")}


@pytest.mark.parametrize("pods", [2000, 10])
def test_the_levels_go_unless_they_are_to_stay(pods: int) -> None:
    """Only the merge of the workflow, or of the parent, removes them."""
    for given, said in ({}, "true"), ({"keep-levels": "true"}, ""):
        run = running("--files", 100, "--pods-per-workflow", pods, **given)
        *levels, (merge,) = run.levels()
        assert dict(merge.environment)["AGGREGATION_CLEAN"] == said
        assert not [pod for level in levels for pod in level if "AGGREGATION_CLEAN" in dict(pod.environment)]


@pytest.mark.parametrize("pods", [2000, 4])
def test_settings_reach_parent_and_children(pods: int) -> None:
    """The ConfigMap's values, unless generate.py or -p said others; the children have their parent's."""
    shape = ("--files", 30, "--pods-per-workflow", pods, *BUCKET[:2])
    settings = {**SETTINGS, "data": {"image": "team/worker:2", "bucket": "set", "secret": "mine"}}
    for more, given, image, bucket in [
        ((), {}, "team/worker:2", "set"),
        (("--image", "me/worker:3"), {"bucket": "late"}, "me/worker:3", "late"),
    ]:
        *templates, workflow = documents(*shape, *more)
        run = follow(workflow, [*templates, settings], given)
        for pod in (pod for level in run.levels() for pod in level):
            assert pod.image == image
            assert dict(pod.environment)["AGGREGATION_ROOT"] == f"oss://{bucket}/aggregation-demo"
            assert {key.secret for key in pod.secrets} == {"mine"}


def test_a_level_waits_for_the_children_of_the_one_before() -> None:
    """Each level is a step of its own, which ends when its children have, and few run at a time."""
    _, parent = documents("--files", 100, "--pods-per-workflow", 10, "--children", 3)
    (main, process_range, _) = parent["spec"]["templates"]
    assert [len(group) for group in main["steps"]] == [1] * len(main["steps"])
    assert parent["spec"]["parallelism"] == 3
    resource = process_range["resource"]
    assert (resource["action"], resource["setOwnerReference"]) == ("create", True)
    assert resource["successCondition"] == "status.phase == Succeeded"
    assert resource["failureCondition"] == "status.phase in (Failed, Error)"
    # 50, 25, 13 and 7 pods: 5 + 3 + 2 + 1 children in 2 + 1 + 1 + 1 rounds of 3, and the merge.
    assert parent["spec"]["activeDeadlineSeconds"] == 6 * 21600


@pytest.mark.parametrize(
    ("status", "exit_code", "message", "again"),
    [
        ("Error", "-1", "pod deleted", True),
        ("Failed", "-1", "The node was low on resource: memory", True),
        ("Failed", "143", "Error (exit code 143)", True),
        ("Failed", "137", "Error (exit code 137)", True),
        ("Failed", "137", "OOMKilled (exit code 137)", False),
        ("Failed", "64", "failure condition 'status.phase in (Error,Failed)' evaluated true", False),
        ("Failed", "1", "Error (exit code 1)", False),
    ],
)
def test_a_lost_pod_starts_a_child_again_and_a_failed_child_does_not(
    status: str, exit_code: str, message: str, again: bool
) -> None:
    """Argo's executor exits with 64 when a child has failed; only a pod that was lost is made again."""
    _, parent = documents("--files", 100, "--pods-per-workflow", 10)
    strategy = parent["spec"]["templates"][1]["retryStrategy"]
    assert is_retried(strategy, status=status, exit_code=exit_code, message=message) is again


def test_the_childrens_template_is_named_by_its_contents() -> None:
    """The same template has the same name, and one that differs, by its fan-in only, has another."""
    names = {
        fan_in: {
            documents("--files", files, "--fan-in", fan_in)[0]["metadata"]["name"] for files in (9000, 9001)
        }
        for fan_in in (2, 3)
    }
    assert len(names[2]) == len(names[3]) == 1
    assert names[2] != names[3]
    assert all(
        re.fullmatch(r"aggregate-children-[0-9a-f]{8}", name) for each in names.values() for name in each
    )


def test_rbac_lets_the_parents_account_create_workflows_and_no_other() -> None:
    """rbac.yaml has the account that generated parents use, with what the executor asks the cluster for."""
    _, parent = documents("--files", 100, "--pods-per-workflow", 10)
    account = parent["spec"]["templates"][1]["serviceAccountName"]
    rules: dict[str, list[tuple[str, str]]] = {}
    roles = {doc["metadata"]["name"]: doc["rules"] for _, doc in DOCUMENTS if doc["kind"] == "Role"}
    for _, document in DOCUMENTS:
        if document["kind"] == "RoleBinding":
            granted = [
                (resource, verb)
                for rule in roles[document["roleRef"]["name"]]
                for resource in rule["resources"]
                for verb in rule["verbs"]
            ]
            for subject in document["subjects"]:
                rules.setdefault(subject["name"], []).extend(granted)
    assert account in {doc["metadata"]["name"] for _, doc in DOCUMENTS if doc["kind"] == "ServiceAccount"}
    executor = {("workflowtaskresults", "create"), ("workflowtaskresults", "patch")}
    creator = {("workflows", "create"), ("workflows", "get"), ("workflows/finalizers", "update")}
    assert set(rules.pop(account)) == executor | creator
    assert all(set(granted) == executor for granted in rules.values())
