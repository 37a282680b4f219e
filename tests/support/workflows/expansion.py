"""Expands manifests into the worker pods that Argo Workflows would run, stage by stage, without a cluster.

It knows what these manifests use and raises at anything else: steps, DAGs, containers, loops, conditions,
templates of other documents, recursion, template defaults, simple and expression tags. It is stricter than
Argo: an argument that is not declared, an input that nothing reads, a loop over nothing are errors here.
"""

import json
import re
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, cast

import yaml

from workflows import expressions, parameters
from workflows.patches import NONE, patched

Manifest = dict[str, Any]
DEPTH = 100
"""Nested template calls that Argo allows."""


ManifestError = parameters.ManifestError


class OutputFile(NamedTuple):
    """A file that becomes an output parameter."""

    parameter: str
    path: str
    default: str | None


class SecretKey(NamedTuple):
    """A variable whose value is in a Secret."""

    variable: str
    secret: str
    key: str
    optional: bool


@dataclass(frozen=True)
class Pod:
    """One worker pod."""

    template: str
    step: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    secrets: tuple[SecretKey, ...]
    mounts: tuple[tuple[str, str], ...]
    image: str
    outputs: tuple[OutputFile, ...]
    container: Mapping[str, Any] = field(compare=False, repr=False)
    volumes: Mapping[str, Any] = field(compare=False, repr=False)
    """Those that it has, by name: its template's, else the workflow's."""
    spec: Mapping[str, Any] = field(compare=False, repr=False)
    """What else of the pod's own is said, by its template or else by the workflow."""
    retry: Mapping[str, Any] | None = field(compare=False, repr=False)


@dataclass(frozen=True)
class Stage:
    """Pods that may run at the same time, and the steps that a `when` left out beside them."""

    pods: tuple[Pod, ...]
    skipped: tuple[str, ...] = ()


class Outputs(NamedTuple):
    """What a pod hands on: its stdout, and the contents of its output files."""

    result: str
    parameters: Mapping[str, str]


Run = Callable[[Pod], Outputs]


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice in a mapping: YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        twice = {key for key in keys if keys.count(key) > 1}
        if twice:
            raise ManifestError(f"{sorted(twice)} twice in one mapping,{node.start_mark}")
        return super().construct_mapping(node, deep)


def load(*paths: Path) -> list[Manifest]:
    """All the documents of some files, in order."""
    documents: list[Manifest] = []
    for path in paths:
        documents.extend(yaml.load_all(path.read_text(encoding="utf-8"), _Loader))
    return documents


def effective_spec(manifest: Manifest, library: Sequence[Manifest] = ()) -> Manifest:
    """A manifest's spec, laid over that of the WorkflowTemplate that it names, if any."""
    spec = dict(manifest["spec"])
    reference = spec.pop("workflowTemplateRef", None)
    return merge(_template_named(library, reference["name"])["spec"], spec) if reference else spec


def expand(
    submitted: Manifest,
    library: Sequence[Manifest] = (),
    given: Mapping[str, str] | None = None,
    *,
    run: Run | None = None,
    entrypoint: str | None = None,
    name: str = "a-workflow",
) -> Iterator[Stage]:
    """The stages that `argo submit` of a manifest gives.

    Args:
        submitted: a Workflow, or a WorkflowTemplate as `argo submit --from` takes it.
        library: the WorkflowTemplates and ConfigMaps that the cluster holds.
        given: what `-p` sets.
        run: runs a pod whose outputs a later step reads; called after the pod's stage was handed out.
        entrypoint: what `--entrypoint` sets.
        name: the name that the API server generates.

    Raises:
        ManifestError: something is unknown, unused, missing, or not what this understands.
    """
    spec = effective_spec(submitted, library)
    expansion = _Expansion(spec, _Own(submitted, spec), library, given or {}, run, name)
    return expansion.template(expansion.own, entrypoint or spec["entrypoint"], {}, "main", 1)


def is_retried(strategy: Mapping[str, Any], *, status: str, exit_code: str, message: str = "") -> bool:
    """Whether a pod that ended so runs again, its limit aside.

    Raises:
        ManifestError: the policy depends on the version of Argo.
    """
    policy = strategy.get("retryPolicy")
    if policy not in ("Always", "OnFailure", "OnError"):
        raise ManifestError(f"retryPolicy {policy!r} does not mean the same in each version")
    if (policy, status) in (("OnFailure", "Error"), ("OnError", "Failed")):
        return False
    last = {"status": status, "exitCode": exit_code, "message": message, "duration": "1.5"}
    verdict = expressions.evaluate(strategy["expression"], {"lastRetry": last, "retries": "0"})
    if not isinstance(verdict, bool):
        raise ManifestError(f"the retry expression gives {verdict!r}")
    return verdict


