"""The volume that the checks work on: a claim of a class, or a folder of the node."""

from typing import Any

CLAIM = "pvc-oss"


def documents(namespace: str, storage_class: str | None) -> list[dict[str, Any]]:
    """The claim, and the volume that it takes where no class makes one."""
    storage = {"resources": {"requests": {"storage": "1Gi"}}, "accessModes": ["ReadWriteMany"]}
    claim = {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": CLAIM}}
    if storage_class:
        return [{**claim, "spec": {**storage, "storageClassName": storage_class}}]
    # On the node's own disk: all pods must be on one node, as they are in kind, minikube or k3d.
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": namespace},
        "spec": {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "storageClassName": "",
            "claimRef": {"namespace": namespace, "name": CLAIM},
            "hostPath": {"path": f"/tmp/{namespace}", "type": "DirectoryOrCreate"},
        },
    }
    return [volume, {**claim, "spec": {**storage, "storageClassName": "", "volumeName": namespace}}]
