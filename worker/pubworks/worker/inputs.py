"""PUBs as a worker needs them: loaded and unpacked once, not again for every batch of their job."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from pubworks.codec.arrays import unpack
from pubworks.estimation.measurement import Measurement, from_bytes
from pubworks.store import jobs
from pubworks.store.records import StoredPub
from pubworks.store.store import Store

#: Bytes of arrays, and PUBs, that a process keeps of one database; those of the newest batch are kept in any case.
_KEPT_BYTES = 64 << 20
_KEPT_PUBS = 100


@dataclass(frozen=True)
class LoadedPub(StoredPub):
    """A stored PUB whose arrays are unpacked; ``parameter_values`` is left out, as ``values`` has them."""

    #: Parameter values; shape (rows, parameters). None where there are none.
    values: NDArray[np.float64] | None = None
    #: Estimator only: ``measurement``, unpacked.
    plan: Measurement | None = None

    @property
    def nbytes(self) -> int:
        """Bytes that it holds."""
        arrays = 0 if self.values is None else self.values.nbytes
        return arrays + (0 if self.plan is None else self.plan.nbytes + len(self.measurement or b""))


class PubCache:
    """The PUBs that were used last; threads may share it.

    A PUB never changes once it is stored, so nothing here is ever out of date.

    Args:
        max_bytes: Bytes that it holds at most, beside the PUBs that were asked for last.
        max_pubs: How many PUBs.
    """

    def __init__(self, max_bytes: int = _KEPT_BYTES, max_pubs: int = _KEPT_PUBS) -> None:
        self.nbytes = 0
        self._max_bytes, self._max_pubs = max_bytes, max_pubs
        self._kept: OrderedDict[tuple[str, int], LoadedPub] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, store: Store, job_id: str, positions: Sequence[int]) -> dict[int, LoadedPub]:
        """Return PUBs of a job by position; what is not here is loaded."""
        with self._lock:
            known = {position: self._kept.get((job_id, position)) for position in positions}
        found = {position: pub for position, pub in known.items() if pub is not None}
        if len(found) < len(known):
            missing = [position for position in positions if position not in found]
            with store.read() as connection:
                stored = jobs.load_pubs(connection, job_id, missing)
            found |= {position: load(pub) for position, pub in stored.items()}
        with self._lock:
            self._keep({(job_id, position): pub for position, pub in found.items()})
        return found

    def _keep(self, pubs: dict[tuple[str, int], LoadedPub]) -> None:
        for key, pub in pubs.items():
            if key not in self._kept:
                self.nbytes += pub.nbytes
            self._kept[key] = pub
            self._kept.move_to_end(key)
        while len(self._kept) > len(pubs) and (self.nbytes > self._max_bytes or len(self._kept) > self._max_pubs):
            _, oldest = self._kept.popitem(last=False)
            self.nbytes -= oldest.nbytes


def load(stored: StoredPub) -> LoadedPub:
    """Return a stored PUB with its arrays unpacked."""
    values = None if stored.parameter_values is None else unpack(stored.parameter_values)[1][0]
    plan = None if stored.measurement is None else from_bytes(stored.measurement)
    return LoadedPub(**vars(replace(stored, parameter_values=None)), values=values, plan=plan)


#: One cache for each database that this process works for: ids of jobs are unique within one only.
_CACHES: WeakKeyDictionary[Store, PubCache] = WeakKeyDictionary()


def cache_of(store: Store) -> PubCache:
    """Return the cache of a database."""
    return _CACHES.setdefault(store, PubCache())