def merge(below: Any, above: Any) -> Any:
    """`above` laid over `below` as Kubernetes merges: lists of named things by name, mounts by path."""
    if isinstance(below, dict) and isinstance(above, dict):
        shared = {key: merge(below[key], above[key]) for key in below.keys() & above.keys()}
        return {**below, **above, **shared}
    if isinstance(below, list) and isinstance(above, list):
        for key in ("mountPath", "name"):
            if all(isinstance(item, dict) and key in item for item in below + above):
                upper = {item[key]: item for item in above}
                lower = {item[key]: item for item in below}
                merged = {name: merge(lower.get(name), item) for name, item in upper.items()}
                return list({**lower, **merged}.values())
    return above


def tags(value: Any) -> list[str]:
    """What stands between `{{` and `}}` anywhere in a value."""
    return [tag for text in _strings(value) for tag in _TAG.findall(text)]


_TAG = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_KINDS = ("container", "steps", "dag")
_OF_A_POD = (
    "securityContext",
    "nodeSelector",
    "tolerations",
    "priorityClassName",
    "serviceAccountName",
    "metadata",
)
"""What a template says of its pods, and else the workflow."""

Stages = Generator[Stage, None, Mapping[str, str]]
"""Stages, and in the end the outputs of the template that they are of; none if nobody wants them."""


class _Own(NamedTuple):
    """A document whose templates call each other by their bare names."""

    manifest: Manifest
    spec: Manifest

    def template(self, name: str) -> Manifest:
        return _only(self.spec.get("templates", []), name, "template")


class _Scope:
    """The variables that tags may name, flat for simple tags and nested for expressions."""

    def __init__(self, flat: Mapping[str, str]) -> None:
        self.flat = dict(flat)

    def plus(self, prefix: str, values: Mapping[str, str]) -> "_Scope":
        return _Scope({**self.flat, **{f"{prefix}.{name}": text for name, text in values.items()}})

    def with_item(self, item: Any) -> "_Scope":
        if isinstance(item, dict):
            return _Scope({**self.flat, **{f"item.{key}": expressions.render(item[key]) for key in item}})
        return _Scope({**self.flat, "item": expressions.render(item)})

    def nested(self) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        for name, text in self.flat.items():
            branch = tree
            *parents, leaf = name.split(".")
            for parent in parents:
                branch = branch.setdefault(parent, {})
            branch[leaf] = text
        return tree

    def fill(self, value: Any) -> Any:
        """A value with each tag in it replaced.

        Raises:
            ManifestError: a tag names nothing that is known here.
        """
        if isinstance(value, str):
            return _TAG.sub(self._replacement, value) if "{{" in value else value
        if isinstance(value, list):
            return [self.fill(item) for item in value]
        if isinstance(value, dict):
            return {key: self.fill(item) for key, item in value.items()}
        return value

    def _replacement(self, match: re.Match[str]) -> str:
        tag = match[1]
        if tag.startswith("="):
            try:
                return expressions.render(expressions.evaluate(tag[1:], self.nested()))
            except expressions.ExpressionError as error:
                raise ManifestError(f"{match[0]}: {error}") from error
        if tag not in self.flat:
            raise ManifestError(f"{match[0]} is not known here")
        return self.flat[tag]


class _Call(NamedTuple):
    """A step of a group, one for each item of a loop, ready to run."""

    step: str
    owner: _Own
    template: str
    arguments: Mapping[str, str]


