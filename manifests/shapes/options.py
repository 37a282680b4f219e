"""The command's options, and what they mean for the documents."""

from collections.abc import Mapping
from dataclasses import dataclass

from aggregation.command_line.outlook import Foreseen
from aggregation.dry_run import Outlook
from aggregation.errors import WrongUsageError

from .inputs import Inputs
from .plan import FINAL_WIDTH, Plan, make_plan

BASES = {"volume": "process-data.yaml", "oss": "process-data-oss.yaml"}
"""The manifest of each store that brings all that does not depend on the shape."""
DIRECTORY = {"volume": "dir", "oss": "prefix"}
"""The workflow parameter that says where under the store the levels are."""

PARALLELISM = 16
"""Pods of a workflow at a time, as both manifests have it."""

Resources = Mapping[str, Mapping[str, str]]
"""Limits and requests, as a container has them."""


@dataclass(frozen=True)
class Options:
    """The command's options, as --help explains them."""

    files: int
    inputs: Inputs
    fan_in: int
    levels: int | None
    final_width: int | None
    store: str
    directory: str | None
    bucket: str | None
    endpoint: str | None
    region: str | None
    secret: str | None
    image: str | None
    namespace: str
    name: str
    service_account: str | None
    memory: tuple[tuple[str, str], ...]
    cpu: tuple[tuple[str, str], ...]
    parallelism: int | None
    pods_per_workflow: int
    children: int
    dry_run: bool
    foreseen: Foreseen
    submit: bool
    server: str | None

    def at_a_time(self, plan: Plan) -> int:
        """How many pods run at a time, in all workflows."""
        return (self.parallelism or PARALLELISM) * (self.children if plan.is_split else 1)

    def outlook(self, at_a_time: int = PARALLELISM) -> Outlook:
        """What is known before the run."""
        return self.foreseen.outlook(None, on_oss=self.store == "oss", at_a_time=at_a_time)

    def plan(self) -> Plan:
        """The plan of this shape."""
        return make_plan(
            self.files,
            self.fan_in,
            self.levels,
            self.final_width or FINAL_WIDTH,
            self.pods_per_workflow,
            listed=self.inputs.is_asked_for,
        )

    def parameters(self) -> dict[str, str]:
        """The workflow parameters that were given.

        Raises:
            WrongUsageError: one belongs to the other store.
        """
        of_oss = {name: getattr(self, name) for name in ("bucket", "endpoint", "region", "secret")}
        given = {name: value for name, value in of_oss.items() if value is not None}
        if given and self.store != "oss":
            raise WrongUsageError(
                f"--{next(iter(given))}", "a volume has none", "add --store oss, or leave it out"
            )
        if self.image is not None:
            given["image"] = self.image
        if self.directory is not None:
            given[DIRECTORY[self.store]] = self.directory
        return given

    def resources(self, plan: Plan) -> dict[int, Resources]:
        """Limits and requests by level, both the same: what a pod may use is set aside for it.

        Raises:
            WrongUsageError: there is no such level, or it is given twice.
        """
        given: dict[int, dict[str, str]] = {}
        for kind, values in (("memory", self.memory), ("cpu", self.cpu)):
            for level, quantity in values:
                number = plan.last if level == "merge" else int(level)
                if not 1 <= number <= plan.last:
                    raise WrongUsageError(
                        f"--{kind} {level}={quantity}",
                        f"the run has no level {level}",
                        f"it reduces {len(plan.levels)} levels, numbered from 1; the last pod is `merge`",
                    )
                if kind in given.setdefault(number, {}):
                    raise WrongUsageError(f"--{kind} {level}={quantity}", "this level has a value already")
                given[number][kind] = quantity
        return {number: {"limits": values, "requests": values} for number, values in given.items()}
