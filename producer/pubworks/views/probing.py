"""Probing a backend within the limits of the fleet, and writing down what was found."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pubworks.settings import CONFIG_NAME, config_path

if TYPE_CHECKING:
    from pubworks.backends.probing.findings import Finding
    from pubworks.backends.spec import BackendSpec
    from pubworks.views.session import Session

#: Longest seconds that a limit is believed: an operator may have lifted it.
_WAIT_LONGEST_S = 5.0


def permission(session: Session, spec: BackendSpec) -> Callable[[str], None]:
    """Return what waits until the limits of a backend allow one more ``submission`` or ``request``, and uses it up."""
    from pubworks.store import limits

    with session.store.write() as connection:
        limits.configure(connection, spec.name, spec.quota)

    def permit(kind: str) -> None:
        while (wait := _take(session, spec, kind)) > 0:
            time.sleep(min(wait, _WAIT_LONGEST_S))

    return permit


def _take(session: Session, spec: BackendSpec, kind: str) -> float:
    from pubworks.store import limits

    with session.store.write(durable=False) as connection:
        if kind == "request":
            return limits.take_request(connection, spec.name, spec.policy)
        row = limits.lock(connection, spec.name)
        if row is None:
            return 0.0
        grant = limits.submissions(connection, row, 1, spec.policy)
        limits.spend(connection, row, spec.policy, submissions=grant.count)
        return 0.0 if grant.count else grant.wait_s


def entries(findings: Sequence[Finding]) -> list[tuple[tuple[str, ...], Any]]:
    """Return what findings put into the table of a backend."""
    return [(one.setting, one.value) for one in findings if one.setting is not None and one.value is not None]


def write(spec: BackendSpec, findings: Sequence[Finding]) -> Path:
    """Write findings into the configuration file, and return which it is.

    Raises:
        ConfigError: It cannot be written.
    """
    from pubworks.config_file import set_of_backend

    path = config_path() or Path(CONFIG_NAME)
    set_of_backend(path, spec.name, spec.factory, entries(findings))
    return path