class _Expansion:
    def __init__(
        self,
        spec: Manifest,
        own: _Own,
        library: Sequence[Manifest],
        given: Mapping[str, str],
        run: Run | None,
        name: str,
    ) -> None:
        self.own = own
        self._spec = spec
        self._library = library
        self._run = run
        self._templates: dict[tuple[int, str], tuple[Manifest, dict[str, Manifest]]] = {}
        self._said: dict[int, Manifest] = {}
        declared = _unique(spec.get("arguments", {}).get("parameters", []), "workflow parameter")
        everything = tags([spec, *(document["spec"] for document in library if "spec" in document)])
        for each in declared:
            if not _is_read(everything, f"workflow.parameters.{each}", f"workflow.parameters['{each}']"):
                raise ManifestError(f"nothing reads the workflow parameter {each!r}")
        values = parameters.resolve(list(declared.values()), given, library)
        self._globals = _Scope({"workflow.name": name}).plus("workflow.parameters", values)
        self._volumes = _unique(spec.get("volumes", []), "volume")
        self._globals.fill({key: value for key, value in spec.items() if key != "templates"})

    def template(
        self,
        owner: _Own,
        name: str,
        arguments: Mapping[str, str],
        step: str,
        depth: int,
        *,
        wanted: bool = False,
    ) -> Stages:
        """The stages of a template called with arguments, and its outputs if they are wanted."""
        if depth > DEPTH:
            raise ManifestError(f"more than {DEPTH} nested calls, the last of template {name!r}")
        template, scope = self._called(owner, name, arguments)
        if "container" in template:
            pod = self._pod(template, scope, step)
            yield Stage((pod,))
            return self._outputs_of(pod) if wanted else {}
        groups = template["steps"] if "steps" in template else _waves(template["dag"]["tasks"])
        scope = yield from self._groups(owner, template, groups, scope, depth, wanted=wanted)
        return _declared_outputs(template, scope) if wanted else {}

    def _called(self, owner: _Own, name: str, arguments: Mapping[str, str]) -> tuple[Manifest, _Scope]:
        template, declared = self._checked(owner, name)
        if unknown := arguments.keys() - declared.keys():
            raise ManifestError(f"template {name!r} declares no input {sorted(unknown)}")
        inputs = {}
        for key, declaration in declared.items():
            declaration = declaration if "valueFrom" in declaration else _with_value(declaration)
            default = self._globals.fill(parameters.default(declaration, self._library))
            inputs[key] = parameters.as_text(arguments.get(key, default), key)
        return template, self._globals.plus("inputs.parameters", inputs)

    def _checked(self, owner: _Own, name: str) -> tuple[Manifest, dict[str, Manifest]]:
        """A template with its defaults, and its declared inputs; checked once, as loops call it often."""
        key = (id(owner.spec), name)
        if key not in self._templates:
            template = owner.template(name)
            kinds = [kind for kind in _KINDS if kind in template]
            if len(kinds) != 1:
                raise ManifestError(f"template {name!r} is {kinds or 'nothing'} of {list(_KINDS)}")
            defaults = self._spec.get("templateDefaults", {})
            applicable = {each: defaults[each] for each in defaults if each not in _KINDS or each == kinds[0]}
            template = merge(applicable, template)
            declared = _unique(template.get("inputs", {}).get("parameters", []), f"input of {name}")
            body = tags({part: value for part, value in template.items() if part != "inputs"})
            body += _expressions(template)
            for each in declared:
                if not _is_read(body, f"inputs.parameters.{each}", f"inputs.parameters['{each}']"):
                    raise ManifestError(f"template {name!r} never reads its input {each!r}")
            self._templates[key] = template, declared
        return self._templates[key]

    def _groups(
        self,
        owner: _Own,
        template: Manifest,
        groups: list[list[Manifest]],
        scope: _Scope,
        depth: int,
        *,
        wanted: bool,
    ) -> Generator[Stage, None, _Scope]:
        """The stages of groups of steps, and what is known after them of the steps that somebody reads."""
        _unique([step for group in groups for step in group], f"step of {template['name']}")
        kind = "steps" if "steps" in template else "tasks"
        read = tags({part: value for part, value in template.items() if part != "outputs"})
        if wanted:
            read += [*tags(template["outputs"]), *_expressions(template)]
        for group in groups:
            calls, skipped = [], []
            for step in group:
                chosen = list(self._calls(owner, step, scope))
                calls.extend(chosen)
                skipped.extend([] if chosen else [step["name"]])
            for name in skipped:
                scope = scope.plus(f"{kind}.{name}", {"status": "Skipped"})
            pods: list[Pod] = []
            nested = [call for call in calls if "container" not in self._template_of(call)]
            if nested and len(calls) > 1:
                raise ManifestError(
                    f"{nested[0].step}: a nested template beside other steps is not understood"
                )
            outputs: dict[str, Mapping[str, str]] = {}
            if nested:
                (call,) = nested
                if skipped:
                    yield Stage((), tuple(skipped))
                asked = _is_asked(read, kind, call.step)
                outputs[call.step] = yield from self.template(
                    call.owner, call.template, call.arguments, call.step, depth + 1, wanted=asked
                )
            else:
                for call in calls:
                    pods.append(
                        self._pod(*self._called(call.owner, call.template, call.arguments), call.step)
                    )
                yield Stage(tuple(pods), tuple(skipped))
                for step in dict.fromkeys(pod.step for pod in pods):
                    if _is_asked(read, kind, step):
                        (pod, *more) = [pod for pod in pods if pod.step == step]
                        if more:
                            raise ManifestError(f"the outputs of step {step!r} are read, and it is a loop")
                        outputs[step] = self._outputs_of(pod)
            for call in calls:
                scope = scope.plus(f"{kind}.{call.step}", {"status": "Succeeded"})
            for step, values in outputs.items():
                scope = scope.plus(f"{kind}.{step}.outputs", values)
        return scope

    def _template_of(self, call: _Call) -> Manifest:
        return self._checked(call.owner, call.template)[0]

    def _outputs_of(self, pod: Pod) -> Mapping[str, str]:
        if self._run is None:
            raise ManifestError(f"the outputs of step {pod.step!r} are read, and nothing runs it")
        outputs = self._run(pod)
        return {
            "result": outputs.result,
            **{f"parameters.{name}": value for name, value in outputs.parameters.items()},
        }

    def _calls(self, owner: _Own, step: Manifest, scope: _Scope) -> Iterator[_Call]:
        known = {"name", "template", "templateRef", "arguments", "when", "dependencies", "depends"}
        loops = [key for key in step if key.startswith("with")]
        if unknown := step.keys() - known - set(loops):
            raise ManifestError(f"step {step['name']!r}: {sorted(unknown)} is not understood")
        plain = {key: value for key, value in step.items() if key not in loops}
        scopes = [scope.with_item(item) for item in _items(step, scope)] if loops else [scope]
        if loops and "when" in plain:
            raise ManifestError(
                f"step {step['name']!r}: a condition on a loop leaves a skipped node per item"
            )
        for each in scopes:
            filled = each.fill(plain)
            condition = filled.get("when", "true")
            if condition not in ("true", "false"):
                raise ManifestError(f"step {step['name']!r}: the condition {condition!r} is not understood")
            if condition == "false":
                continue
            reference = filled.get("templateRef")
            target, name = owner, filled.get("template")
            if reference:
                document = _template_named(self._library, reference["name"])
                target, name = _Own(document, document["spec"]), reference["template"]
            arguments = _unique(filled.get("arguments", {}).get("parameters", []), "argument")
            values = {
                key: parameters.as_text(argument.get("value"), key) for key, argument in arguments.items()
            }
            yield _Call(step["name"], target, cast("str", name), values)

    def _pod(self, template: Manifest, scope: _Scope, step: str) -> Pod:
        own = _unique(scope.fill(template.get("volumes", [])), f"volume of {template['name']}")
        container, volumes, rest = patched(
            scope.fill(template["container"]),
            {**self._volumes, **own} if own else self._volumes,
            scope.fill(template.get("podSpecPatch", NONE)),
        )
        variables = _unique(container.get("env", []), f"variable of {template['name']}")
        mounts = [(mount["mountPath"], mount["name"]) for mount in container.get("volumeMounts", [])]
        if unknown := {volume for _, volume in mounts} - volumes.keys():
            raise ManifestError(f"template {template['name']!r} mounts unknown volumes {sorted(unknown)}")
        if not container.get("command"):
            raise ManifestError(
                f"template {template['name']!r} has no command: Argo would ask a registry for it"
            )
        said = self._said.setdefault(
            id(template),
            {
                key: template.get(key, self._spec.get(key))
                for key in _OF_A_POD
                if key in template or key in self._spec
            },
        )
        secrets = []
        for name, variable in variables.items():
            if source := variable.get("valueFrom"):
                key = source["secretKeyRef"]
                secrets.append(SecretKey(name, key["name"], key["key"], key.get("optional", False)))
        return Pod(
            template=template["name"],
            step=step,
            command=(*container["command"], *container.get("args", [])),
            environment=tuple((name, item["value"]) for name, item in variables.items() if "value" in item),
            secrets=tuple(secrets),
            mounts=tuple(mounts),
            image=container["image"],
            outputs=tuple(
                OutputFile(output["name"], output["valueFrom"]["path"], output["valueFrom"].get("default"))
                for output in template.get("outputs", {}).get("parameters", [])
            ),
            container=container,
            volumes=volumes,
            spec=merge(said, rest) if rest else said,
            retry=template.get("retryStrategy"),
        )


