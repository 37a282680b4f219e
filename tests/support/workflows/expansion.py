"""Expands manifests into the worker pods that Argo Workflows would run, stage by stage, without a cluster.

It knows what these manifests use and raises at anything else: steps, DAGs, containers, loops, conditions,
templates of other documents, recursion, template defaults, simple and expression tags. It is stricter than
Argo: an argument that is not declared, an input that nothing reads, a loop over nothing are errors here.
"""

from collections.abc import Collection, Generator, Iterator, Mapping, Sequence
from typing import NamedTuple

from workflows import parameters
from workflows.documents import effective_spec, merge, only, template_named, unique
from workflows.loops import items_of, waves
from workflows.parameters import Manifest, ManifestError
from workflows.pods import Pod, Run, Stage, pod_of
from workflows.scopes import Scope, expressions_of_outputs, is_read, tags

DEPTH = 100
"""Nested template calls that Argo allows."""
Stages = Generator[Stage, None, Mapping[str, str]]
"""Stages, and in the end the outputs of the template that they are of; none if nobody wants them."""


def expand(
    submitted: Manifest,
    library: Sequence[Manifest] = (),
    given: Mapping[str, str] | None = None,
    *,
    run: Run | None = None,
    entrypoint: str | None = None,
    name: str = "a-workflow",
    outputs: bool = False,
    known: Mapping[str, str] | None = None,
) -> Stages:
    """The stages that `argo submit` of a manifest gives, and in the end its outputs.

    Args:
        submitted: a Workflow, or a WorkflowTemplate as `argo submit --from` takes it.
        library: the WorkflowTemplates and ConfigMaps that the cluster holds.
        given: what `-p` sets.
        run: runs a pod whose outputs a later step reads; called after the pod's stage was handed out.
        entrypoint: what `--entrypoint` sets.
        name: the name that the API server generates.
        outputs: whether the entrypoint's outputs are wanted, for which pods have to run.
        known: what else Argo knows of the workflow: `workflow.status` in an exit handler.

    Raises:
        ManifestError: something is unknown, unused, missing, or not what this understands.
    """
    spec = effective_spec(submitted, library)
    known = {"workflow.name": name, **(known or {})}
    expansion = _Expansion(spec, _Own(submitted, spec), library, given or {}, run, known)
    return expansion.template(expansion.own, entrypoint or spec["entrypoint"], {}, "main", 1, wanted=outputs)


_KINDS = ("container", "steps", "dag")


