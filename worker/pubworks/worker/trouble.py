"""What follows from an error, by its cause."""

from __future__ import annotations

import logging
import random

from sqlalchemy import Connection

from pubworks.backends.causes import Cause, Phase, Verdict, judge
from pubworks.codec.circuits import encode
from pubworks.errors import Incomplete, ProviderError
from pubworks.policy import Policy
from pubworks.states import RunState
from pubworks.store import batches, cancelling, doubts, fleet, flights, limits
from pubworks.store.records import Claim, Look, Rest, Slice
from pubworks.telemetry import log, masked
from pubworks.worker.desk import Desk
from pubworks.worker.submission import Work

#: Refusals that show that a backend works.
_ANSWERS = (Cause.REJECTED, Cause.TOO_LARGE, Cause.RATE_LIMITED, Cause.CONCURRENCY)

#: Seconds after which a batch is submitted again that was refused for the number of runs in flight, at most.
_ROOM_S = 1.0


def after_call(desk: Desk, claim: Claim, error: Exception, work: Work | None = None) -> None:
    """See to a batch whose ``backend.run`` raised.

    Args:
        desk: The backend.
        claim: The batch.
        error: What was raised.
        work: What was sent, if anything was.
    """
    verdict = _judge(desk, error, Phase.SUBMIT)
    _tell(desk, claim, verdict, "run")
    with desk.store.write() as connection:
        if verdict.cause == Cause.UNCERTAIN:
            desk.asked_to_wait = True
            limits.failed(connection, desk.backend, verdict.message, desk.policy, probes=claim.probes)
            batches.doubt(connection, claim, verdict.message)
        else:
            _run_again(connection, desk, claim, verdict, work)


def after_result(desk: Desk, claim: Claim, error: Exception) -> float:
    """See to a batch whose run is over, or seems to be, and whose result raised or makes no sense.

    Returns:
        Seconds until something is to be done about it again.
    """
    verdict = _judge(desk, error, Phase.RESULT)
    _tell(desk, claim, verdict, "result")
    in_flight = claim.provider_job_id is not None
    with desk.store.write() as connection:
        if in_flight and _ask_again(verdict, error):
            _note_request(connection, desk, verdict)
            return _fetch_later(connection, desk, claim, verdict)
        if isinstance(error, Incomplete) and claim.num_circuits > 1 and claim.attempts + 1 >= desk.policy.max_attempts:
            batches.split(connection, claim, verdict.message, one_is_bad=True)  # so that the others do not fail with it
            desk.claim_in(0.0)
            return 0.0
        return _run_again(connection, desk, claim, verdict, None)


def unreadable(desk: Desk, claim: Claim, error: Exception) -> None:
    """End a batch whose result is there and cannot be understood: another run would give, and cost, the same."""
    reason = masked(f"{type(error).__name__}: {error}")
    log(
        "batch.trouble",
        logging.ERROR,
        batch=claim.batch_id,
        backend=desk.backend,
        call="read",
        cause="UNREADABLE",
        error=reason,
    )
    with desk.store.write() as connection:
        batches.fail(connection, claim, reason)


def failed_circuit(desk: Desk, claim: Claim, cell: Slice, error: ProviderError) -> Rest:
    """Return what is to be done about a circuit that failed in a run in which others did not."""
    verdict, attempts = _judge(desk, error, Phase.RESULT), claim.attempts + 1
    given_up = verdict.cause in (Cause.REJECTED, Cause.TOO_LARGE) or attempts >= desk.policy.max_attempts
    reason = verdict.message + (f" (attempt {attempts} of {desk.policy.max_attempts})" if given_up else "")
    wait = backoff(desk.policy, attempts)
    return Rest((cell,), claim.shots, reason, attempts=attempts, wait_s=wait, given_up=given_up)


