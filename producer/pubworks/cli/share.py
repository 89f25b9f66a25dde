"""``pubworks share``."""

from __future__ import annotations

from typing import Annotated

import typer

from pubworks.cli import render
from pubworks.cli.jobs import JobId
from pubworks.cli.session import reached
from pubworks.cli.token import Why, by_hand


def share(
    job_id: JobId, off: Annotated[bool, typer.Option("--off", help="Stop sharing it.")] = False, why: Why = None
) -> None:
    """Let every user of the server see a job.

    They see what went in and what came out, and cannot change it.
    """
    with reached() as ledger:
        whole_id = ledger.find(job_id)
        with by_hand("share", why):
            ledger.set_shared(whole_id, not off)
    if off:
        render.say(f"Job {whole_id} is not shared: its owner and operators see it.")
    else:
        again = f"Keep it to yourself again: pubworks share {whole_id} --off"
        render.say(f"Job {whole_id} is shared: every user of the server may see it. {again}")
