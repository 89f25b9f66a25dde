"""From a claimed batch to a run: of a provider that keeps it, or in this process."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from pubworks.errors import Rejected, StoreUnreachable
from pubworks.states import RunState
from pubworks.store import batches, doubts, fleet, flights, limits
from pubworks.store.records import Claim
from pubworks.telemetry import log
from pubworks.worker import trouble
from pubworks.worker.desk import LIVES_HERE, Desk
from pubworks.worker.spool import Spool
from pubworks.worker.submission import Work, prepare

if TYPE_CHECKING:
    from qiskit import QuantumCircuit


def tell_claimed(desk: Desk, claim: Claim) -> None:
    """Say that this process runs a batch now, and how long it had waited."""
    desk.note(claim.batch_id if desk.adapter.detachable else claim.batch_id + LIVES_HERE)
    log(
        "batch.claimed", batch=claim.batch_id, backend=desk.backend, worker=desk.owner, fence=claim.fence,
        waited_s=claim.waited_s,
    )  # fmt: skip


def run_here(desk: Desk, claim: Claim) -> tuple[Work, Any] | None:
    """Start a run that lives in this process. Returns it, or None where that failed."""
    began = time.monotonic()
    try:
        work = prepare(desk.store, claim)
        circuits = work.circuits(desk.adapter)
        job = desk.adapter.run(circuits, claim.shots, claim.seed, claim.run_options, memory=work.wants_memory)
    except StoreUnreachable:
        raise
    except Exception as error:
        trouble.after_call(desk, claim, error)
        return None
    seconds = time.monotonic() - began
    log("run.started", logging.DEBUG, batch=claim.batch_id, backend=desk.backend, seconds=seconds)
    return work, job


def submit(desk: Desk, spool: Spool, claim: Claim) -> bool:
    """Submit a run to a provider that keeps it, and let it go. Returns whether it is in flight.

    The intent is committed before the call, the provider's id after it; where the database is away then, the id is put
    on the disk.
    """
    try:
        work = prepare(desk.store, claim)
        if _is_known_too_large(desk, claim):
            return False
        circuits = work.circuits(desk.adapter)
    except StoreUnreachable:
        raise
    except Exception as error:  # nothing was called
        trouble.after_call(desk, claim, _not_called(error))
        return False
    began = time.monotonic()
    with desk.store.write_one() as connection:
        begun = batches.begin_call(connection, claim)
    if not begun:
        _give_back(desk, claim)
        return False
    log("run.calling", logging.DEBUG, batch=claim.batch_id, backend=desk.backend)
    if time.monotonic() - began > desk.lease_s / 2:
        _do_not_call(desk, claim)
        return False
    return _call(desk, spool, claim, work, circuits)


def _call(desk: Desk, spool: Spool, claim: Claim, work: Work, circuits: list[QuantumCircuit]) -> bool:
    """Call the provider, once the intent is committed. Returns whether the run is in flight."""
    began = time.monotonic()
    try:
        job = desk.adapter.run(
            circuits, claim.shots, claim.seed, claim.run_options, memory=work.wants_memory, tag=claim.batch_id
        )
        provider_job_id = desk.adapter.job_id(job)
        if not provider_job_id:
            raise RuntimeError("the provider gave its job no id")  # it may run, and cannot be found
    except Exception as error:
        trouble.after_call(desk, claim, error, work)
        return False
    log(
        "run.called", logging.DEBUG, batch=claim.batch_id, backend=desk.backend, provider_job_id=provider_job_id,
        seconds=time.monotonic() - began,
    )  # fmt: skip
    return _accept(desk, spool, claim, provider_job_id)


def _give_back(desk: Desk, claim: Claim) -> None:
    """Let go of a batch whose lease ended, or whose job was cancelled before the call."""
    with desk.store.write() as connection:
        batches.give_back(connection, [claim])


def _do_not_call(desk: Desk, claim: Claim) -> None:
    """Leave a call to others: this process stood still just before, perhaps for longer than its lease."""
    reason = "its worker stood still before it called the provider"
    log("run.not_called", logging.WARNING, batch=claim.batch_id, backend=desk.backend)
    with desk.store.write() as connection:
        if not batches.put_back(connection, claim, reason, 0.0, counts=False, state=RunState.LOST):
            doubts.run_again(connection, claim.batch_id, claim.fence, reason)


def _is_known_too_large(desk: Desk, claim: Claim) -> bool:
    """Halve a batch that was planned before the provider taught its limits."""
    if desk.learned:
        with desk.store.read() as connection:
            facts = fleet.get_backend(connection, desk.backend)
        desk.learned = (facts and facts.learned) or {}  # an operator may have had them forgotten
    by_shots = claim.shots > desk.learned.get("max_shots", claim.shots)
    by_circuits = claim.num_circuits > desk.learned.get("max_circuits", claim.num_circuits)
    if not by_shots and not by_circuits:
        return False
    with desk.store.write() as connection:
        batches.split(connection, claim, "larger than the provider takes", one_is_bad=False, by_shots=by_shots)
    return True


def _not_called(error: Exception) -> Exception:
    """Return an error of our own for one that came before the provider was called: it will come again."""
    rejected = Rejected(f"{type(error).__name__}: {error}")
    rejected.__cause__ = error
    return rejected


def _accept(desk: Desk, spool: Spool, claim: Claim, provider_job_id: str) -> bool:
    try:
        with desk.store.write() as connection:
            if desk.troubled:  # limits, then the job: the order in which a failure locks them
                limits.succeeded(connection, desk.backend)
            accepted = batches.accept(connection, claim, provider_job_id, flights.FIRST_LOOK_S)
            accepted = accepted or doubts.adopt(connection, claim.batch_id, claim.attempt, provider_job_id)
            if not accepted:
                doubts.keep_id(connection, claim.batch_id, claim.attempt, provider_job_id, cancelled=True)
    except Exception:  # whatever it is, the id must not be lost
        spool.keep(claim, provider_job_id)
        raise
    desk.troubled = False
    if accepted:
        log("run.accepted", batch=claim.batch_id, backend=desk.backend, provider_job_id=provider_job_id)
    else:
        _cancel(desk, claim, provider_job_id)
    return accepted


def _cancel(desk: Desk, claim: Claim, provider_job_id: str) -> None:
    """Cancel a run of a batch that another worker runs by now."""
    log("run.late", logging.ERROR, batch=claim.batch_id, backend=desk.backend, provider_job_id=provider_job_id)
    desk.adapter.more_requests += 1
    try:
        desk.adapter.cancel(provider_job_id)
    except Exception as error:
        log("cancel.failed", logging.WARNING, backend=desk.backend, provider_job_id=provider_job_id, error=error)
