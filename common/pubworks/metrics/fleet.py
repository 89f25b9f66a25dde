"""How the fleet stands: read from the database when somebody looks, with the same answer at every worker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pubworks.backends import registry
from pubworks.errors import StoreError
from pubworks.metrics.vocabulary import OF_THE_FLEET
from pubworks.policy import Policy
from pubworks.settings import Settings
from pubworks.store import fleet, limits
from pubworks.store.backlog import Backlog, backlogs
from pubworks.store.standing import Standing, to_standing
from pubworks.store.store import Store

if TYPE_CHECKING:
    from prometheus_client.core import GaugeMetricFamily


@dataclass(frozen=True)
class _Look:
    """What one look at the database found."""

    backlogs: Mapping[str, Backlog]
    standings: Mapping[str, Standing]
    workers: Counter[str]


class FleetCollector:
    """Gives Prometheus the gauges of the fleet.

    Args:
        settings: Which backends there are, and their policies.
        store: The database.
        spool: The folder of provider ids that the database does not have yet; None where no worker is.
    """

    def __init__(self, settings: Settings, store: Store, spool: Path | None = None) -> None:
        self._settings, self._store, self._spool = settings, store, spool
        self._names = set(registry.registered(settings))

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Look, and yield every gauge that has a value."""
        if self._spool is not None:
            yield _gauge("pubworks_spool_files", [((), len(list(self._spool.glob("*.json"))))])
        try:
            look = self._look()
        except StoreError:
            yield _gauge("pubworks_database_up", [((), 0)])
            return
        yield _gauge("pubworks_database_up", [((), 1)])
        yield from self._of_backlogs(look)
        yield from _of_standings(look.standings)

    def _look(self) -> _Look:
        with self._store.read() as connection:
            found = backlogs(connection)
            rows = limits.standing(connection)
            workers = fleet.list_workers(connection, self._settings.lease_s)
        standings = {
            name: to_standing(row, found.get(name, Backlog()).in_flight, self._policy(name))
            for name, row in rows.items()
        }
        return _Look(found, standings, Counter(name for worker in workers for name in worker.backends))

    def _policy(self, name: str) -> Policy:
        entry = self._settings.backends.get(name)
        return entry.policy if entry else Policy()

    def _of_backlogs(self, look: _Look) -> Iterator[GaugeMetricFamily]:
        names = sorted(self._names | look.backlogs.keys())
        found = {name: look.backlogs.get(name, Backlog()) for name in names}
        states = [((name, state), count) for name in names for state, count in sorted(found[name].states.items())]
        yield _gauge("pubworks_batches", states)
        yield _gauge("pubworks_due_batches", [((name,), found[name].due) for name in names])
        yield _gauge("pubworks_oldest_due_seconds", [((name,), found[name].oldest_due_s) for name in names])
        yield _gauge("pubworks_workers", [((name,), look.workers[name]) for name in names])


def _of_standings(standings: Mapping[str, Standing]) -> Iterator[GaugeMetricFamily]:
    def gauge(name: str, values: Mapping[str, float | None]) -> GaugeMetricFamily:
        return _gauge(name, [((backend,), value) for backend, value in values.items() if value is not None])

    stands = standings.items()
    yield gauge("pubworks_in_flight_limit", {name: _most_in_flight(one) for name, one in stands})
    yield gauge("pubworks_submissions_left", {name: one.submissions_left for name, one in stands})
    yield gauge("pubworks_requests_left", {name: one.requests_left for name, one in stands})
    yield gauge("pubworks_pause_seconds", {name: (one.snoozed_until or one.now) - one.now for name, one in stands})
    yield gauge("pubworks_failures_in_a_row", {name: one.failures for name, one in stands})
    yield gauge("pubworks_breaker_open", {name: one.probe_at is not None for name, one in stands})


def _most_in_flight(stands: Standing) -> int | None:
    return min((cap for cap in (stands.quota.in_flight, stands.window) if cap is not None), default=None)


def _gauge(name: str, samples: Iterable[tuple[Sequence[str], float]]) -> GaugeMetricFamily:
    from prometheus_client.core import GaugeMetricFamily

    metric = OF_THE_FLEET[name]
    family = GaugeMetricFamily(name, metric.meaning, labels=metric.labels)
    for labels, value in samples:
        family.add_metric(labels, float(value))
    return family
