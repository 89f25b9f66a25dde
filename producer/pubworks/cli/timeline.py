"""``pubworks timeline``."""

from __future__ import annotations

from pubworks.cli import render
from pubworks.cli.jobs import AsJson, JobId
from pubworks.cli.session import reached
from pubworks.clock import iso
from pubworks.views import documents


def timeline(job_id: JobId, as_json: AsJson = False) -> None:
    """Show what happened to a job, in order."""
    with reached() as ledger:
        whole_id = ledger.find(job_id)
        events = ledger.timeline(whole_id)
    if as_json:
        render.emit({"id": whole_id, "events": [documents.of_event(event) for event in events]})
        return
    began = events[0].at.timestamp() if events else 0.0
    rows = [
        (iso(event.at.timestamp()), f"+{render.span(event.at.timestamp() - began)}", event.text) for event in events
    ]
    render.show(render.table(("TIME", "AFTER", "WHAT"), rows))
