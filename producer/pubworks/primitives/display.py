"""Jobs as a notebook shows them: a table for one, a table for a list, a chart of the runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pubworks.clock import utc
from pubworks.notebook import html
from pubworks.notebook.gantt import Bar, Gantt, in_words
from pubworks.states import RunState

if TYPE_CHECKING:
    from pubworks.primitives.job import Job
    from pubworks.store.records import JobRecord

#: Most jobs of a list that are shown.
_SHOWN = 50


class Jobs(list["Job"]):
    """A list of jobs that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        rows = [_row(job, job.record()) for job in self[:_SHOWN]]
        more = f", {_SHOWN} of them shown" if len(self) > _SHOWN else ""
        title = f"{len(self)} {'job' if len(self) == 1 else 'jobs'}{more}"
        return html.table(title, ("id", "status", "batches over", "backend", "PUBs", "submitted", "name", "tags"), rows)


def _row(job: Job, record: JobRecord) -> tuple[object, ...]:
    return (
        html.code(record.id), html.state(record.state), _over(record), record.backend, record.num_pubs,
        _moment(record.created_at), record.name, ", ".join(job.tags),
    )  # fmt: skip


def sheet(job: Job) -> str:
    """Return a table of what a job is and how it stands."""
    record, progress = job.record(), job.progress()
    took = None if record.finished_at is None else in_words(record.finished_at - record.created_at)
    return html.sheet(f"Job {record.id}", [
        ("name", record.name),
        ("status", html.state(record.state)),
        ("batches", html.bar(progress.batches_done, progress.num_batches, html.COLORS[record.state])),
        ("PUBs", f"{progress.pubs_done} of {progress.num_pubs} have results"),
        ("backend", record.backend),
        ("primitive", record.primitive),
        ("tags", ", ".join(job.tags)),
        ("submitted", _moment(record.created_at)),
        ("took", took),
        ("why", job.error()),
    ])  # fmt: skip


def _over(record: JobRecord) -> html.Markup:
    """Return how many batches have ended, whichever way."""
    return html.bar(record.num_batches - record.batches_left, record.num_batches, html.COLORS[record.state])


def _moment(seconds: float) -> html.Markup:
    moment = utc(seconds)
    return html.unbroken(f"{moment.astimezone():%Y-%m-%d %H:%M:%S}", f"{moment:%Y-%m-%d %H:%M:%S} UTC")


def gantt(job: Job) -> Gantt:
    """Return a chart of a job's runs; it begins when the job was submitted."""
    return chart(job.record(), job.provider_jobs(), job._ledger.now())


def chart(record: JobRecord, runs: Sequence[dict[str, Any]], time: float) -> Gantt:
    """Return a chart of a job's runs, as ``job.provider_jobs()`` gives them, at a time of the database."""
    is_over = all(run["finished_at"] for run in runs)  # a run may go on after its job was cancelled
    until = record.finished_at if record.finished_at and is_over else time
    bars = tuple(_bar(run, record.created_at) for run in runs)
    name = f' "{record.name}"' if record.name else ""
    return Gantt(
        f"Job {record.id}{name} on {record.backend}: {record.state}", bars, max(until - record.created_at, 0.0)
    )


def _bar(run: dict[str, Any], began: float) -> Bar:
    start, accepted, end = ((at and at - began) for at in (run["claimed_at"], run["accepted_at"], run["finished_at"]))
    batch = run["batch_id"].rsplit("-", 1)[1]
    told = [f"batch {batch}, attempt {run['attempt']}: {run['state']}", run["provider_job_id"], run["error"]]
    told.append(f"after {in_words(start)}" + (f", for {in_words(end - start)}" if end else ""))
    words = "\n".join(filter(None, told))
    return Bar(f"batch {batch}", start, accepted, end, RunState(run["state"]), words, run["backend"])
