"""What a job waits for, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pubworks.cli.render import span
from pubworks.states import AT_PROVIDER, LEASED, BatchState, JobState

if TYPE_CHECKING:
    from pubworks.store.records import Wait
    from pubworks.views.session import JobView

#: What comes when a wait of batches in a state is over.
_NEXT = {BatchState.PENDING: "next try", BatchState.UNCERTAIN: "next look-up"}


def batches_in_words(view: JobView) -> str:
    """Return how many of a job's batches are in which state."""
    progress = view.progress
    other = [f"{count} {state}" for state, count in sorted(progress.batches.items()) if state != BatchState.DONE]
    return f"{progress.batches_done} of {progress.num_batches} done" + "".join(f", {part}" for part in other)


def waits_for(view: JobView) -> str:
    """Return what a job waits for, or nothing once it has ended."""
    record, batches = view.record, view.progress.batches
    if record.state.is_final:
        return ""
    held = batches.get(BatchState.HELD, 0)
    if held and held == record.batches_left:
        return f"held: whether the provider took {count(held, 'run', 'runs')} is in doubt; decide: pubworks held"
    return _goes_on(view) if view.num_workers else _nobody(view)


def _goes_on(view: JobView) -> str:
    record = view.record
    running = sum(view.progress.batches.get(state, 0) for state in LEASED)
    if running:
        return f"{count(running, 'batch is', 'batches are')} being run"
    if record.batches_left == 0:
        return "its last results are being merged"
    if any(wait.reason for wait in view.waits):
        return f"{count(record.batches_left, 'batch waits', 'batches wait')}"
    return f"waits for its turn; {count(view.num_workers, 'worker serves', 'workers serve')} {record.backend}"


def waits(view: JobView, *, with_times: bool = True) -> list[str]:
    """Return what the batches wait for that have another reason than their turn, the next one due first.

    Args:
        view: The job.
        with_times: Whether to say in how many seconds something comes; it changes with every look.
    """
    if view.record.state.is_final:
        return []
    return [_wait(wait, with_times) for wait in view.waits if wait.reason]


def _wait(wait: Wait, with_times: bool) -> str:
    in_s = wait.due_in_s if with_times and wait.state in _NEXT else None
    due = "" if in_s is None else f"; {_NEXT[wait.state]} in {span(in_s)}"
    return f"{wait.num_batches} {wait.state}: {wait.reason}{due}"


def kept(view: JobView) -> list[str]:
    """Return what a cancelled job keeps, and what may still come."""
    lines, batches = [], view.progress.batches
    if done := view.progress.batches_done:
        was = count(done, "batch was already paid for and is", "batches were already paid for and are")
        lines.append(f"{was} kept: pubworks result {view.record.id} --partial")
    if running := sum(batches.get(state, 0) for state in AT_PROVIDER):
        runs = count(running, "run is", "runs are")
        lines.append(f"{runs} under way, and cancelled where that is possible; what comes all the same is kept.")
    return lines


def time_left(view: JobView) -> str:
    """Return when a job may have ended, or nothing where that is not known, as while no worker serves its backend."""
    left = view.progress.estimated_s_left
    if left is None or view.record.state.is_final or not view.num_workers:
        return ""
    return f"about {span(left)}, an estimate from the last runs on {view.record.backend}"


def reasons(view: JobView) -> list[str]:
    """Return the other reasons of a job's batches: those of what failed or is being run again."""
    told = {wait.reason for wait in view.waits}
    return [reason for reason in view.progress.reasons if reason not in told]


def is_stuck(view: JobView) -> bool:
    """Return whether nobody runs a job, and watching it would not help."""
    can_run_here = view.embedded and not view.record.backend.startswith("live.")
    return not view.record.state.is_final and not view.num_workers and not can_run_here


def how_to_run(view: JobView) -> str:
    """Return what to do for a job that nobody works on."""
    record = view.record
    if record.backend.startswith("live."):
        return (
            f"Its backend {record.backend} is an object of the process that submitted it: open the job there, or in "
            f"a process that passes the same object to Sampler, with client.job({record.id!r})."
        )
    start = f"pubworks worker --backend {record.backend}"
    return f"Run it: pubworks watch {record.id}, or: {start}" if view.embedded else f"Start a worker: {start}"


def _nobody(view: JobView) -> str:
    verb = "goes on" if view.record.state == JobState.RUNNING else "starts"
    return f"{verb} when a worker serves {view.record.backend}; none does now"


def count(number: int, one: str, many: str) -> str:
    """Return a number with the word that it takes."""
    return f"{number} {one if number == 1 else many}"