def after_question(desk: Desk, error: Exception, phase: Phase) -> float:
    """See to a question about runs that raised; it is asked again. Returns seconds until then."""
    verdict = _judge(desk, error, phase)
    log(
        "backend.silent", logging.WARNING,
        backend=desk.backend, call=phase, cause=verdict.cause, error=verdict.message,
    )  # fmt: skip
    with desk.store.write() as connection:
        _note_request(connection, desk, verdict)
    return verdict.retry_after or desk.policy.backoff_s


def after_cancel(desk: Desk, look: Look, error: Exception) -> tuple[str, float | None]:
    """See to a request to cancel a run that raised.

    Returns:
        What was raised, and seconds until the provider is to be asked again; None: it does not cancel this run.
    """
    verdict = _judge(desk, error, Phase.CANCEL)
    log("cancel.failed", logging.WARNING, batch=look.batch_id, cause=verdict.cause, error=verdict.message)
    if verdict.cause == Cause.REJECTED:
        return verdict.message, None
    wait = verdict.retry_after or desk.policy.backoff_s
    with desk.store.write() as connection:
        _note_request(connection, desk, verdict)
        cancelling.not_asked(connection, look, verdict.message, wait)
    return verdict.message, wait


def is_gone(desk: Desk, error: Exception) -> bool:
    """Return whether an error says that the provider does not know a run any more."""
    return _judge(desk, error, Phase.STATUS).cause == Cause.LOST_RESULT


def _judge(desk: Desk, error: Exception, phase: Phase) -> Verdict:
    return judge(error, phase, process_bound=not desk.adapter.detachable, rules=desk.adapter.rules)


def _tell(desk: Desk, claim: Claim, verdict: Verdict, call: str) -> None:
    log(
        "batch.trouble", logging.WARNING,
        batch=claim.batch_id, backend=desk.backend, call=call, cause=verdict.cause, error=verdict.message,
    )  # fmt: skip


def _ask_again(verdict: Verdict, error: Exception) -> bool:
    """Whether the result may still be had: the provider did not answer, rather than answer that the run failed."""
    return (verdict.cause.is_snooze or verdict.cause == Cause.TRANSIENT) and type(error) not in (
        ProviderError,
        Incomplete,
    )


def _fetch_later(connection: Connection, desk: Desk, claim: Claim, verdict: Verdict) -> float:
    if claim.failing_s > desk.policy.max_total_s:
        asked = f"asked for {claim.failing_s:.0f} s for the result of the provider's job {claim.provider_job_id}"
        doubts.hold_again(connection, claim, f"{verdict.message} ({asked})")  # it is paid for: a retry must not run it
        return 0.0
    wait = verdict.retry_after or max(flights.FIRST_LOOK_S, backoff(desk.policy, claim.failing_s))
    flights.look_again(connection, claim, verdict.message, wait)
    return wait


def _run_again(connection: Connection, desk: Desk, claim: Claim, verdict: Verdict, work: Work | None) -> float:
    """Put a batch back, split it or end it. Returns seconds until it is due."""
    if desk.troubled and verdict.cause in _ANSWERS:
        limits.answers(connection, desk.backend)
    if verdict.cause.is_snooze:
        desk.asked_to_wait = True
        _note_trouble(connection, desk, verdict, probes=claim.probes)
        wait = random.uniform(0, _ROOM_S) if verdict.cause == Cause.CONCURRENCY else 0.0
        batches.put_back(connection, claim, verdict.message, wait, counts=False, state=RunState.LOST)
        desk.claim_in(wait)
        return wait
    if verdict.cause == Cause.TOO_LARGE:
        _split_for_size(connection, desk, claim, verdict, work)
    elif verdict.cause == Cause.REJECTED and claim.num_circuits > 1:
        batches.split(connection, claim, verdict.message, one_is_bad=True)
        desk.claim_in(0.0)
    elif verdict.cause == Cause.REJECTED:
        batches.fail(connection, claim, verdict.message)
    elif verdict.cause == Cause.LOST_RESULT and claim.by_hand:
        doubts.hold_again(connection, claim, f"{verdict.message} (of the provider's job {claim.provider_job_id})")
    else:
        _note_trouble(connection, desk, verdict, probes=claim.probes)
        return _try_again(connection, desk, claim, verdict)
    return 0.0


