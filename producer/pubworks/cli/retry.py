"""``pubworks retry``."""

from __future__ import annotations

from pubworks.cli import render, story
from pubworks.cli.jobs import JobId
from pubworks.cli.session import reached
from pubworks.cli.token import Why, by_hand


def retry(job_id: JobId, why: Why = None) -> None:
    """Run what is missing of a job again.

    That is what failed, and of a cancelled job what was never run. What has a result keeps it; the completed result is
    that of an undisturbed run.
    """
    with reached() as ledger:
        whole_id = ledger.find(job_id)
        with by_hand("retry", why):
            again = ledger.retry(whole_id)
        view = ledger.view(whole_id)
    render.say(f"Job {whole_id}: {story.count(again.batches, 'batch is', 'batches are')} run again.")
    if again.held:
        runs = story.count(again.held, "batch", "batches")
        render.say(f"Whether the provider took {runs} of it is in doubt; decide: pubworks held")
    if again.batches:
        render.say(f"Watch it: pubworks watch {whole_id}" if view.num_workers else story.how_to_run(view))
