"""The first page: what there is to do, and what was done of late."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query

from pubworks.views.overview import Span
from pubworks.web.page.live import Sheet
from pubworks.web.page.visit import Visit, Visiting, serve
from pubworks.web.routes import overview as api

router = APIRouter()

#: Colors of the backends of a chart, and the dashes that tell them apart without color.
_COLORS = ("--run", "--lit", "--done", "--held", "--fail", "--claim")
_DASHES = ((), (7, 3), (2, 3), (10, 3, 2, 3), (4, 4), (1, 2))


def _sheet(visit: Visiting, span: Annotated[Span, Query()] = Span.HOUR) -> Sheet:
    look = partial(_look, visit, span)
    return Sheet("overview", "Overview", look, ("counts", "charts"), ("overview", visit.sees, span))


def _look(visit: Visit, span: Span) -> dict[str, Any]:
    document = api.get_overview(visit.desk, visit.who, span)
    errors = api.list_errors(visit.desk, visit.who)["errors"]
    return {
        "seen": document,
        "sums": {name: sum(series) for name, series in document["jobs"].items()},
        "shots": sum(document["shots"]["done"]),
        "errors": len(errors),
        "spans": list(Span),
        "charts": _charts(document),
    }


def _charts(document: dict[str, Any]) -> list[dict[str, Any]]:
    jobs, runs = document["jobs"], document["runs"]
    at_once = [
        _line(name, values, _COLORS[place % len(_COLORS)], _DASHES[place % len(_DASHES)])
        for place, (name, values) in enumerate(document["in_flight"].items())
    ]
    lines = {
        "Jobs": [
            _line("submitted", jobs["submitted"], "--soft", (2, 3)),
            _line("done", jobs["done"], "--done"),
            _line("failed", jobs["failed"], "--fail", (7, 3)),
        ],
        "Runs that ended": [_line("done", runs["done"], "--run"), _line("failed", runs["failed"], "--fail", (7, 3))],
        "Shots": [_line("shots", document["shots"]["done"], "--accent")],
        "Runs in flight, by backend": at_once,
    }
    return [
        {"title": title, "table": series, "drawn": {"at": document["at"], "series": series}}
        for title, series in lines.items()
    ]


def _line(label: str, values: list[int], color: str, dash: tuple[int, ...] = ()) -> dict[str, Any]:
    return {"label": label, "values": values, "color": color, "dash": list(dash)}


serve(router, "/", _sheet)
