"""The page in a real Chromium: live without a reload, under its strict policy, by keyboard, light and dark."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

from pubworks.policy import Policy
from pubworks.states import Scope
from pubworks.store import doubts, fleet, limits
from pubworks.testing.store.calls import Calls, draft, one_each

#: Chromium talks to nobody but the server.
_FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("There is no Chromium. apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_FLAGS)
        yield browser
        browser.close()


@contextmanager
def visiting(
    chromium: Browser, served: Any, owner: str, *scopes: Scope, missing: bool = False, **options: Any
) -> Iterator[Page]:
    """Give a page of somebody who has logged in; what the browser complains of fails the test.

    Where pages are ``missing``, it complains of each.
    """
    complaints: list[str] = []
    with chromium.new_context(base_url=served.url, **options) as context:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto("/login?next=/jobs")
        page.get_by_label("Token").fill(served.token(owner, *(scopes or (Scope.SUBMIT,))))
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="Jobs")).to_be_visible()
        yield page
        assert [one for one in complaints if not (missing and "the server responded with a status of 4" in one)] == []


def test_a_list_follows_what_happens_without_a_reload(chromium: Browser, served_page: Any) -> None:
    with visiting(chromium, served_page, "ann") as page:
        expect(page.get_by_role("status")).to_have_text("live")
        page.evaluate("window.unchanged = true")
        served_page.job(owner="ann", name="the new one")
        expect(page.get_by_role("link", name="the new one")).to_be_visible()
        page.get_by_role("link", name="the new one").focus()
        served_page.job(owner="ann", name="another one")
        expect(page.get_by_role("link", name="another one")).to_be_visible()
        expect(page.get_by_role("link", name="the new one")).to_be_focused()
        assert page.evaluate("window.unchanged")


def test_a_job_is_looked_at_and_tagged_by_keyboard(chromium: Browser, served_page: Any) -> None:
    job = served_page.job(owner="ben", name="mine")
    with visiting(chromium, served_page, "ben") as page:
        page.keyboard.press("Tab")
        expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
        page.keyboard.press("/")
        expect(page.get_by_label("Name")).to_be_focused()
        page.keyboard.type("mine")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="mine").press("Enter")
        expect(page.get_by_role("heading", level=1)).to_have_text("mine")
        page.get_by_role("link", name="Tags").press("Enter")
        page.get_by_label("Tags").fill("x, y")
        page.get_by_label("Why").fill("to try it")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**/jobs/{job}")
        expect(page.get_by_role("link", name="y", exact=True)).to_be_visible()


def test_colors_are_chosen_and_stay(chromium: Browser, served_page: Any) -> None:
    with visiting(chromium, served_page, "carl", color_scheme="dark") as page:
        paper = "getComputedStyle(document.body).backgroundColor"
        dark = page.evaluate(paper)
        page.get_by_role("button", name="light").click()
        expect(page.get_by_role("button", name="light")).to_have_attribute("aria-pressed", "true")
        light = page.evaluate(paper)
        assert light != dark
        page.goto("/jobs?status=DONE")
        assert page.evaluate(paper) == light


def test_paper_is_white_and_has_nothing_to_press(chromium: Browser, served_page: Any) -> None:
    job = served_page.job(owner="ida", name="on paper")
    with visiting(chromium, served_page, "ida") as page:
        page.get_by_role("button", name="dark").click()
        page.goto(f"/jobs/{job}")
        page.emulate_media(media="print")
        colors = "['color', 'backgroundColor'].map((name) => getComputedStyle(document.body)[name])"
        assert page.evaluate(colors) == ["rgb(27, 37, 40)", "rgb(255, 255, 255)"]
        expect(page.get_by_role("heading", name="on paper")).to_be_visible()
        for away in (page.get_by_role("navigation", name="Pages"), page.get_by_role("link", name="Tags")):
            expect(away).to_be_hidden()


def test_times_are_told_by_their_age_and_lines_can_be_copied(chromium: Browser, served_page: Any) -> None:
    job = served_page.job(owner="dora")
    with visiting(chromium, served_page, "dora", permissions=["clipboard-read", "clipboard-write"]) as page:
        page.goto(f"/jobs/{job}")
        time = page.locator("time").first
        assert time.get_attribute("title").endswith(" UTC")  # type: ignore[union-attr]
        page.get_by_role("button", name="Copy").first.click()
        expect(page.get_by_role("button", name="Copied")).to_be_visible()
        lines = page.evaluate("navigator.clipboard.readText()")
        assert f'Client("{served_page.url}").job("{job}")' in lines
    environment = {**os.environ, "PUBWORKS_TOKEN": served_page.token("dora", Scope.READ)}
    script = [sys.executable, "-c", f"{lines}; print(len(result))"]
    assert subprocess.run(script, env=environment, capture_output=True, check=True).stdout == b"0\n"


def test_a_page_needs_no_script(chromium: Browser, served_page: Any) -> None:
    job = served_page.job(owner="emma", name="plain")
    with visiting(chromium, served_page, "emma", java_script_enabled=False) as page:
        page.get_by_role("link", name="plain").click()
        page.wait_for_url(f"**/jobs/{job}")
        page.get_by_role("link", name="Tags").click()
        page.get_by_label("Tags").fill("z")
        page.get_by_role("button", name="Set the tags").click()
        expect(page.get_by_role("link", name="z", exact=True)).to_be_visible()


@pytest.mark.parametrize("width", [360, 800, 1024])
def test_a_narrow_page_is_read_from_top_to_bottom(chromium: Browser, served_page: Any, width: int) -> None:
    paths = _filled(served_page)
    viewport = {"width": width, "height": 800}
    with visiting(chromium, served_page, "olga", Scope.OPERATE, viewport=viewport) as page:
        for path in paths:
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") == width, path
        page.goto("/held")
        expect(page.get_by_role("link", name="Held", exact=True)).to_be_in_viewport(ratio=1)
        for path in ("/jobs", "/workers", "/errors", "/held"):
            page.goto(path)
            assert page.evaluate("Math.max(0, ...[...document.querySelectorAll('.wide')].map("
                                 "(one) => one.scrollWidth - one.clientWidth))") == 0, path  # fmt: skip


def test_what_is_painted_again_stays_as_it_was_left(chromium: Browser, served_page: Any) -> None:
    calls = Calls(served_page.client.store, "scrolled")
    job = replace(draft(served_page.client.new_id(), *one_each(3), backend="scrolled"), owner="gus")
    calls.submit(job)
    with visiting(chromium, served_page, "gus", viewport={"width": 390, "height": 800}) as page:
        page.goto(f"/jobs/{job.id}")
        expect(page.get_by_role("status")).to_have_text("live")
        table = page.get_by_role("region", name="Batches", exact=True)
        # In one step: what a locator found may be painted again before it is touched.
        wide = "document.querySelector('#batches .wide')"
        page.evaluate(f"() => {{ const one = {wide}; one.focus(); one.scrollLeft = 150; one.unpainted = true }}")
        calls.fail(calls.take(), "QpuError: no")
        expect(page.locator("#batches .more")).to_contain_text("QpuError: no")
        assert page.evaluate(f"[{wide}.scrollLeft, {wide}.unpainted]") == [150, None]
        expect(table).to_be_focused()
        page.get_by_label("PUB", exact=True).fill("2")
        calls.cancel(job.id)
        expect(page.locator("#results")).to_contain_text("PUB 0 has no result: QpuError")
        expect(page.get_by_label("PUB", exact=True)).to_have_value("2")
        page.get_by_role("button", name="Show").click()
        page.wait_for_url(f"**/jobs/{job.id}?pub=2#results")


def test_a_chart_outlives_what_is_painted_around_it(chromium: Browser, served_page: Any) -> None:
    with visiting(chromium, served_page, "hal") as page:
        page.goto("/?span=10min")
        expect(page.get_by_role("status")).to_have_text("live")
        page.locator("#chart-1 .uplot").evaluate("(one) => { one.same = true }")
        page.locator("#chart-1").evaluate("(one) => { one.same = true }")
        served_page.job(owner="hal")
        expect(page.locator(".sums")).to_contain_text("1 job submitted")
        expect(page.locator("#chart-1 .u-series").nth(1)).to_contain_text("submitted")
        same = "document.querySelector('#chart-1').same || document.querySelector('#chart-1 .uplot').same"
        assert page.evaluate(same)
        assert page.locator("#chart-1 .uplot").count() == 1


def test_what_somebody_reads_is_not_taken_away(chromium: Browser, served_page: Any) -> None:
    calls = Calls(served_page.client.store, "read")
    job = replace(draft(served_page.client.new_id(), *one_each(2), backend="read"), owner="fay", name="read me")
    calls.submit(job)
    with visiting(chromium, served_page, "fay") as page:
        page.goto(f"/jobs/{job.id}")
        expect(page.get_by_role("status")).to_have_text("live")
        page.evaluate("getSelection().selectAllChildren(document.querySelector('#head .plate code'))")
        calls.fail(calls.take(), "QpuError: no")
        expect(page.locator("#flow .s-fail .number")).to_have_text("1")
        assert page.evaluate("getSelection().toString()") == job.id
        expect(page.locator("#head .error")).to_have_count(0)
        page.evaluate("getSelection().removeAllRanges()")
        expect(page.locator("#head .error")).to_contain_text("QpuError: no")
        page.goto("/")
        page.locator("#o-1 summary").click()
        calls.fail(calls.take(), "QpuError: no")
        expect(page.locator("#c-errors strong")).to_have_text("1")
        expect(page.locator("#o-1 table")).to_be_visible()


def test_a_job_that_is_shared_appears_to_others_and_goes_when_it_is_not(chromium: Browser, served_page: Any) -> None:
    job = served_page.job(owner="gus", name="for the group")
    with visiting(chromium, served_page, "gus") as mine, visiting(chromium, served_page, "hal") as page:
        expect(page.get_by_role("status")).to_have_text("live")
        mine.goto(f"/jobs/{job}")
        mine.get_by_role("link", name="Share").click()
        mine.get_by_label("Why").fill("look at this")
        mine.get_by_role("button", name="Share it").click()
        page.get_by_role("link", name="for the group").click()
        expect(page.get_by_role("status")).to_have_text("live")
        expect(page.get_by_role("link", name="Share")).to_have_count(0)
        mine.get_by_role("link", name="Stop sharing").click()
        mine.get_by_role("button", name="Stop sharing").click()
        expect(page.locator("#head")).to_contain_text("is not shared with you any more")
        expect(page.locator("#events")).to_be_empty()
        mine.get_by_role("link", name="Share").click()
        mine.get_by_role("button", name="Share it").click()
        expect(page.locator("#head")).to_contain_text("for the group")
        expect(page.locator("#events")).to_contain_text("shared with all users")


def _filled(served: Any) -> list[str]:
    """Store jobs in many states; returns the paths of all pages."""
    calls = Calls(served.client.store, "basic")
    job = replace(draft(served.client.new_id(), *one_each(6), backend="basic"), owner="olga", name="mixed")
    calls.submit(job)
    with served.client.store.write() as connection:
        fleet.sign_in(connection, {"id": "w", "host": "lab", "pid": 1, "backends": ["basic"], "concurrency": 2})
    calls.complete(calls.take(), merge=False)
    calls.fail(calls.take(), "QpuError: no")
    calls.fly(calls.take())
    doubtful = calls.take()
    calls.begin_call(doubtful)
    calls.doubt(doubtful)
    calls.do(doubts.hold, doubtful.batch_id, doubtful.fence, "perhaps it took it")
    calls.take("w/1")
    pages = ["/", "/jobs", f"/jobs/{job.id}", "/backends", "/workers", "/errors", "/held"]
    acts = ["cancel", "tags", "shared"]
    calls.do(limits.failed, "aer", "502 bad gateway", Policy(), surely=True)
    calls.do(limits.snooze, "aer", "503 back in an hour", 3600.0)
    forms = ["/backends/basic/limits", "/backends/aer/resume", "/workers/w/drain", f"/held/{doubtful.batch_id}"]
    return [*pages, *(f"/jobs/{job.id}/{act}" for act in acts), *forms]


@pytest.mark.parametrize(("scheme", "rules"), [("light", ()), ("dark", ("color-contrast",))])
def test_axe_finds_nothing_that_hinders_people(
    chromium: Browser, served_page: Any, scheme: Any, rules: tuple[str, ...]
) -> None:
    paths = _filled(served_page)
    with visiting(chromium, served_page, "olga", Scope.OPERATE, color_scheme=scheme, bypass_csp=True) as page:
        found = {}
        for path in paths[:: 2 if rules else 1]:
            page.goto(path)
            found[path] = _hindrances(page, rules)
        page.get_by_role("button", name="Log out").click()
        expect(page.get_by_label("Token")).to_be_visible()
        found["/login"] = _hindrances(page, rules)
    assert {path: problems for path, problems in found.items() if problems} == {}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_that_is_not_there_hinders_nobody_and_leads_back(
    chromium: Browser, served_page: Any, scheme: Any
) -> None:
    job = served_page.job(owner="ben", shared=True)
    with visiting(chromium, served_page, "ann", Scope.READ, missing=True, color_scheme=scheme, bypass_csp=True) as page:
        for path, title in (
            ("/jbos", "No such page"),
            ("/jobs/01NO", "No such job"),
            (f"/jobs/{job}/tags", "Not allowed"),
        ):
            page.goto(path)
            expect(page.get_by_role("heading", level=1)).to_have_text(title)
            assert _hindrances(page, ()) == []
        page.get_by_role("link", name="The job").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("sampler")


def _hindrances(page: Page, rules: tuple[str, ...]) -> list[str]:
    options: dict[str, Any] = {"runOnly": rules} if rules else {}
    report = Axe().run(page, options=options).response["violations"]
    return [
        f"{one['impact']} {one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}"
        for one in report
    ]
