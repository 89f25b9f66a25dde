"""All pages, and the files they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.staticfiles import StaticFiles

from pubworks.web.page import fleet, job, jobs, login, overview, paper, troubles

if TYPE_CHECKING:
    from fastapi import FastAPI


def install(app: FastAPI) -> None:
    """Have an app serve the pages; they are no part of the API's description."""
    for module in (login, overview, jobs, job, fleet, troubles):
        app.include_router(module.router, include_in_schema=False)
    app.mount("/static", StaticFiles(directory=paper.FILES))
