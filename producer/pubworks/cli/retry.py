"""``pubworks retry``."""

from __future__ import annotations

from pubworks.cli import render, story
from pubworks.cli.jobs import JobId
from pubworks.cli.session import opened


def retry(job_id: JobId) -> None:
    """Run what is missing of a job again: what failed, and of a cancelled job what was never run.

    What has a result keeps it; the completed result is that of an undisturbed run.
    """
    from pubworks.store.retry import retry as run_missing

    with opened() as session:
        whole_id = session.find(job_id)
        with session.store.write() as connection:
            again = run_missing(connection, whole_id)
        view = session.view(whole_id)
        session.ring(view.record.backend, again.batches)
    render.say(f"Job {whole_id}: {story.count(again.batches, 'batch is', 'batches are')} run again.")
    if again.held:
        runs = story.count(again.held, "batch", "batches")
        render.say(f"Whether the provider took {runs} of it is in doubt; decide: pubworks held")
    if again.batches:
        render.say(f"Watch it: pubworks watch {whole_id}" if view.num_workers else story.how_to_run(view))
