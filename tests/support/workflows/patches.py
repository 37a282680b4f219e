"""A podSpecPatch laid over a pod, as Kubernetes' strategic merge does it, as far as it is used here."""

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

import yaml

from workflows.parameters import Manifest, ManifestError

_KEYS = {"containers": "name", "env": "name", "volumeMounts": "mountPath", "volumes": "name"}
"""The lists whose items are merged by a key of theirs."""
_KNOWN = {"containers", "volumes", "nodeSelector", "tolerations", "priorityClassName", "securityContext"}
NONE = "{}"


class Patched(NamedTuple):
    """What of a pod the patch may change."""

    container: Manifest
    volumes: Mapping[str, Manifest]
    rest: Manifest
    """All else of the pod's spec that the patch says."""


def patched(container: Manifest, volumes: Mapping[str, Manifest], patch: str) -> Patched:
    """The container `main` and the volumes of a pod with the patch's text over them.

    Raises:
        ManifestError: the patch is no mapping, names a container that there is not, or a field that is not
            understood.
    """
    if patch == NONE:
        return Patched(container, volumes, {})
    said = _loaded(patch)
    if not isinstance(said, dict) or said.keys() - _KNOWN:
        raise ManifestError(f"the podSpecPatch {patch!r} is not understood")
    if unknown := [each.get("name") for each in said.get("containers", []) if each.get("name") != "main"]:
        raise ManifestError(f"the podSpecPatch names the containers {unknown}")
    pod = {"containers": [{"name": "main", **container}], "volumes": list(volumes.values())}
    merged = _merged(pod, said)
    (main,) = merged.pop("containers")
    del main["name"]
    return Patched(main, {volume["name"]: volume for volume in merged.pop("volumes")}, merged)


@cache
def _loaded(patch: str) -> Any:
    return yaml.safe_load(patch)


def _merged(below: Any, above: Any, place: str = "") -> Any:
    if isinstance(below, dict) and isinstance(above, dict):
        made = {key: _merged(below.get(key), value, key) for key, value in above.items()}
        return {key: value for key, value in (below | made).items() if value is not None}
    if isinstance(above, list) and place in _KEYS and isinstance(below, list):
        return _merged_lists(below, above, _KEYS[place])
    if isinstance(above, dict):
        return {key: value for key, value in above.items() if value is not None}
    return above


def _merged_lists(below: list[Manifest], above: list[Manifest], key: str) -> list[Manifest]:
    items = {item[key]: item for item in below}
    for item in above:
        if item.get("$patch") == "delete":
            if item[key] not in items:
                raise ManifestError(f"the podSpecPatch deletes {item[key]!r}, which is not there")
            del items[item[key]]
        else:
            items[item[key]] = _merged(items.get(item[key], {}), item)
    return list(items.values())
