"""The page in a real Chromium: when something is seen first of a large job and a long list, and how late it is."""

from __future__ import annotations

import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Page, sync_playwright

from benchmarks.measure import Figure
from benchmarks.server import Served, served
from pubworks.states import Scope
from pubworks.store import jobs, tokens
from pubworks.store.records import JobDraft, Slice
from pubworks.testing.history import fill
from pubworks.testing.store.calls import Calls, draft

_PUBS, _CIRCUITS, _DONE, _FLYING = 40, 50, 1200, 300
_LOADS, _SUBMISSIONS = 9, 20

#: Chromium talks to nobody but the server.
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking")

#: The page lets nothing be evaluated later, so this waits by itself.
_FIRST_PAINT = """new Promise((done) => new PerformanceObserver((list) => {
  for (const paint of list.getEntriesByName("first-contentful-paint")) done(paint.startTime);
}).observe({type: "paint", buffered: true}))"""


def measure() -> Iterator[Figure]:
    """Yield medians and the slowest update in twenty."""
    with served() as server:
        _large_job(Calls(server.store))
        with server.store.write() as connection:
            fill(connection, 2000)
        with _visit(server) as page:
            for name, path in (("a job of 2,000 batches", "/jobs/large"), ("a list of 1,000 jobs", "/jobs?limit=1000")):
                painted = statistics.median(_first_paint(page, path) for _ in range(_LOADS))
                yield Figure(f"page: first paint of {name}, beside 1 s", painted / 1000, 1.0, "s", 1.0)
            lags = sorted(_lag(server, page, number) for number in range(_SUBMISSIONS))
            yield Figure("page: from stored to seen in a list, p95, beside 1 s", lags[-2], 1.0, "s", 1.0)


def _large_job(calls: Calls) -> None:
    slices = [[Slice(pub, first, first + 1, 0)] for pub in range(_PUBS) for first in range(_CIRCUITS)]
    calls.submit(draft("large", *slices))
    for number, claim in enumerate(calls.taken(most=_DONE + _FLYING).claims):
        calls.fly(claim, f"p{number}")
    for claim in calls.take_up(calls.looks(calls=_DONE)):
        calls.complete(claim, merge=False)


@contextmanager
def _visit(server: Served) -> Iterator[Page]:
    with server.store.write() as connection:
        token = tokens.create(connection, "olga", {Scope.OPERATE})[1]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=_FLAGS)
        page = browser.new_page(base_url=server.url)
        page.goto("/login?next=/jobs")
        page.get_by_label("Token").fill(token)
        page.keyboard.press("Enter")
        page.get_by_role("heading", name="Jobs").wait_for()
        yield page
        browser.close()


def _first_paint(page: Page, path: str) -> float:
    page.goto(path)
    return float(page.evaluate(_FIRST_PAINT))


def _lag(server: Served, page: Page, number: int) -> float:
    """Return the seconds until a job is seen that was just stored."""
    if not number:
        page.goto("/jobs")
        page.locator("#live[data-live=on]").wait_for()
    name = f"new {number}"
    with server.store.write() as connection:
        jobs.submit(connection, JobDraft(f"N{number}", name, "sampler", "basic", {}, {}, (), ()))
    began = time.perf_counter()
    page.get_by_role("link", name=name, exact=True).wait_for()
    return time.perf_counter() - began
