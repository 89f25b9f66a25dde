"""From the documents of a server to the records that a database gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pubworks.clock import seconds_of, utc
from pubworks.primitives.timeline import Event
from pubworks.states import BatchState, JobState, Mode
from pubworks.store.records import (
    BackendFacts,
    BatchDraft,
    JobRecord,
    Progress,
    SessionProgress,
    SessionRecord,
    Slice,
    Wait,
)
from pubworks.views.held import HeldBatch
from pubworks.views.session import JobView
from pubworks.views.sessions import SessionView

if TYPE_CHECKING:
    from pubworks.planning.quote import Plan
    from pubworks.views.limits import Limits

Document = Mapping[str, Any]


def record_of(document: Document) -> JobRecord:
    """Return the row of a job."""
    same = ("id", "name", "primitive", "backend", "num_pubs", "num_batches", "batches_left", "session", "shared")
    times = {name: _time(document[name]) for name in ("created_at", "started_at", "finished_at")}
    owner = document["owner"] or ""
    return JobRecord(**{**_some(document, same), **times, "state": JobState(document["status"]), "owner": owner})


def view_of(document: Document) -> JobView:
    """Return a job as it stands; that its server may work itself is no matter of this process."""
    waits = tuple(
        Wait(BatchState(wait["status"]), wait["batches"], wait["reason"], wait["due_in_s"])
        for wait in document["waits"]
    )
    record, progress, tags = record_of(document), progress_of(document), tuple(document["tags"])
    return JobView(record, progress, document["workers"], embedded=False, waits=waits, tags=tags)


def progress_of(document: Document) -> Progress:
    """Return how far a job is."""
    same = ("batches", "pubs_done", "num_pubs", "reasons", "shots", "backends", "estimated_s_left")
    return Progress(**_some(document, same), num_batches=sum(document["batches"].values()))


def event_of(document: Document) -> Event:
    """Return what happened to a job."""
    return Event(utc(seconds_of(document["at"])), document["what"], document["batch"], document["detail"])


def held_of(document: Document) -> HeldBatch:
    """Return a batch that waits for a decision."""
    return HeldBatch(
        document["id"], document["job"], document["backend"], document["circuits"], document["shots"],
        _time(document["since"]), document["why"], document["error"],
    )  # fmt: skip


def facts_of(document: Document) -> BackendFacts:
    """Return what a worker found out about a backend."""
    return BackendFacts(
        document["name"], "", document["num_qubits"], document["max_circuits"], document["error"],
        _time(document["described_at"]), document["learned"] or None,
    )  # fmt: skip


def session_of(document: Document) -> SessionRecord:
    """Return the row of a session."""
    return SessionRecord(**{**_some(document, _SESSION), **{name: _time(document[name]) for name in _SESSION_TIMES},
                            "mode": Mode(document["mode"])})  # fmt: skip


_SESSION = tuple(field.name for field in fields(SessionRecord))
_SESSION_TIMES = tuple(name for name in _SESSION if name.endswith(("_at", "_since")))


def session_view_of(document: Document) -> SessionView:
    """Return a session with how far its jobs are."""
    progress = SessionProgress(document["jobs"], document["batches"])
    return SessionView(session_of(document), progress, document["usage_s"])


def limits_of(document: Document, time_now: float) -> Limits:
    """Return the limits of a backend, and how they stand at a time of the server's database."""
    from pubworks.policy import Quota
    from pubworks.store.standing import Standing
    from pubworks.views.limits import Limits

    quota, configured = (Quota.model_validate(document[name]) for name in ("limits", "configured"))
    same = ("submissions_left", "requests_left", "in_flight", "window", "snooze_reason", "failures", "failure_reason")
    snoozed_until, probe_at = _time(document["snoozed_until"]), _time(document["next_probe_at"])
    stands = Standing(
        quota=quota, **_some(document, same), snoozed_until=snoozed_until, probe_at=probe_at, now=time_now
    )
    return Limits(quota, configured, stands)


def plan_of(document: Document) -> Plan:
    """Return what a job would take and cost."""
    from pubworks.backends.price import Cost
    from pubworks.planning.quote import Plan, Split

    cost = document["estimated_cost"]
    return Plan(
        document["backend"], document["primitive"], document["num_pubs"], tuple(map(_batch_of, document["batches"])),
        tuple(Split(**split) for split in document["splits"]), document["estimated_seconds"],
        document["runs_ahead"], document["known_from_runs"], cost and Cost(**cost),
    )  # fmt: skip


def _batch_of(document: Document) -> BatchDraft:
    slices = tuple(Slice(**piece) for piece in document["slices"])
    return BatchDraft(document["shots"], document["seed"], slices, document["payload_bytes"])


def _some(document: Document, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: document.get(name) for name in names}


def _time(text: str | None) -> float | None:
    return None if text is None else seconds_of(text)
