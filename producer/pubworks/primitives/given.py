"""What a user gives to a primitive: its options, and PUBs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import fields
from typing import Any, TypeVar

Options = TypeVar("Options")
Pub = TypeVar("Pub")


def options_of(kind: type[Options], given: dict[str, Any] | None) -> Options:
    """Return a primitive's options.

    Raises:
        TypeError: Names the option that there is not, and those that there are.
    """
    known = [field.name for field in fields(kind)]  # type: ignore[arg-type]
    for name in given or {}:
        if name not in known:
            raise TypeError(f"There is no option {name!r}. Options: {', '.join(known)}.")
    return kind(**(given or {}))


def pubs_of(coerce: Callable[[Any, Any], Pub], given: Iterable[Any], wanted: Any) -> list[Pub]:
    """Return PUB-like objects as PUBs; an error has a note that says which of them it is about.

    Args:
        coerce: That of ``SamplerPub`` or ``EstimatorPub``.
        given: The PUB-like objects.
        wanted: Shots or precision of those that do not say.
    """
    pubs = []
    for position, pub in enumerate(given):
        try:
            pubs.append(coerce(pub, wanted))
        except Exception as error:
            error.add_note(f"This is PUB {position}, counted from 0.")
            raise
    return pubs
