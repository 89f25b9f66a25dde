"""What happens in this process, counted as it happens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pubworks.metrics.vocabulary import OF_PROCESSES, Stage

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: Upper bounds of the histogram's buckets, in seconds: from a call on the loopback to a queue of days.
_BUCKETS_S = (0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0, 86400.0)

_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"))

#: Action -> the stage that ends with it, and the field with its seconds.
_STAGES = {
    "batch.claimed": (Stage.QUEUED, "waited_s"),
    "run.called": (Stage.SUBMIT, "seconds"),
    "run.started": (Stage.SUBMIT, "seconds"),
    "run.over": (Stage.RUN, "seconds"),
    "batch.done": (Stage.STORE, "seconds"),
    "job.merged": (Stage.MERGE, "seconds"),
}


class Counts:
    """Listens to the actions of the log.

    Args:
        registry: Where to show them; None where the files of several processes are added up.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        from prometheus_client import Counter, Histogram

        def counter(name: str) -> Counter:
            return Counter(name, OF_PROCESSES[name].meaning, OF_PROCESSES[name].labels, registry=registry)

        def histogram(name: str) -> Histogram:
            of = OF_PROCESSES[name]
            return Histogram(name, of.meaning, of.labels, registry=registry, buckets=_BUCKETS_S)

        self._actions, self._attempts = counter("pubworks_actions_total"), counter("pubworks_attempts_total")
        self._circuits, self._shots = counter("pubworks_circuits_total"), counter("pubworks_shots_total")
        self._stages = histogram("pubworks_stage_seconds")
        self._requests, self._answers = counter("pubworks_requests_total"), histogram("pubworks_request_seconds")

    def __call__(self, action: str, fields: dict[str, Any]) -> None:
        """Count one action."""
        self._actions.labels(action).inc()
        stage, seconds = _STAGES.get(action, (None, ""))
        if stage and seconds in fields and "backend" in fields:
            self._stages.labels(fields["backend"], stage).observe(max(0.0, fields[seconds]))
        if action == "batch.done":
            self._attempts.labels(fields["backend"], "OK").inc()
            self._circuits.labels(fields["backend"]).inc(fields["circuits"])
            self._shots.labels(fields["backend"]).inc(fields["shots"])
        elif action == "batch.trouble":
            self._attempts.labels(fields["backend"], fields["cause"]).inc()
        elif action == "api.answered":
            self._count_request(fields)

    def _count_request(self, fields: dict[str, Any]) -> None:
        method = fields["method"] if fields["method"] in _METHODS else "other"  # anybody may make one up
        self._requests.labels(method, fields["status"]).inc()
        if "seconds" in fields:
            self._answers.labels(method).observe(fields["seconds"])
