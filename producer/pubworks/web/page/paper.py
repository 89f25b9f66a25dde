"""Templates, and the words and marks in which they tell times, numbers and states. Everything is escaped."""

from __future__ import annotations

import hashlib
import json
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache, lru_cache
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from pubworks.notebook.gantt import in_words
from pubworks.states import Scope as TokenScope
from pubworks.web import door
from pubworks.web.page.draw.stages import bar, stages

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.types import Scope

_HERE = Path(__file__).parent
FILES = _HERE / "static"

#: What a time says changes by itself; the browser sees to that.
_TIMES = re.compile(r"(<time[^>]*>)[^<]*")

#: State -> the mark that stands beside its word, so that no state is told by color alone.
_MARKS = {
    "QUEUED": "wait", "PENDING": "wait", "RUNNING": "run", "CLAIMED": "claim", "SUBMITTING": "claim",
    "IN_FLIGHT": "run", "INTENT": "claim", "ACCEPTED": "run", "CANCELLING": "stop", "DONE": "done", "PARTIAL": "part",
    "FAILED": "fail", "CANCELLED": "stop", "SPLIT": "split", "LOST": "lost", "UNCERTAIN": "doubt", "HELD": "held",
    "ready": "done", "failed": "fail", "changed": "doubt", "new": "wait", "unregistered": "lost",
    "open": "fail", "closed": "done",
}  # fmt: skip


@dataclass(frozen=True)
class Part:
    """A part of a page that is painted again when it changes."""

    name: str
    html: Markup
    #: Differs when something else than the age of a time does.
    digest: str

    @property
    def frame(self) -> bytes:
        """The part as a server-sent event."""
        lines = "".join(f"data: {line}\n" for line in self.html.splitlines())
        return f"event: {self.name}\n{lines}\n".encode()


def part(template: str, name: str, context: Mapping[str, Any]) -> Part:
    """Paint one part of a page."""
    html = Markup(_environment().get_template(f"{template}/{name}.html").render(context))
    stable = _TIMES.sub(r"\1", html)
    return Part(name, html, hashlib.sha256(stable.encode()).hexdigest()[:12])


def gone(names: Sequence[str]) -> dict[str, Part]:
    """Return the parts of a page whose reader may not see any more what it was of; the first says so."""
    told = Markup('<p class="empty">This job is not shared with you any more. <a href="/jobs">All jobs</a></p>')
    return {name: Part(name, Markup("\n") if place else told, "gone") for place, name in enumerate(names)}


def whole(scope: Scope, template: str, **context: Any) -> str:
    """Paint a page."""
    return _environment().get_template(f"{template}.html").render(shell(scope) | context)


def again(scope: Scope) -> str:
    """Paint what has a browser ask once more, now from a page of this server, so that it sends its cookie."""
    return _environment().get_template("again.html").render(shell(scope))


def problem(scope: Scope, document: dict[str, Any]) -> str:
    """Paint what went wrong, and the ways back."""
    told, is_missing, _ = document["detail"].partition(" in this database")
    if is_missing and document["type"].endswith(":JobNotFound"):  # what it says further is for the command line
        why = "Its id may be mistyped, or it is another user's, who does not share it."
        document = {**document, "detail": f"{told} is here that you may see. {why}"}
    return whole(scope, "problem", problem=document, ways=_ways_back(scope["path"], document["status"]))


def _ways_back(path: str, status: int) -> dict[str, str]:
    """Return the pages to go on from one that is not there, or not for its reader, each with what it is called.

    >>> _ways_back("/backends/aer/limits", 403)
    {'/backends': 'Backends', '/': 'Overview'}
    """
    section, *rest = path.removeprefix("/").split("/")
    is_of_job = section == "jobs" and len(rest) > 1 and status != HTTPStatus.NOT_FOUND
    is_barred = status == HTTPStatus.FORBIDDEN and not rest
    name = section if section and section in door.PAGES and not is_barred else "jobs"
    job = {f"/jobs/{quote(rest[0], safe='')}": "The job"} if is_of_job else {}
    return {**job, f"/{name}": door.PAGES[name], "/": door.PAGES[""]}


