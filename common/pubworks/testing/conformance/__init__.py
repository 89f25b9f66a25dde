"""Does a backend give right answers through pubworks? A verdict for whoever writes one.

::

    pytest --pubworks-backend our_provider:make_backend
    pytest --pubworks-backend our_provider:make_backend --pubworks-behaviour '{"seed": "none"}'

It runs small circuits, some twenty jobs of a few hundred shots each: use a simulator, or mind the bill.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest

_TESTS = Path(__file__).parent / "suite.py"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options that name a backend."""
    group = parser.getgroup("pubworks", "conformance of a backend")
    group.addoption("--pubworks-backend", metavar="MODULE:CALLABLE", help="test the BackendV2 that a call returns")
    group.addoption("--pubworks-behaviour", metavar="JSON", default="{}", help="`behaviour` of its settings, as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Have the suite be all that is run, where a backend is named."""
    if config.getoption("--pubworks-backend"):
        config.args[:] = [str(_TESTS)]