def _try_again(connection: Connection, desk: Desk, claim: Claim, verdict: Verdict) -> float:
    """Count an attempt; after the last, or too long a time, the batch fails. Returns seconds until it is due."""
    attempts, policy = claim.attempts + 1, desk.policy
    wait = backoff(policy, attempts)
    if attempts >= policy.max_attempts:
        batches.fail(connection, claim, f"{verdict.message} (attempt {attempts} of {policy.max_attempts})")
    elif claim.failing_s > policy.max_total_s:
        batches.fail(connection, claim, f"{verdict.message} (tried for {claim.failing_s:.0f} s)")
    else:
        batches.put_back(connection, claim, verdict.message, wait, counts=True)
        desk.claim_in(wait)
    return wait


def backoff(policy: Policy, attempts: float) -> float:
    """Return seconds to wait after so many failures: exponential, with full jitter.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
    """
    return random.uniform(0, min(policy.backoff_longest_s, policy.backoff_s * 2.0 ** min(attempts, 32)))


def _note_request(connection: Connection, desk: Desk, verdict: Verdict) -> None:
    """Have the fleet leave a provider alone that asks for it; whether it takes runs is told by submissions alone."""
    if verdict.cause == Cause.RATE_LIMITED or (verdict.cause.is_snooze and verdict.retry_after):
        desk.asked_to_wait = True
        limits.snooze(connection, desk.backend, verdict.message, verdict.retry_after)


def _note_trouble(connection: Connection, desk: Desk, verdict: Verdict, *, probes: bool) -> None:
    """Have the whole fleet know how the backend is."""
    match verdict.cause:
        case Cause.RATE_LIMITED:
            limits.snooze(connection, desk.backend, verdict.message, verdict.retry_after)
        case Cause.CONCURRENCY:
            limits.shrink(connection, desk.backend)
            if verdict.retry_after:
                limits.snooze(connection, desk.backend, verdict.message, verdict.retry_after)
        case Cause.BACKEND_DOWN if verdict.retry_after:
            limits.snooze(connection, desk.backend, verdict.message, verdict.retry_after)
        case Cause.DENIED | Cause.BACKEND_DOWN | Cause.TRANSIENT:
            surely = verdict.cause == Cause.DENIED
            limits.failed(connection, desk.backend, verdict.message, desk.policy, surely=surely, probes=probes)


def _split_for_size(connection: Connection, desk: Desk, claim: Claim, verdict: Verdict, work: Work | None) -> None:
    by_shots = verdict.limit_of == "shots"
    size = claim.shots if by_shots else claim.num_circuits
    learned = _lesson(claim, verdict, work)
    if learned:
        desk.learned = fleet.learn(connection, desk.backend, **learned)
        log("backend.learned", backend=desk.backend, **learned)
    if size > 1:
        batches.split(connection, claim, verdict.message, one_is_bad=False, by_shots=by_shots)
        desk.claim_in(0.0)
    else:
        batches.fail(connection, claim, verdict.message)


def _lesson(claim: Claim, verdict: Verdict, work: Work | None) -> dict[str, int]:
    """Return the limit that a refusal tells: the number that it names, or else half of what was too much."""
    if verdict.limit_of == "shots":
        name, tried = "max_shots", claim.shots
    elif verdict.limit_of == "payload" and work is not None:
        name, tried = "max_payload_bytes", _payload(work)
    else:
        name, tried = "max_circuits", claim.num_circuits
    if tried < 2:
        return {}
    return {name: verdict.limit if verdict.limit and verdict.limit < tried else tried // 2}


def _payload(work: Work) -> int:
    """Return the bytes of a batch's circuits, as planning counts them."""
    return sum(
        piece.num_circuits * encode(work.templates[work.pubs[piece.pub].circuit]).size for piece in work.claim.slices
    )