def shell(scope: Scope) -> dict[str, Any]:
    """Return what stands around every page."""
    who, secret = door.state(scope).get("principal"), door.state(scope).get("login")
    theme = door.cookie(scope, door.THEME)
    query = scope["query_string"].decode("latin-1")
    return {
        "who": who,
        "may_submit": bool(who and who.may(TokenScope.SUBMIT)),
        "may_operate": bool(who and who.may(TokenScope.OPERATE)),
        "theme": theme if theme in ("light", "dark") else "auto",
        "form_token": door.form_token(secret) if secret else "",
        "here": scope["path"] + (f"?{query}" if query else ""),
        "pages": door.PAGES,
        "section": scope["path"].removeprefix("/").partition("/")[0],
    }


def static(name: str) -> str:
    """Return the URL of a file; another content is another URL."""
    return f"/static/{name}?{version(name)}"


@lru_cache(100)  # more than there are, and fewer than there are ways to ask for them
def version(name: str) -> str:
    """Return the query of a file's URL, by which browsers tell one content from another."""
    return f"v={hashlib.sha256((FILES / name).read_bytes()).hexdigest()[:10]}"


def when(at: str | None) -> Markup:
    """Return a time (ISO 8601) by its distance from now; its UTC is told to a pointer."""
    if at is None:
        return Markup('<span class="none">&ndash;</span>')
    moment = datetime.fromisoformat(at).astimezone(UTC)
    title = f"{moment:%Y-%m-%d %H:%M:%S} UTC"
    return Markup(f'<time datetime="{escape(at)}" title="{title}">{distance(moment.timestamp() - time.time())}</time>')


def distance(seconds: float) -> str:
    """Return a time from now in one unit; static/page.js says the same.

    >>> distance(-0.4), distance(-90), distance(7300), distance(-3 * 86_400)
    ('just now', '1 min ago', 'in 2 h', '3 d ago')
    """
    size = abs(seconds)
    if size < 1:
        return "just now"
    unit, words = next((u, w) for u, w in ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s")) if size >= u)
    return f"{int(size // unit)} {words} ago" if seconds < 0 else f"in {int(size // unit)} {words}"


def between(start: str | None, end: str | None) -> str:
    """Return how long it took from one time to another (ISO 8601)."""
    if start is None or end is None:
        return "\u2013"
    return took(datetime.fromisoformat(end).timestamp() - datetime.fromisoformat(start).timestamp())


def took(seconds: float | None) -> str:
    """Return a duration.

    >>> took(0.0123), took(75)
    ('0.012 s', '1 min 15 s')
    """
    return "\u2013" if seconds is None else in_words(round(seconds, 3) if seconds < 1 else round(seconds, 1))


def count(number: float | None) -> str:
    r"""Return a number with its thousands apart.

    >>> count(1234567)
    '1\u202f234\u202f567'
    """
    return "\u2013" if number is None else f"{number:,}".replace(",", "\u202f")


def clock(at: float) -> Markup:
    """Return the time of a day, in UTC, with its date."""
    moment = datetime.fromtimestamp(at, UTC)
    return Markup(f'<span title="{moment:%Y-%m-%d %H:%M:%S} UTC">{moment:%m-%d %H:%M:%S}</span>')


def plural(number: int, word: str) -> str:
    """Return a number of things.

    >>> plural(1, "batch"), plural(3, "batch"), plural(0, "PUB")
    ('1 batch', '3 batches', '0 PUBs')
    """
    ending = "" if number == 1 else "es" if word.endswith(("ch", "s")) else "s"
    return f"{count(number)} {word}{ending}"


def words_of(state: str) -> str:
    """Return a state as people read it.

    >>> words_of("IN_FLIGHT")
    'in flight'
    """
    return state.replace("_", " ").lower()


def mark(state: str) -> Markup:
    """Return the mark of a state."""
    return Markup(f'<svg class="mark" aria-hidden="true"><use href="#m-{_MARKS.get(state, "lost")}"></use></svg>')


def badge(state: str) -> Markup:
    """Return a state as a mark and its word."""
    return Markup(f'<span class="state s-{_MARKS.get(state, "lost")}">{mark(state)}{escape(words_of(state))}</span>')


def kind_of(state: str) -> str:
    """Return the kind of a state, by which it is colored."""
    return _MARKS.get(state, "lost")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(_HERE / "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True, auto_reload=False,
    )  # fmt: skip
    words = (static, when, between, took, count, plural, words_of, mark, badge, kind_of, clock, stages, bar)
    environment.globals |= {word.__name__: word for word in words}
    environment.filters["to_json"] = json.dumps  # into an attribute, where it is escaped
    return environment
