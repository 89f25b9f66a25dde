"""Sessions and batches of jobs: open, list, look at, close, cancel."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import IntegrityError

from pubworks.backends import registry
from pubworks.errors import NotAllowed
from pubworks.states import IDLE_S, Mode
from pubworks.store import ending, sessions
from pubworks.store.records import SessionRecord
from pubworks.store.tokens import Principal
from pubworks.views.sessions import in_full, look
from pubworks.web import models
from pubworks.web.desk import AtDesk, Desk, Reader, Submitter

router = APIRouter(prefix="/v1/sessions", tags=["sessions"])

SessionId = Annotated[str, Path(description="Its id, or enough of its beginning or end.", max_length=64)]

#: Longest time of a session, in seconds.
_LONGEST_S = 1e9


class SessionRequest(BaseModel):
    """A session, or a batch of jobs, to be opened."""

    model_config = ConfigDict(extra="forbid")

    backend: str = Field(min_length=1, max_length=200, examples=["aer"])
    mode: Mode = Mode.SESSION
    max_time_s: float | None = Field(None, gt=0, le=_LONGEST_S, description="From its first job on; null: for ever.")
    interactive_timeout_s: float = Field(IDLE_S, gt=0, le=_LONGEST_S, description="Without a job, until it queues.")


@router.get("", response_model=models.Sessions)
def list_sessions(
    desk: AtDesk, who: Reader, *,
    limit: Annotated[int, Query(ge=1, le=1000)] = 10,
    skip: Annotated[int, Query(ge=0, le=1_000_000)] = 0,
    mode: Mode | None = None,
    backend: Annotated[str | None, Query(max_length=200)] = None,
) -> dict[str, Any]:  # fmt: skip
    """List one's own sessions and batches of jobs, newest first; for operators everybody's."""
    with desk.session.store.read() as connection:
        found = sessions.newest(connection, limit, skip, mode=mode, backend=backend, owner=who.viewer)
    return {"sessions": [in_full(record) for record in found]}


@router.put("/{session_id}", response_model=models.SessionProgress)
def open_session(
    session_id: Annotated[str, Path(description="A new ULID.", pattern=r"^[0-7][0-9A-HJKMNP-TV-Z]{25}$")],
    asked: SessionRequest, desk: AtDesk, who: Submitter,
) -> dict[str, Any]:  # fmt: skip
    """Open one, under an id of one's own: asked for again, it is the same one."""
    name = registry.find(desk.client.settings, asked.backend).name
    try:
        with desk.session.store.write() as connection:
            sessions.open_session(
                connection, session_id, mode=asked.mode, backend=name, max_time_s=asked.max_time_s,
                idle_s=asked.interactive_timeout_s, owner=who.owner,
            )  # fmt: skip
    except IntegrityError:  # it is there already
        own(desk, session_id, who)
    return in_full(look(desk.session, session_id))


@router.get("/{session_id}", response_model=models.SessionProgress)
def get_session(session_id: SessionId, desk: AtDesk, who: Reader) -> dict[str, Any]:
    """Show one: its state, its times, how far its jobs are."""
    return in_full(look(desk.session, own(desk, session_id, who).id))


@router.post("/{session_id}/close", response_model=models.ClosedSession)
def close_session(session_id: SessionId, desk: AtDesk, who: Submitter) -> dict[str, Any]:
    """Have one take no more jobs; those that it has go on."""
    whole_id = own(desk, session_id, who).id
    with desk.session.store.write() as connection:
        closed = sessions.close(connection, whole_id)
    return {**in_full(look(desk.session, whole_id)), "closed": closed}


@router.post("/{session_id}/cancel", response_model=models.CancelledSession)
def cancel_session(session_id: SessionId, desk: AtDesk, who: Submitter) -> dict[str, Any]:
    """Close one, and cancel one's own jobs of it that have not ended; for operators, everybody's."""
    whole_id = own(desk, session_id, who).id
    cancelled = ending.cancel_session(desk.session.store, whole_id, who.viewer)
    return {**in_full(look(desk.session, whole_id)), "cancelled": cancelled}


def own(desk: Desk, session_id: str, who: Principal) -> SessionRecord:
    """Return the row of a session that they may use.

    Raises:
        SessionNotFound: There is none.
        NotAllowed: It is another's.
    """
    with desk.session.store.read() as connection:
        record = sessions.get(connection, sessions.find(connection, session_id, who.viewer))
    if who.viewer in (None, record.owner):
        return record
    raise NotAllowed(f"Session {record.id} is another user's. Open one of your own.")
