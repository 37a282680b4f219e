"""The expansion and its expressions, on which the tests of the manifests rest."""

from pathlib import Path
from typing import Any

import pytest

from workflows.catalogue import TUTORIAL, submit
from workflows.documents import load, merge
from workflows.expansion import expand
from workflows.expressions import ExpressionError, evaluate, render
from workflows.parameters import Manifest, ManifestError


def test_the_tutorials_own_division_fails_for_odd_numbers() -> None:
    """15 pods: the tutorial's YAML asks for a loop of 7.5, as Argo would find at run time."""
    with pytest.raises(ManifestError, match=r"7\.5"):
        submit("process-data.yaml", {"numbers": "15"}, folder=TUTORIAL)


def broken(**changes: Any) -> Manifest:
    """The tutorial's process-data.yaml with changes: a dotted path with `__`, and a value."""
    (document,) = load(TUTORIAL / "process-data.yaml")
    for path, value in changes.items():
        *parents, last = path.split("__")
        owner: Any = document
        for part in parents:
            owner = owner[int(part) if isinstance(owner, list) else part]
        owner[int(last) if isinstance(owner, list) else last] = value
    return document


FIRST_STEP = "spec__templates__0__steps__0__0"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({f"{FIRST_STEP}__template": "proces-data"}, "no template 'proces-data'"),
        ({f"{FIRST_STEP}__arguments__parameters__1__name": "levle"}, "declares no input"),
        ({f"{FIRST_STEP}__arguments__parameters__1__name": "file-number"}, "stands twice"),
        ({f"{FIRST_STEP}__arguments__parameters__1__value": 1}, "belongs in quotes"),
        ({f"{FIRST_STEP}__arguments__parameters__1__value": "{{item.x}}"}, "not known here"),
        ({f"{FIRST_STEP}__arguments__parameters__1__value": "{{=workflow.parameters.x}}"}, "there is no 'x'"),
        ({f"{FIRST_STEP}__withSequence": {"count": "0"}}, "loops over"),
        ({f"{FIRST_STEP}__withSequence": {"count": "{{workflow.parameters.number}}"}}, "not known here"),
        ({f"{FIRST_STEP}__when": "true"}, "skipped node per item"),
        ({f"{FIRST_STEP}__onExit": "x"}, "not understood"),
        ({"spec__templates__1__name": "merge-data"}, "stands twice"),
        ({"spec__templates__0__steps__1__0__name": "process-data-l1"}, "stands twice"),
        ({"spec__templates__1__inputs__parameters": [{"name": "level"}]}, "declares no input"),
        ({"spec__templates__1__container__args": ["process.py"]}, "never reads its input"),
        ({"spec__templates__1__container__command": []}, "no command"),
        ({"spec__volumes__0__name": "other"}, "mounts unknown volumes"),
        ({"spec__arguments__parameters__0__name": "count"}, "nothing reads the workflow parameter"),
        ({"spec__entrypoint": "start"}, "no template 'start'"),
        ({"spec__templates__1__dag": {"tasks": []}}, "is \\['container', 'dag'\\]"),
    ],
)
def test_mistakes_in_a_manifest_are_found(changes: dict[str, Any], message: str) -> None:
    """Each mistake that Argo would find at run time, or never, is an error of the expansion."""
    with pytest.raises(ManifestError, match=message):
        list(expand(broken(**changes)))


def test_a_key_that_stands_twice_is_refused(tmp_path: Path) -> None:
    """YAML would keep the last of two equal keys in silence."""
    path = tmp_path / "twice.yaml"
    path.write_text("spec:\n  entrypoint: a\n  entrypoint: b\n")
    with pytest.raises(ManifestError, match="entrypoint"):
        load(path)


def test_defaults_are_laid_under_a_template_as_kubernetes_does() -> None:
    """Variables merge by name, mounts by path, and the template wins."""
    below = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}], "command": ["x"]}
    above = {"env": [{"name": "B", "value": "3"}], "command": ["y", "z"]}
    merged = {"env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}], "command": ["y", "z"]}
    assert merge(below, above) == merged
    mounts = [{"mountPath": "/a", "name": "v"}], [{"mountPath": "/b", "name": "v"}]
    assert merge(*mounts) == [*mounts[0], *mounts[1]]


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("7 / 2", "3.5"),
        ("8 / 2", "4"),
        ("8 / 2 / 2", "2"),
        ("2 - 1 - 1", "0"),
        ("1 + 2 * 3", "7"),
        ("(1 + 2) * 3", "9"),
        ("10 - 2 * 3 % 4", "8"),
        ("-7 % 3", "-1"),
        ("sprig.div(-7, 2)", "-3"),
        ("sprig.div(asInt('31') + 16 - 1, 16)", "2"),
        (
            "sprig.max(1, 5, 3) + sprig.min(4, 2) + sprig.mul(2, 3, 4) + sprig.sub(2, 5) + sprig.add(1, 1)",
            "30",
        ),
        ("asInt(3.9)", "3"),
        ("asFloat('2.5') + 1", "3.5"),
        ("string(5) + 'x'", "5x"),
        ("len([1, 2])", "2"),
        ("sprig.fromJson('[3]')[0]", None),
        ("not false && false", "false"),
        ("!true || true", "true"),
        ("true and false or true", "true"),
        ("1 < 2 ? 'a' : 'b'", "a"),
        ("'x' in ['x', 'y'] and not ('z' in ['x'])", "true"),
        ("'abc' contains 'b'", "true"),
        ("inputs.parameters['file-number'] == '3'", "true"),
        ("1 == 1.0", "true"),
        ("asInt('x')", None),
        ("1 + 'a'", None),
        ("1 == '1'", None),
        ("sprig.div(1, 0)", None),
        ("1 / 0", None),
        ("inputs.parameters.level", None),
        ("sprig.ceil(1)", None),
        ("1 .. 3", None),
        ("a ?? 'x'", None),
        ("a?.b ?? 'x'", None),
        ("inputs?.others?.x ?? 'y'", "y"),
        ("inputs.parameters.x ?? 'y'", "y"),
        ("inputs.parameters['file-number'] ?? 'y'", "3"),
        ("inputs.others.x ?? 'y'", None),
        ("asInt(fromJSON('{}')?.bytes ?? 7)", "7"),
        ("asInt(fromJSON('{\"bytes\": 2000000}')?.bytes ?? 7)", "2000000"),
        ("sprig.clean('./a//b/')", "a/b"),
        ("len([1, 2, 3][:2]) + len([1][:2])", "3"),
        ("'abc'[:2]", None),
        ("toJSON((fromJSON('null') ?? [])[:2])", "[]"),
        ("a ?? b", None),
        ("1 +", None),
        ("1 2", None),
        ("1e6", None),
        ("2000000 / 2", None),
    ],
)
def test_expressions_mean_what_they_mean_to_argo(expression: str, value: str | None) -> None:
    """Values as Argo v3.4 and v4.1 render them; None where they fail, differ, or the subset ends."""
    scope = {"inputs": {"parameters": {"file-number": "3"}}}
    if value is None:
        with pytest.raises(ExpressionError):
            render(evaluate(expression, scope))
    else:
        assert render(evaluate(expression, scope)) == value
