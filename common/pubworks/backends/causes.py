"""Why a call of a provider failed, and so what may be done next.

``judge`` reads classes and codes; words are matched in ``wording`` only, and only where those say nothing more. A run
that may have been accepted is UNCERTAIN whatever else its error says: it could be paid for twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from pubworks.backends.evidence.case import MAYBE_DONE, Case
from pubworks.backends.evidence.links import OUTAGE, Kind
from pubworks.backends.evidence.wording import (
    Size,
    limit_in,
    masked,
    tells_concurrency,
    tells_denied,
    tells_exists,
    tells_gone,
    tells_invalid,
    tells_limit,
)
from pubworks.errors import RateLimited, Rejected, Transient, Uncertain

#: Characters of a verdict's message.
MAX_MESSAGE = 1_000

_REMEDY = " Check the account's credentials, rights and credit."


class Cause(StrEnum):
    """Why a call failed; docs/explanation/retries.md says what pubworks does about each."""

    #: Failed, surely not running, and likely to pass: an attempt. Of a run that is known: ask again.
    TRANSIENT = "TRANSIENT"
    #: Asked to slow down; surely not accepted: a snooze.
    RATE_LIMITED = "RATE_LIMITED"
    #: Too many jobs are in flight; surely not accepted: a snooze that narrows the window.
    CONCURRENCY = "CONCURRENCY"
    #: The provider never takes this as it is: bisected, so that one bad circuit fails alone.
    REJECTED = "REJECTED"
    #: Refused for its size; surely not accepted: split, and the planner is taught.
    TOO_LARGE = "TOO_LARGE"
    #: Nobody knows whether the run was accepted; at SUBMIT only: looked up, run again where free, else held.
    UNCERTAIN = "UNCERTAIN"
    #: The job is over or gone and its result cannot be had: an attempt, with a new run.
    LOST_RESULT = "LOST_RESULT"
    #: Cannot be reached, or under maintenance; surely not accepted: a snooze.
    BACKEND_DOWN = "BACKEND_DOWN"
    #: The account is refused, whatever is sent: a snooze that opens the breaker at once and asks for a person.
    DENIED = "DENIED"

    @property
    def is_snooze(self) -> bool:
        """Whether waiting is all that it takes: it counts as no attempt."""
        return self in {Cause.RATE_LIMITED, Cause.CONCURRENCY, Cause.BACKEND_DOWN, Cause.DENIED}


class Phase(StrEnum):
    """Which call failed."""

    #: ``backend.run``.
    SUBMIT = "SUBMIT"
    #: ``job.status()`` of a run whose id is stored.
    STATUS = "STATUS"
    #: ``job.result()``, or what it returned said of itself.
    RESULT = "RESULT"
    #: The search for a run whose id is not known.
    LOOKUP = "LOOKUP"
    #: The making of the backend, for which some providers are asked; REJECTED: the configuration is wrong.
    BUILD = "BUILD"
    #: ``job.cancel()``; REJECTED means that the provider cannot, or not this job.
    CANCEL = "CANCEL"


@dataclass(frozen=True)
class Verdict:
    """What is known of a failed call.

    Attributes:
        message: One line, "Type: text", at most ``MAX_MESSAGE`` characters, secrets masked.
        retry_after: Seconds that the provider asks to wait.
        limit_of: Which size was TOO_LARGE, None where that is not known.
        limit: The maximum that the text seems to name, in circuits, shots or bytes. It is parsed from prose: believe it
            only where it is smaller than what was sent.
    """

    cause: Cause
    message: str
    retry_after: float | None = None
    limit_of: Size | None = None
    limit: int | None = None


#: A provider's own rule: a verdict, or None to leave it to the others. It must not do I/O.
Rule = Callable[[BaseException, Phase], Verdict | Cause | None]

_OWN: dict[type[BaseException], Cause] = {
    Transient: Cause.TRANSIENT,
    RateLimited: Cause.RATE_LIMITED,
    Rejected: Cause.REJECTED,
    Uncertain: Cause.UNCERTAIN,
}

#: Statuses of a run that was surely not accepted, whatever the text says; 403 speaks of the account less clearly.
_REFUSALS = {
    401: Cause.DENIED, 402: Cause.DENIED, 407: Cause.DENIED, 503: Cause.BACKEND_DOWN, OUTAGE: Cause.BACKEND_DOWN,
}  # fmt: skip

#: Statuses whose text may say more.
_REFUSALS_OTHERWISE = {
    409: Cause.TRANSIENT, 425: Cause.TRANSIENT, 429: Cause.RATE_LIMITED, 413: Cause.TOO_LARGE,
}  # fmt: skip

#: Statuses of a question that may be asked again; all others are TRANSIENT.
_WHEN_ASKING = {**_REFUSALS, 403: Cause.DENIED, 429: Cause.RATE_LIMITED}


def judge(
    error: BaseException,
    phase: Phase,
    *,
    now: Callable[[], float] = time.time,
    process_bound: bool = False,
    rules: Iterable[Rule] = (),
) -> Verdict:
    """Return why a call of a provider failed.

    Args:
        error: What was raised. A job that the provider reports as failed comes as ``ProviderError`` with its text.
        phase: Which call raised it.
        now: Seconds since the epoch; only a Retry-After that is a date needs it, in an answer without a Date.
        process_bound: Whether runs live and die with this process. Then nothing is ever UNCERTAIN.
        rules: Asked first, in order; the first that answers decides. A rule that raises has no answer.

    >>> judge(ConnectionRefusedError(111, "Connection refused"), Phase.SUBMIT).cause
    <Cause.BACKEND_DOWN: 'BACKEND_DOWN'>
    >>> judge(ConnectionResetError(104, "Connection reset by peer"), Phase.SUBMIT).cause
    <Cause.UNCERTAIN: 'UNCERTAIN'>
    """
    case = Case(error, now, process_bound)
    ruled = next((answer for rule in rules if (answer := _ask(rule, error, phase)) is not None), None)
    found = ruled if ruled is not None else _JUDGES[phase](case)
    verdict = found if isinstance(found, Verdict) else _verdict(case, found)
    if verdict.cause is Cause.UNCERTAIN and (process_bound or phase is not Phase.SUBMIT):
        return replace(verdict, cause=Cause.TRANSIENT)  # nothing can be running, or its id is known
    return verdict


def _verdict(case: Case, cause: Cause) -> Verdict:
    message = _message(case, cause)
    size = case.size or ("payload" if case.status == 413 else None)
    if cause is not Cause.TOO_LARGE or size is None:
        return Verdict(cause, message, case.retry_after)
    return Verdict(cause, message, case.retry_after, size, limit_in(case.text, size))


def _message(case: Case, cause: Cause) -> str:
    remedy = _REMEDY if cause is Cause.DENIED else ""
    return masked(case.description, MAX_MESSAGE - len(remedy)) + remedy


def _own(case: Case) -> Cause | None:
    """Return what an adapter decided by raising one of our own errors."""
    errors = [link.error for link in case.links if link.explicit]
    return next((cause for error in errors for kind, cause in _OWN.items() if isinstance(error, kind)), None)


def _at_submit(case: Case) -> Cause:
    if (own := _own(case)) is not None:
        return own
    if case.may_have_arrived and not case.process_bound:
        return Cause.UNCERTAIN
    if case.status is not None:
        return _refused_with(case.status, case)
    if case.not_sent:
        return Cause.BACKEND_DOWN
    if case.kind is Kind.LOCAL:
        return Cause.TRANSIENT
    return _by_words(case) or (Cause.REJECTED if _is_bad_program(case) else Cause.UNCERTAIN)


def _refused_with(status: int, case: Case) -> Cause:
    if status in _REFUSALS:
        return _REFUSALS[status]
    if tells_concurrency(case.text):
        return Cause.CONCURRENCY
    if status == 403:
        return Cause.DENIED if case.retry_after is None else Cause.RATE_LIMITED
    if status in MAYBE_DONE or (status == 409 and tells_exists(case.text)):
        return Cause.UNCERTAIN  # what exists already may be our own run
    return _REFUSALS_OTHERWISE.get(status) or (Cause.TOO_LARGE if case.size else Cause.REJECTED)


def _by_words(case: Case) -> Cause | None:
    if tells_denied(case.text) and not case.process_bound:
        return Cause.DENIED
    if tells_concurrency(case.text) and tells_limit(case.text):
        return Cause.CONCURRENCY
    return Cause.TOO_LARGE if case.size else None


def _is_bad_program(case: Case) -> bool:
    """Return whether bad input is known; the words of an unknown error count only where a second run costs nothing."""
    return case.kind is Kind.BAD_INPUT or (case.process_bound and tells_invalid(case.text))


def _when_asking(case: Case) -> Cause:
    """Judge a question that costs nothing to repeat."""
    if (own := _own(case)) is not None:
        return Cause.RATE_LIMITED if own is Cause.RATE_LIMITED else Cause.TRANSIENT
    if case.status is None:
        return Cause.BACKEND_DOWN if case.not_sent else Cause.TRANSIENT
    return _WHEN_ASKING.get(case.status, Cause.TRANSIENT)


def _at_build(case: Case) -> Cause:
    """Judge a backend that could not be made: only what the provider or the network did passes by itself."""
    if _own(case) is not None:
        return _when_asking(case)
    if case.status is not None:
        return _WHEN_ASKING.get(case.status, Cause.TRANSIENT if case.status in MAYBE_DONE else Cause.REJECTED)
    network = (Kind.NOT_SENT, Kind.NO_ANSWER, Kind.NETWORK)
    ours = (ValueError, PermissionError, FileNotFoundError)  # a wrong URL, key or path
    failed = any(link.kind in network and not isinstance(link.error, ours) for link in case.links)
    return _when_asking(case) if failed else Cause.REJECTED


def _at_status(case: Case) -> Cause:
    return Cause.LOST_RESULT if _own(case) is None and case.status in {404, 410} else _when_asking(case)


def _at_cancel(case: Case) -> Cause:
    if case.status is None:
        no_answer = case.not_sent or case.kind in {Kind.NO_ANSWER, Kind.NETWORK}
        return _when_asking(case) if no_answer else Cause.REJECTED
    return _WHEN_ASKING.get(case.status, Cause.TRANSIENT if case.status >= 500 else Cause.REJECTED)


def _at_result(case: Case) -> Cause:
    if (own := _own(case)) is not None:
        return own
    if case.status is not None:
        return _without_result(case.status, case)
    if case.kind in {Kind.NOT_SENT, Kind.NO_ANSWER, Kind.NETWORK, Kind.LOCAL}:
        return Cause.TRANSIENT
    if tells_gone(case.text):
        return Cause.LOST_RESULT
    if case.reports_failure or case.process_bound:
        return _of_failed_job(case)
    return Cause.DENIED if tells_denied(case.text) else Cause.TRANSIENT


def _without_result(status: int, case: Case) -> Cause:
    if status in {404, 410}:
        return Cause.LOST_RESULT
    found = _when_asking(case)
    if found is Cause.TRANSIENT and status < 500 and tells_gone(case.text):
        return Cause.LOST_RESULT
    return Cause.TRANSIENT if found is Cause.BACKEND_DOWN else found


def _of_failed_job(case: Case) -> Cause:
    if case.size:
        return Cause.TOO_LARGE
    # A simulator in this process computes in result() what it was given in run(): its bad input shows here.
    bad_input = case.process_bound and case.kind is Kind.BAD_INPUT
    return Cause.REJECTED if bad_input or tells_invalid(case.text) else Cause.TRANSIENT


def _ask(rule: Rule, error: BaseException, phase: Phase) -> Verdict | Cause | None:
    try:
        return rule(error, phase)
    except Exception:
        return None


_JUDGES: dict[Phase, Callable[[Case], Cause]] = {
    Phase.SUBMIT: _at_submit,
    Phase.STATUS: _at_status,
    Phase.RESULT: _at_result,
    Phase.LOOKUP: _when_asking,
    Phase.BUILD: _at_build,
    Phase.CANCEL: _at_cancel,
}