class _Own(NamedTuple):
    """A document whose templates call each other by their bare names."""

    manifest: Manifest
    spec: Manifest

    def template(self, name: str) -> Manifest:
        return only(self.spec.get("templates", []), name, "template")


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
        known: Mapping[str, str],
    ) -> None:
        self.own = own
        self._spec = spec
        self._library = library
        self._run = run
        self._templates: dict[tuple[int, str], tuple[Manifest, dict[str, Manifest]]] = {}
        declared = unique(spec.get("arguments", {}).get("parameters", []), "workflow parameter")
        everything = tags([spec, *(document["spec"] for document in library if "spec" in document)])
        for each in declared:
            if not is_read(everything, f"workflow.parameters.{each}", f"workflow.parameters['{each}']"):
                raise ManifestError(f"nothing reads the workflow parameter {each!r}")
        values = parameters.resolve(list(declared.values()), given, library)
        self._globals = Scope(known).plus("workflow.parameters", values)
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
        groups = template["steps"] if "steps" in template else waves(template["dag"]["tasks"])
        scope = yield from self._groups(owner, template, groups, scope, depth, wanted=wanted)
        return _declared_outputs(template, scope) if wanted else {}

    def _pod(self, template: Manifest, scope: Scope, step: str) -> Pod:
        return pod_of(template, scope, step, self._spec)

    def _target(self, owner: _Own, step: Manifest) -> tuple[_Own, str]:
        """Which document's template a step calls, and its name."""
        if reference := step.get("templateRef"):
            document = template_named(self._library, reference["name"])
            return _Own(document, document["spec"]), reference["template"]
        return owner, step["template"]

    def _called(self, owner: _Own, name: str, arguments: Mapping[str, str]) -> tuple[Manifest, Scope]:
        template, declared = self._checked(owner, name)
        if unknown := arguments.keys() - declared.keys():
            raise ManifestError(f"template {name!r} declares no input {sorted(unknown)}")
        inputs = {}
        for key, declaration in declared.items():
            default = self._globals.fill(parameters.default(_with_value(declaration), self._library))
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
            declared = unique(template.get("inputs", {}).get("parameters", []), f"input of {name}")
            body = tags({part: value for part, value in template.items() if part != "inputs"})
            body += expressions_of_outputs(template)
            for each in declared:
                if not is_read(body, f"inputs.parameters.{each}", f"inputs.parameters['{each}']"):
                    raise ManifestError(f"template {name!r} never reads its input {each!r}")
            self._templates[key] = template, declared
        return self._templates[key]

    def _groups(
        self,
        owner: _Own,
        template: Manifest,
        groups: list[list[Manifest]],
        scope: Scope,
        depth: int,
        *,
        wanted: bool,
    ) -> Generator[Stage, None, Scope]:
        """The stages of groups of steps, and what is known after them of the steps that somebody reads."""
        unique([step for group in groups for step in group], f"step of {template['name']}")
        kind = "steps" if "steps" in template else "tasks"
        read = tags({part: value for part, value in template.items() if part != "outputs"})
        if wanted:
            read += [*tags(template.get("outputs", {})), *expressions_of_outputs(template)]
        for group in groups:
            calls, skipped = [], []
            for step in group:
                chosen = list(self._calls(owner, step, scope))
                calls.extend(chosen)
                if not chosen:
                    skipped.append(step["name"])
                    scope = scope.plus(f"{kind}.{step['name']}", self._of_skipped(owner, step, scope))
            asked = {call.step for call in calls if _is_asked(read, kind, call.step)}
            outputs = yield from self._group(calls, skipped, asked, depth)
            for call in calls:
                scope = scope.plus(f"{kind}.{call.step}", {"status": "Succeeded"})
            for name, values in outputs.items():
                scope = scope.plus(f"{kind}.{name}.outputs", values)
        return scope

    def _group(
        self, calls: Sequence[_Call], skipped: Sequence[str], asked: Collection[str], depth: int
    ) -> Generator[Stage, None, Mapping[str, Mapping[str, str]]]:
        """The stages of one group of steps, and the outputs of those that are asked for them."""
        nested = [call for call in calls if "container" not in self._template_of(call)]
        if nested and len(calls) > 1:
            raise ManifestError(f"{nested[0].step}: a nested template beside other steps is not understood")
        if nested:
            (call,) = nested
            if skipped:
                yield Stage((), tuple(skipped))
            made = yield from self.template(
                call.owner, call.template, call.arguments, call.step, depth + 1, wanted=call.step in asked
            )
            return {call.step: made}
        pods = tuple(
            self._pod(*self._called(call.owner, call.template, call.arguments), call.step) for call in calls
        )
        if pods or skipped:
            yield Stage(pods, tuple(skipped))
        if twice := [
            pod.step for pod in pods if sum(pod.step == each.step for each in pods) > 1 and pod.step in asked
        ]:
            raise ManifestError(f"the outputs of step {twice[0]!r} are read, and it is a loop")
        return {pod.step: self._outputs_of(pod) for pod in pods if pod.step in asked}

    def _of_skipped(self, owner: _Own, step: Manifest, scope: Scope) -> Mapping[str, str]:
        """What is known of a skipped step: its status, and of its outputs the parameters' defaults."""
        target, name = self._target(
            owner, scope.fill({key: step[key] for key in ("template", "templateRef") if key in step})
        )
        declared = self._checked(target, name)[0].get("outputs", {}).get("parameters", [])
        defaults = {output["name"]: output["valueFrom"].get("default") for output in declared}
        known = {f"outputs.parameters.{key}": value for key, value in defaults.items() if value is not None}
        return {"status": "Skipped", **known}

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

    def _calls(self, owner: _Own, step: Manifest, scope: Scope) -> Iterator[_Call]:
        known = {"name", "template", "templateRef", "arguments", "when", "dependencies", "depends"}
        loops = [key for key in step if key.startswith("with")]
        if unknown := step.keys() - known - set(loops):
            raise ManifestError(f"step {step['name']!r}: {sorted(unknown)} is not understood")
        plain = {key: value for key, value in step.items() if key not in loops}
        scopes = [scope.with_item(item) for item in items_of(step, scope)] if loops else [scope]
        if loops and "when" in plain:
            raise ManifestError(
                f"step {step['name']!r}: a condition on a loop leaves a skipped node per item"
            )
        for each in scopes:
            if lacking := each.lacking(plain):
                raise ManifestError(f"step {step['name']!r} would wait for {lacking}")
            filled = each.fill(plain)
            condition = filled.get("when", "true")
            if condition not in ("true", "false"):
                raise ManifestError(f"step {step['name']!r}: the condition {condition!r} is not understood")
            if condition == "false":
                continue
            target, name = self._target(owner, filled)
            arguments = unique(filled.get("arguments", {}).get("parameters", []), "argument")
            values = {
                key: parameters.as_text(argument.get("value"), key) for key, argument in arguments.items()
            }
            yield _Call(step["name"], target, name, values)


def _with_value(declaration: Manifest) -> Manifest:
    """A declaration of an input whose `default` is its value."""
    if "valueFrom" in declaration:
        return declaration
    return {"name": declaration["name"], "value": declaration.get("value", declaration.get("default"))}


def _declared_outputs(template: Manifest, scope: Scope) -> Mapping[str, str]:
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


def _is_asked(texts: list[str], kind: str, step: str) -> bool:
    return is_read(texts, f"{kind}.{step}.outputs", f"{kind}['{step}'].outputs")
