"""The list of jobs."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, field_validator

from pubworks.states import JobState
from pubworks.web import door
from pubworks.web.page.live import Sheet
from pubworks.web.page.visit import Visit, Visiting, serve
from pubworks.web.routes import fleet
from pubworks.web.routes import jobs as api

router = APIRouter()


class JobFilter(BaseModel):
    """What the form of filters sends: fields that were left empty are sent too, and mean nothing."""

    model_config = ConfigDict(extra="ignore")

    status: list[JobState] = []
    backend: str | None = None
    name: str | None = None
    tag: str | None = None
    primitive: Literal["sampler", "estimator"] | None = None
    limit: int = 50
    cursor: str | None = None

    @field_validator("*", mode="before")
    @classmethod
    def _empty_is_none(cls, value: Any) -> Any:
        if isinstance(value, list):
            return [item for item in value if item]
        return value or None

    @field_validator("limit", mode="before")
    @classmethod
    def _some(cls, value: Any) -> int:
        return min(1000, max(1, int(value or 50)))

    def document(self, visit: Visit) -> dict[str, Any]:
        """Return what the API gives for the same question."""
        return api.list_jobs(
            visit.desk, visit.who, limit=self.limit, skip=0, cursor=self.cursor, backend=self.backend,
            status=self.status or None, tag=[self.tag] if self.tag else None, name=self.name,
            primitive=self.primitive, session=None, created_after=None, created_before=None, descending=True,
        )  # fmt: skip

    def query(self, **other: Any) -> str:
        """Return the query of a page with these filters, some of them others."""
        said = {**self.model_dump(mode="json", exclude_defaults=True), **other}
        return urlencode([(key, value) for key, value in said.items() if value], doseq=True)

    @property
    def is_on(self) -> bool:
        """Whether any job is left out."""
        return any((self.status, self.backend, self.name, self.tag, self.primitive))


def _sheet(visit: Visiting, asked: Annotated[JobFilter, Query()]) -> Sheet:
    return Sheet("jobs", "Jobs", partial(_look, visit, asked), ("rows",), ("jobs", visit.sees, asked.query()))


def _look(visit: Visit, asked: JobFilter) -> dict[str, Any]:
    names = [backend["name"] for backend in fleet.backends(visit.desk, visit.who)["backends"]]
    url = door.base_url(visit.request.scope)
    return {**asked.document(visit), "asked": asked, "backends": names, "states": list(JobState), "url": url}


serve(router, "/jobs", _sheet)
