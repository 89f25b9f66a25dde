"""Whether a locked package has a known vulnerability: ``make audit``, or ``python -m tests.audit [FILE]``.

It ends with 1 where one has, and where the audit itself is broken. Where no advisory service can be asked, which is no
fault of the packages, it says so and ends with 0. ``AUDIT_OSV_URL`` names another service that speaks as osv.dev does.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from typing import Any

#: What pip-audit ends with when a service cannot be reached.
_AWAY = re.compile(r"ConnectionError|Timeout|ServiceError|HTTPError|ProxyError|SSLError")

_SERVICES = ("osv", "pypi")


class Away(Exception):
    """A service cannot be asked."""


def ask(service: str, file: str) -> list[dict[str, Any]]:
    """Return what a service says of each package of a file of requirements.

    Raises:
        Away: It cannot be reached, or knows none of them.
    """
    command = [sys.executable, "-m", "pip_audit", "--requirement", file, "--require-hashes", "--disable-pip"]
    command += ["--vulnerability-service", service, "--format", "json", "--desc", "off", "--progress-spinner", "off"]
    if url := os.environ.get("AUDIT_OSV_URL"):
        command += ["--osv-url", url]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if not done.stdout.strip():
        last = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        if _AWAY.search(last):
            raise Away(last.partition(":")[0].rpartition(".")[2])
        raise SystemExit(f"The audit is broken:\n{done.stderr}")
    packages: list[dict[str, Any]] = json.loads(done.stdout)["dependencies"]
    if all("skip_reason" in package for package in packages):
        raise Away("it knows none of the packages")
    return packages


def tell(packages: list[dict[str, Any]]) -> int:
    """Print what was found. Returns the exit code."""
    found = [(package, vulnerability) for package in packages for vulnerability in package.get("vulns", ())]
    for package, vulnerability in found:
        mended = ", ".join(vulnerability["fix_versions"]) or "nothing yet"
        print(f"{package['name']} {package['version']}: {vulnerability['id']}, mended by {mended}")
    skipped = [package["name"] for package in packages if "skip_reason" in package]
    if skipped:
        print(f"NOT AUDITED: {', '.join(skipped)}")
    print(f"{len(found)} known vulnerabilities in {len(packages) - len(skipped)} packages.")
    return 1 if found else 0


def main(file: str = "requirements.lock") -> int:
    """Audit a file of requirements. Returns the exit code."""
    reasons = []
    for service in _SERVICES:
        try:
            return tell(ask(service, file))
        except Away as away:
            reasons.append(f"{service}: {away}")
    print(f"NOT AUDITED: no advisory service can be asked ({'; '.join(reasons)}). {file} was not looked at.")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
