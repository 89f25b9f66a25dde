"""The ASGI app: the REST API under ``/v1``, and the page."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import TYPE_CHECKING, Annotated, Any

from anyio import to_thread
from fastapi import Depends, FastAPI, Header
from fastapi.routing import APIRoute

from pubworks.client import Client
from pubworks.metrics.fleet import FleetCollector
from pubworks.metrics.server import registry_of
from pubworks.policy import Rate
from pubworks.store.audit import LONGEST_WHY
from pubworks.telemetry import log, masked
from pubworks.views.overview import Overviews
from pubworks.views.session import Session
from pubworks.web import models, problems
from pubworks.web.buckets import Buckets
from pubworks.web.desk import Desk
from pubworks.web.feed import Feed
from pubworks.web.gate import Gate
from pubworks.web.intake import Intake
from pubworks.web.page import routes as pages
from pubworks.web.page.live import Painter
from pubworks.web.reader import Reader
from pubworks.web.requests import JobRequest
from pubworks.web.routes import (
    access,
    events,
    fleet,
    held,
    jobs,
    metrics,
    overview,
    parts,
    results,
    sessions,
    submission,
    words,
)

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

    from pubworks.settings import Settings

#: Seconds between two countings of what the overviews show of long spans.
_KEEP_S = 60.0

#: How often one address may come without a valid token.
_OF_STRANGERS = "5/s burst 50"

_SCHEMA = {problems.MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
_PROBLEMS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "What was asked cannot be done; `detail` says why and what to do.", "content": _SCHEMA},
    "5XX": {"description": "The server, its database or its broker failed.", "content": _SCHEMA},
}


def _reason(
    _why: Annotated[
        str | None,
        Header(alias="X-Reason", max_length=4 * LONGEST_WHY, description=f"Why; {LONGEST_WHY} characters are kept."),
    ] = None,
) -> None:
    """Take the reason of a change, which the gate keeps."""


def create_app(settings: Settings) -> Gate:
    """Return the app for a database and a broker, behind its gate; it opens the database, and checks the schema.

    Raises:
        ConfigError: A setting is wrong.
        StoreUnreachable: The database does not answer.
        SchemaOutOfDate: Its schema is another one.
    """
    client = Client(settings, works=False)  # opens the database, and has qiskit imported in the main thread
    session = Session(settings, client.store)
    desk = Desk(
        client, session, Intake(settings.data_dir), Reader(), Feed(client.store), Painter(), Overviews(session),
        _metrics(client),
    )  # fmt: skip
    app = FastAPI(
        title="pubworks", version=version("pubworks"), description="Durable jobs of Qiskit primitives on any backend.",
        openapi_url="/v1/openapi.json", docs_url=None, redoc_url=None, lifespan=_lifespan,
        generate_unique_id_function=_operation_id,
    )  # fmt: skip
    app.state.desk = desk
    problems.install(app)
    for router in (
        submission.router,
        jobs.router,
        results.router,
        parts.router,
        sessions.router,
        events.router,
        fleet.router,
        held.router,
        access.router,
        metrics.router,
        overview.router,
        words.router,
    ):
        app.include_router(router, responses=_PROBLEMS, dependencies=[Depends(_reason)])
    pages.install(app)
    _describe(app)
    return Gate(
        app, desk, of_tokens=Buckets(Rate.parse(settings.api_rate)),
        of_strangers=Buckets(Rate.parse(_OF_STRANGERS)), max_upload_bytes=settings.api_max_upload_bytes,
    )  # fmt: skip


def _metrics(client: Client) -> CollectorRegistry:
    return registry_of(FleetCollector(client.settings, client.store))


def _operation_id(route: APIRoute) -> str:
    return route.name


@contextlib.asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    keeping = asyncio.create_task(_keep(app.state.desk.overviews))
    yield
    keeping.cancel()
    app.state.desk.reader.close()
    app.state.desk.client.close()


async def _keep(overviews: Overviews) -> None:
    """Keep the overviews of long spans counted."""
    while True:
        try:
            await to_thread.run_sync(overviews.keep)
        except Exception as error:
            log("api.failed", error=f"overviews: {type(error).__name__}: {masked(str(error))}")
        await asyncio.sleep(_KEEP_S)


def _describe(app: FastAPI) -> None:
    """Add to the description what every answer may be."""
    describe = app.openapi

    def with_problems() -> dict[str, Any]:
        document = describe()
        schemas = document["components"]["schemas"]
        schemas["Problem"] = models.Problem.model_json_schema()
        described = JobRequest.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas |= described.pop("$defs") | {"JobRequest": described}
        return document

    app.openapi = with_problems  # type: ignore[method-assign]
