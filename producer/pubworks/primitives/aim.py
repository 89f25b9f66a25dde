"""What a primitive is aimed at: a backend, alone or in a session."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pubworks.primitives.session import Session, current_session

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from pubworks.client import Client
    from pubworks.ledger.contract import Pubs
    from pubworks.planning.target import Target
    from pubworks.primitives.job import Job
    from pubworks.store.records import JobDraft


@dataclass(frozen=True)
class Aim:
    """Where the jobs of a primitive go."""

    client: Client
    #: The backend as it was given, and its name.
    backend: BackendV2 | str
    name: str
    session_id: str | None = None

    def target(self) -> Target:
        """Return what planning needs to know about the backend."""
        return self.client.target(self.name)

    def submit(self, draft: JobDraft, pubs: Pubs) -> Job:
        """Store a job, in the session if there is one.

        Args:
            draft: The job, planned.
            pubs: The coerced PUBs that it was made from.

        Raises:
            SessionClosed: The session takes no more jobs.
        """
        return self.client.submit(replace(draft, session=self.session_id), pubs)


def aim_at(
    backend: BackendV2 | Session | str | None, mode: BackendV2 | Session | str | None, client: Client | None,
    default_client: Callable[[], Client],
) -> Aim:  # fmt: skip
    """Return where the jobs of a primitive go.

    Args:
        backend: A backend, a session or a batch.
        mode: The same, under the name that IBM's runtime gives it; one of the two at most.
        client: Where its jobs go, if it was said.
        default_client: Returns where they go else.

    Raises:
        TypeError: Both are given; or none, and no ``with`` block of a session surrounds the caller; or the client is
            not that of the session.
        ValueError: Such a block is of another backend.
        ConfigError: No backend has this name.
    """
    if backend is not None and mode is not None:
        raise TypeError("Give the backend, Batch or Session once: as the first argument, or as mode=….")
    session = current_session()
    given = backend if mode is None else mode
    given = session if given is None else given
    if given is None:
        raise TypeError("There is no backend. Give its name, a BackendV2, a Batch or a Session, or use a with block.")
    if isinstance(given, Session):
        return _in_session(given, client)
    client = client or default_client()
    name = client.enter(given)
    if session is None or session.service is not client:
        return Aim(client, given, name)
    return _in_block(session, name)


def _in_session(session: Session, client: Client | None) -> Aim:
    if client not in (None, session.service):
        raise TypeError(f"{session.session_id} was opened by another client. Leave client= out: it takes that one.")
    return Aim(session.service, session.backend(), session.backend(), session.session_id)


def _in_block(session: Session, name: str) -> Aim:
    if session.backend() != name:
        raise ValueError(
            f"The with block is of backend {session.backend()!r}, and this is for {name!r}. Make it outside of the "
            "block; or leave its backend out to take that of the block."
        )
    warnings.warn(
        f"Jobs of this backend run in {session.session_id}, since its with block is open. Leave the backend out, or "
        "make the primitive outside of the block.",
        UserWarning,
        stacklevel=4,
    )
    return _in_session(session, None)
