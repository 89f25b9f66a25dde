"""What a notebook shows: static, escaped, readable in light and dark."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit

from pubworks.client import Client, Job, Sampler
from pubworks.notebook import gantt, html
from pubworks.notebook.gantt import Bar, Gantt
from pubworks.settings import load_settings
from pubworks.states import JobState, RunState

SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = "<script>alert(1)</script>\"'&amp;\x00\x1b[2J\n{x}"


@pytest.fixture(scope="module")
def idle() -> Iterator[Client]:
    """A client whose jobs are stored, and never run."""
    with Client(load_settings(url="local"), works=False) as client:
        yield client


def submitted(client: Client, **labels: object) -> Job:
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    return Sampler("basic", client=client).run([circuit], **labels)  # type: ignore[arg-type]


def tags_of(page: str) -> set[str]:
    return set(re.findall(r"<(\w+)", page))


def test_names_of_others_are_shown_and_not_obeyed(idle: Client) -> None:
    job = submitted(idle, name=HOSTILE.replace("\x00", ""), tags=["<b>bold</b>"])
    shown = [job._repr_html_(), idle.jobs()._repr_html_(), job.draw()._repr_html_(), job.draw()._repr_svg_()]
    for page in shown:
        assert "alert(1)" in page
        assert "\x1b" not in page
        assert not {"script", "b"} & tags_of(page)
        assert "on" not in re.findall(r"\s(on)\w+=", page)
    assert "&lt;b&gt;bold" in shown[0]
    assert "&lt;b&gt;bold" in shown[1]


def test_a_job_shows_itself(idle: Client) -> None:
    job = submitted(idle, name="scan\nof\x1b two")
    assert repr(job) == f'<Job {job.job_id()} "scan?of? two" QUEUED 0/1 batches on basic>'
    page = job._repr_html_()
    for words in (job.job_id(), "QUEUED", "0/1", "basic", "0 of 1 have results"):
        assert words in page
    assert "took" not in page
    job.cancel()
    assert "0/1" in job._repr_html_(), "a batch that was cancelled is not done"


def test_a_list_of_jobs_is_a_list_that_shows_itself() -> None:
    with Client(load_settings(url="local"), works=False) as client:
        assert client.jobs() == []
        assert "0 jobs" in client.jobs()._repr_html_()
        made = [submitted(client) for _ in range(52)]
        listed = client.jobs(limit=None)
        assert isinstance(listed, list)
        assert listed == made[::-1]
        page = listed._repr_html_()
        assert "52 jobs, 50 of them shown" in page
        assert made[2].job_id() in page
        assert made[1].job_id() not in page


@pytest.mark.parametrize("state", JobState)
def test_a_state_is_told_by_its_word(state: JobState) -> None:
    assert state in html.state(state)
    assert html.COLORS[state] in html.state(state)


times = st.floats(0, 1e6)
bars = st.builds(
    Bar,
    row=st.integers(0, 60).map("batch {}".format),
    start=times,
    accepted=st.none(),
    end=st.none(),
    state=st.sampled_from(RunState),
    told=st.text(max_size=20),
).flatmap(
    lambda bar: st.builds(
        lambda wait, run: Bar(
            bar.row, bar.start, None if wait is None else bar.start + wait,
            None if run is None else bar.start + (wait or 0) + run, bar.state, bar.told,
        ),
        st.none() | times, st.none() | times,
    )
)  # fmt: skip


@given(st.lists(bars, max_size=80), times, st.text(max_size=20))
def test_a_chart_is_sound_whatever_it_shows(shown: list[Bar], now: float, title: str) -> None:
    chart = Gantt(title, tuple(shown), now)
    root = ET.fromstring(chart._repr_svg_())
    groups = root.findall(f"{SVG}g")
    assert len(groups) == len(shown)
    _, _, width, height = map(float, root.attrib["viewBox"].split())
    for group in groups:
        for box in group.findall(f"{SVG}rect"):
            left, top = float(box.attrib["x"]), float(box.attrib["y"])
            assert left >= 0
            assert left + float(box.attrib["width"]) <= width
            assert top >= 0
            assert top + float(box.attrib["height"]) <= height


@given(st.lists(bars, max_size=80))
def test_packed_bars_do_not_overlap(shown: list[Bar]) -> None:
    """More names than rows: bars share rows."""
    now = max((bar.end or bar.start for bar in shown), default=0.0)
    named = {bar.row for bar in shown}
    rows = gantt._rows(shown, now)
    assert sorted((bar.start for _, row in rows for bar in row)) == sorted(bar.start for bar in shown)
    if len(named) <= gantt._NAMED_ROWS:
        assert {name for name, _ in rows} == named
        return
    for _, row in rows:
        for one, two in zip(row, row[1:], strict=False):
            assert (now if one.end is None else one.end) <= two.start


def test_too_many_bars_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gantt, "_BARS", 3)
    chart = Gantt("t", tuple(Bar(f"{n}", n, None, n + 1.0, RunState.DONE, "") for n in range(5)), 6.0)
    assert "the first 3 of 5 runs" in chart._repr_svg_()


def test_a_chart_of_a_job_tells_of_each_run(tmp_path: Path) -> None:
    circuit = QuantumCircuit(1)
    circuit.measure_all()
    with Client.local() as client:
        job = Sampler("basic", client=client).run([circuit, (circuit, None, 5)], name="two")
        job.result(timeout=60)
        chart = job.draw()
        assert repr(chart) == "<Gantt of 2 runs>"
        assert chart.title == f'Job {job.job_id()} "two" on basic: DONE'
        assert [bar.told.splitlines()[0] for bar in chart.bars] == [
            f"batch {number}, attempt 1: DONE" for number in range(2)
        ]
        assert all(0 <= bar.start <= bar.end <= chart.now + 1e-6 for bar in chart.bars if bar.end is not None)
        assert "took" in job._repr_html_()
        saved = chart.save(tmp_path / "runs.svg")
    assert ET.parse(saved).getroot().tag == f"{SVG}svg"
    assert "prefers-color-scheme:dark" in saved.read_text()
    assert "prefers-color-scheme" not in chart._repr_html_()
