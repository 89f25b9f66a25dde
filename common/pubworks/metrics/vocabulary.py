"""The metrics, by name; docs/metrics.md shows this table."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What Prometheus calls the type of a metric."""

    COUNTER = "counter"
    HISTOGRAM = "histogram"
    GAUGE = "gauge"


class Metric(NamedTuple):
    """One metric: its type, the labels that tell its series apart, and what it says."""

    kind: Kind
    labels: tuple[str, ...]
    meaning: str


class Stage(StrEnum):
    """A part of the way of a batch whose seconds are measured."""

    #: From the submission of its job to its first claim.
    QUEUED = "queued"
    #: The call of ``backend.run``; in a process that runs it itself, from the claim to the start.
    SUBMIT = "submit"
    #: From the provider's yes, or from the claim where it runs in the process, until it is seen to be over.
    RUN = "run"
    #: From there until its result is stored.
    STORE = "store"
    #: The merging of the PUBs that it completed.
    MERGE = "merge"


#: Counted in the processes of a worker, and added up over them; the server counts what happens in it.
OF_PROCESSES = {
    "pubworks_actions_total": Metric(
        Kind.COUNTER, ("action",), "Actions, whether they are written to the log or not"
    ),
    "pubworks_attempts_total": Metric(
        Kind.COUNTER, ("backend", "cause"), "Runs that ended: cause OK, or why they came to nothing"
    ),
    "pubworks_circuits_total": Metric(Kind.COUNTER, ("backend",), "Circuits whose results were stored"),
    "pubworks_shots_total": Metric(Kind.COUNTER, ("backend",), "Shots whose results were stored"),
    "pubworks_stage_seconds": Metric(
        Kind.HISTOGRAM, ("backend", "stage"), f"Seconds by stage: {', '.join(Stage)}"
    ),
    "pubworks_requests_total": Metric(
        Kind.COUNTER, ("method", "status"), "Requests to the server, by how they were answered"
    ),
    "pubworks_request_seconds": Metric(
        Kind.HISTOGRAM, ("method",), "Seconds until a request was answered; streams of events are left out"
    ),
}  # fmt: skip

#: Read from the database when somebody looks: the same at every worker and server, so take their max, not their sum.
OF_THE_FLEET = {
    "pubworks_database_up": Metric(Kind.GAUGE, (), "Whether the database answered: without, the rest is missing"),
    "pubworks_batches": Metric(Kind.GAUGE, ("backend", "state"), "Batches that have not ended"),
    "pubworks_due_batches": Metric(Kind.GAUGE, ("backend",), "Batches that a worker could take now: the backlog"),
    "pubworks_oldest_due_seconds": Metric(Kind.GAUGE, ("backend",), "Seconds since the first of them became due"),
    "pubworks_workers": Metric(Kind.GAUGE, ("backend",), "Workers that are alive and serve it"),
    "pubworks_in_flight_limit": Metric(Kind.GAUGE, ("backend",), "Runs that may be in flight at once, where limited"),
    "pubworks_submissions_left": Metric(Kind.GAUGE, ("backend",), "Submissions that may come now, where limited"),
    "pubworks_requests_left": Metric(Kind.GAUGE, ("backend",), "Requests that may come now, where limited"),
    "pubworks_pause_seconds": Metric(Kind.GAUGE, ("backend",), "Seconds left of a pause that the provider asked for"),
    "pubworks_failures_in_a_row": Metric(Kind.GAUGE, ("backend",), "Failures of the backend since it last worked"),
    "pubworks_breaker_open": Metric(Kind.GAUGE, ("backend",), "Whether its breaker is open"),
    "pubworks_spool_files": Metric(
        Kind.GAUGE, (), "Provider ids on a worker's disk that the database does not have yet"
    ),
}  # fmt: skip
