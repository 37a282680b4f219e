"""Writes what is installed as a CycloneDX document: `sbom.py FILE [SITE-PACKAGES...]`.

It lists Python, the Python packages of those folders (by default those that Python itself looks in) and
Debian's packages. The same installation gives the same bytes; SOURCE_DATE_EPOCH is the document's time.
"""

import json
import os
import platform
import subprocess
import sys
import time
import uuid
from importlib.metadata import Distribution, distributions
from pathlib import Path


def python_package(found: Distribution) -> dict[str, object]:
    """A component of a Python package."""
    name, version = found.metadata["Name"], found.version
    entry: dict[str, object] = {
        "type": "library",
        "name": name,
        "version": version,
        "purl": f"pkg:pypi/{name.lower().replace('_', '-')}@{version}",
    }
    license_name = found.metadata.get("License-Expression") or found.metadata.get("License") or ""
    if license_name and "\n" not in license_name:
        entry["licenses"] = [{"license": {"name": license_name}}]
    return entry


def debian_packages() -> list[dict[str, object]]:
    """Components of Debian's packages."""
    listed = subprocess.run(
        ["/usr/bin/dpkg-query", "--show", "--showformat", "${Package} ${Version} ${Architecture}\n"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return [
        {
            "type": "library",
            "name": name,
            "version": version,
            "purl": f"pkg:deb/debian/{name}@{version}?arch={architecture}",
        }
        for name, version, architecture in (line.split(" ") for line in listed.splitlines())
    ]


def main() -> None:
    """Look, sort, write."""
    file, *folders = sys.argv[1:]
    found = {each.metadata["Name"]: each for each in distributions(path=folders or sys.path)}
    python = platform.python_version()
    components = [
        {"type": "platform", "name": "python", "version": python, "purl": f"pkg:generic/python@{python}"},
        *(python_package(found[name]) for name in sorted(found, key=str.lower)),
        *debian_packages(),
    ]
    for component in components:
        component["bom-ref"] = component["purl"]
    seconds = int(os.environ.get("SOURCE_DATE_EPOCH") or 0)
    text = json.dumps(components, sort_keys=True)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, text)}",
        "version": 1,
        "metadata": {
            "timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds)),
            "component": {
                "type": "application",
                "name": "aggregation-worker",
                "version": os.environ.get("VERSION", ""),
                "bom-ref": "aggregation-worker",
            },
        },
        "components": components,
    }
    Path(file).parent.mkdir(parents=True, exist_ok=True)
    Path(file).write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