def _with_value(declaration: Manifest) -> Manifest:
    return {"name": declaration["name"], "value": declaration.get("value", declaration.get("default"))}


def _declared_outputs(template: Manifest, scope: _Scope) -> Mapping[str, str]:
    """The output parameters of a template of steps, from those of its steps."""
    outputs = {}
    for output in template.get("outputs", {}).get("parameters", []):
        source = output["valueFrom"]
        if source.keys() == {"parameter"}:
            value = scope.fill(source["parameter"])
        elif source.keys() == {"expression"}:
            value = scope.fill("{{=" + source["expression"] + "}}")
        else:
            raise ManifestError(f"the output {output['name']!r} comes from {sorted(source)}")
        outputs[f"parameters.{output['name']}"] = value
    return outputs


def _expressions(template: Manifest) -> list[str]:
    """What the outputs of a template read."""
    declared = template.get("outputs", {}).get("parameters", [])
    return [output["valueFrom"]["expression"] for output in declared if "expression" in output["valueFrom"]]


def _is_asked(texts: list[str], kind: str, step: str) -> bool:
    return _is_read(texts, f"{kind}.{step}.outputs", f"{kind}['{step}'].outputs")


def _items(step: Manifest, scope: _Scope) -> list[Any]:
    if "withItems" in step:
        items: Any = step["withItems"]
    elif "withParam" in step:
        items = json.loads(scope.fill(step["withParam"]))
    else:
        items = _sequence(scope.fill(step["withSequence"]))
    if not isinstance(items, list) or not items:
        raise ManifestError(f"step {step['name']!r} loops over {items!r}")
    return items


