"""The tree that is drawn in ``errors.py`` is the tree of its classes."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from pubworks import errors
from pubworks.errors import JobNotFound, JobTimeout, PubworksError, RateLimited, SubmissionError

CLASSES = {name: found for name, found in vars(errors).items() if inspect.isclass(found)}


def drawn() -> dict[str, str]:
    """Return the parent of every class in the drawing."""
    parents, above = {}, {0: "PubworksError"}
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        if found := re.match(r"^ {4}([│├└─ ]*)(\w+)", line):
            depth = len(found[1]) // 4
            above[depth] = found[2]
            if depth:
                parents[found[2]] = above[depth - 1]
    return parents


def test_the_drawing_is_the_tree() -> None:
    ours = {name: kind.__bases__[0].__name__ for name, kind in CLASSES.items() if name != "PubworksError"}
    assert drawn() == ours


@pytest.mark.parametrize("name", CLASSES)
def test_every_error_is_documented_and_survives_a_process_border(name: str) -> None:
    kind = CLASSES[name]
    assert kind.__doc__
    assert kind.__doc__.strip().splitlines()[0].endswith(".")
    error = kind("what, which, what next")
    assert str(error) == "what, which, what next"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_errors_are_also_what_callers_expect() -> None:
    assert issubclass(JobTimeout, TimeoutError)
    assert issubclass(JobNotFound, KeyError)
    assert issubclass(SubmissionError, ValueError)
    assert all(issubclass(kind, PubworksError) for kind in CLASSES.values())


def test_a_rate_limit_keeps_the_time_to_wait() -> None:
    assert RateLimited("slow down").retry_after is None
    assert RateLimited("slow down", retry_after=3.5).retry_after == 3.5
