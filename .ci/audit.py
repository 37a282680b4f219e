"""Asks for known vulnerabilities of all locked packages: `audit.py PIP-AUDIT REQUIREMENTS...`.

Exit code 0: none is known; 1: some are, a line each; 75: the database could not be asked about all of them.
"""

import json
import subprocess
import sys
from typing import Any, NoReturn

UNREACHED = 75
_LAST = 300


def fail(line: str, code: int) -> NoReturn:
    """End with one line."""
    print(f"audit: {line}", file=sys.stderr)
    sys.exit(code)


def report(program: str, file: str) -> list[dict[str, Any]]:
    """What pip-audit says of a file's packages, one entry each."""
    command = [program, "--disable-pip", "--require-hashes", "--progress-spinner", "off", "--format", "json"]
    done = subprocess.run([*command, "--requirement", file], capture_output=True, text=True, check=False)
    try:
        packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):  # it answers a database that is away by a traceback, or a line
        said = (done.stderr.strip().splitlines() or [f"pip-audit ended with {done.returncode}"])[-1][:_LAST]
        fail(
            f"error: {file}: the database of vulnerabilities cannot be reached: {said}; run it again",
            UNREACHED,
        )
    return packages


def main() -> None:
    """Ask, list, count."""
    program, *files = sys.argv[1:]
    packages = [package for file in files for package in report(program, file)]
    found = 0
    for package in packages:
        for vulnerability in package.get("vulns", []):
            found += 1
            fixed = ", ".join(vulnerability["fix_versions"]) or "no version yet"
            print(f"{package['name']} {package['version']}: {vulnerability['id']}, fixed in {fixed}")
    # An index without the database's answers makes pip-audit skip a package, and say that all is well.
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped:
        names = ", ".join(skipped[:3])
        fail(
            f"error: nothing is known of {len(skipped)} of {len(packages)} packages ({names}, ...): the "
            "database of vulnerabilities (pypi.org) cannot be reached from here, or has not heard of them",
            1 if found else UNREACHED,
        )
    if found:
        fail(f"{found} known vulnerabilities: raise these packages in requirements*.in, then make lock", 1)
    print(f"audit: {len(packages)} packages, no known vulnerability")


if __name__ == "__main__":
    main()
