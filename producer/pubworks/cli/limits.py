"""``pubworks backends limits``: how much of a backend the fleet may use, and how that stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from pubworks.cli import complete, render
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import reached
from pubworks.cli.token import Why, by_hand
from pubworks.views.limits import Limits, document

if TYPE_CHECKING:
    from pubworks.policy import Quota, Rate
    from pubworks.store.standing import Standing

Name = Annotated[str, typer.Argument(metavar="NAME", help="The backend's name.", autocompletion=complete.backends)]

#: The word that lifts a limit.
_NONE = "none"


def limits(
    name: Name,
    *,
    submit: Annotated[
        str | None, typer.Option(metavar="RATE", help="Submissions, such as 5/min or '20/s burst 4', or none.")
    ] = None,
    requests: Annotated[str | None, typer.Option(metavar="RATE", help="Calls of any kind, or none.")] = None,
    in_flight: Annotated[str | None, typer.Option(metavar="N", help="Most provider jobs at once, or none.")] = None,
    why: Why = None,
    as_json: AsJson = False,
) -> None:
    """Show or set how much of a backend the fleet may use.

    It shows how the limits stand; with options, it changes them at once.
    What is changed here holds for the whole fleet, until the limits in pubworks.toml change.
    """
    changes: dict[str, Any] = {}
    for key, text in (("submit", submit), ("requests", requests)):
        changes |= {} if text is None else {key: _rate(f"--{key}", text)}
    changes |= {} if in_flight is None else {"in_flight": _number("--in-flight", in_flight)}
    with reached() as ledger:
        found = ledger.limits(name)
        if changes:
            with by_hand(f"backends limits {name}", why):
                ledger.set_limits(name, changes)
            found = ledger.limits(name)
    if as_json:
        render.emit(document(name, found))
        return
    render.show(render.fields([("backend", name), *fields(found)]))
    _explain(found)


def _rate(option: str, text: str) -> Rate | None:
    from pubworks.errors import ConfigError
    from pubworks.policy import Rate

    if text == _NONE:
        return None
    try:
        return Rate.parse(text)
    except ValueError as error:
        raise ConfigError(f"{option}: {error}, or none.") from None


def _number(option: str, text: str) -> int | None:
    from pubworks.errors import ConfigError

    if text == _NONE:
        return None
    if not text.isdecimal() or not 0 < int(text) < 2**31:
        raise ConfigError(f"{option}: {text!r} is not a number of jobs. Write a whole number from 1 on, or none.")
    return int(text)


def fields(found: Limits) -> list[tuple[str, Any]]:
    """Return the limits of a backend as names and words."""
    quota, stands = found.quota, found.standing
    submissions, requests = (stands.submissions_left, stands.requests_left) if stands else (None, None)
    return [
        ("submissions", _left(quota.submit, submissions)),
        ("requests", _left(quota.requests, requests)),
        ("in flight", _in_flight(quota, stands)),
        ("window", stands and stands.window and f"{stands.window} at once are what the provider seems to bear"),
        ("snoozed", stands and _snoozed(stands)),
        ("breaker", stands and breaker(stands)),
    ]


def _left(rate: Rate | None, left: int | None) -> str:
    if rate is None:
        return "no limit"
    return str(rate) if left is None else f"{rate}, {left} left now"


def _in_flight(quota: Quota, stands: Standing | None) -> str:
    flying = stands.in_flight if stands else 0
    return f"{flying}, no limit" if quota.in_flight is None else f"{flying} of {quota.in_flight}"


def _snoozed(stands: Standing) -> str | None:
    if stands.snoozed_until is None:
        return None
    return (
        f"for {render.span(stands.snoozed_until - stands.now)}, the provider asked to slow down: {stands.snooze_reason}"
    )


def breaker(stands: Standing) -> str | None:
    """Return how the breaker of a backend stands, or nothing where nothing failed."""
    if stands.probe_at is None:
        return (
            f"closed; failures in a row: {stands.failures}, last: {stands.failure_reason}" if stands.failures else None
        )
    wait = stands.probe_at - stands.now
    probe = f"one run may try in {render.span(wait)}" if wait > 0 else "one run may try now"
    return f"open after {stands.failures} failures, last: {stands.failure_reason}; {probe}"


def _explain(found: Limits) -> None:
    """Say where the limits are from, where that is not as it seems."""
    if found.quota == found.configured:
        return
    said = found.configured.model_dump(mode="json", exclude_none=True)
    words = ", ".join(f"{name} = {value}" for name, value in said.items()) or "none"
    render.say(f"The limits in the settings here are others ({words}). Those above hold until the settings change.")