def _sequence(sequence: Mapping[str, Any]) -> list[str]:
    if unknown := sequence.keys() - {"start", "end", "count", "format"}:
        raise ManifestError(f"withSequence: {sorted(unknown)} is not understood")
    try:
        start = int(sequence.get("start", 0))
        end = int(sequence["end"]) if "end" in sequence else start + int(sequence["count"]) - 1
    except (KeyError, ValueError) as error:
        raise ManifestError(f"withSequence {dict(sequence)!r}: {error}") from error
    if "count" in sequence and end < start:
        return []
    numbers = range(start, end + 1) if start <= end else range(start, end - 1, -1)
    return [sequence.get("format", "%d") % number for number in numbers]


def _waves(tasks: list[Manifest]) -> list[list[Manifest]]:
    """A DAG's tasks, each in the first group in which all that it waits for is done."""
    waiting = {name: _waits_for(task) for name, task in _unique(tasks, "task").items()}
    waves: list[list[Manifest]] = []
    done: set[str] = set()
    while len(done) < len(tasks):
        ready = [task for task in tasks if task["name"] not in done and waiting[task["name"]] <= done]
        if not ready:
            raise ManifestError(
                f"tasks {sorted(waiting.keys() - done)} wait for each other or for nothing known"
            )
        waves.append(ready)
        done |= {task["name"] for task in ready}
    return waves


def _waits_for(task: Manifest) -> set[str]:
    names = task.get("dependencies") or [name for name in task.get("depends", "").split("&&") if name]
    names = {name.strip() for name in names}
    if any(re.search(r"[^A-Za-z0-9_-]", name) for name in names):
        raise ManifestError(f"task {task['name']!r}: its dependencies {sorted(names)} are not understood")
    return names


def _template_named(library: Sequence[Manifest], name: str) -> Manifest:
    templates = [document for document in library if document["kind"] == "WorkflowTemplate"]
    found = [document for document in templates if document["metadata"].get("name") == name]
    if len(found) != 1:
        raise ManifestError(f"{len(found)} WorkflowTemplates have the name {name!r}")
    return found[0]


def _only(items: list[Manifest], name: str, what: str) -> Manifest:
    named = _unique(items, what)
    if name not in named:
        raise ManifestError(f"there is no {what} {name!r}")
    return named[name]


def _unique(items: list[Manifest], what: str) -> dict[str, Manifest]:
    named = {item["name"]: item for item in items}
    if len(named) != len(items):
        raise ManifestError(f"a name stands twice: {what} {[item['name'] for item in items]}")
    return named


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _strings(item)


def _is_read(texts: list[str], *names: str) -> bool:
    """Whether one of some tags names a variable, which may be spelt in more than one way."""
    ends = re.compile("|".join(rf"{re.escape(name)}(?![A-Za-z0-9_-])" for name in names))
    return any(ends.search(text) for text in texts)
