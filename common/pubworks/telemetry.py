"""One vocabulary for the log: every line of pubworks carries its action and the ids that it is about.

:data:`ACTIONS` is the vocabulary, and docs/metrics.md shows it. Metrics listen to the same actions
(``pubworks.metrics``), so that a log and a board never tell two stories.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any, NamedTuple

#: Called with each action and its fields.
Listener = Callable[[str, dict[str, Any]], None]


class Action(NamedTuple):
    """What a line of the log means."""

    meaning: str
    #: Its fields; some are there only where they make sense.
    fields: tuple[str, ...]


ACTIONS = {
    "api.answered": Action(
        "a request was answered, or 499, its sender left; a stream of events has no `seconds`",
        ("method", "path", "status", "who", "seconds"),
    ),
    "api.failed": Action("the server could not do what it should", ("error",)),
    "job.submitted": Action("a job was stored", ("job", "batches")),
    "job.merged": Action("PUBs of a job were merged", ("job", "backend", "pubs", "seconds")),
    "batch.claimed": Action(
        "a worker took a batch; `waited_s` after its job was submitted, if it is the first to take it",
        ("batch", "backend", "worker", "fence", "waited_s"),
    ),
    "batch.done": Action(
        "its result is stored, `seconds` after its run was over or was seen to be",
        ("batch", "backend", "circuits", "shots", "seconds"),
    ),
    "batch.left": Action(
        "circuits failed in a run, or shots did not come: they are a batch of their own", ("batch", "backend", "reason")
    ),
    "batch.trouble": Action(
        "a call for a batch failed: `run`, `result` or `read`", ("batch", "backend", "call", "cause", "error")
    ),
    "batch.released": Action("leases of silent workers ended", ("reason", "count")),
    "run.started": Action(
        "a run began in this process, `seconds` after its batch was taken", ("batch", "backend", "seconds")
    ),
    "run.calling": Action("`backend.run` is about to be called", ("batch", "backend")),
    "run.called": Action("`backend.run` returned after `seconds`", ("batch", "backend", "provider_job_id", "seconds")),
    "run.not_called": Action("a worker stood still just before the call, and left it to others", ("batch", "backend")),
    "run.accepted": Action("the provider's id of a run is stored", ("batch", "backend", "provider_job_id")),
    "run.over": Action(
        "a run ended, `seconds` after the provider took it or this process began it",
        ("batch", "backend", "status", "seconds"),
    ),
    "run.fetching": Action("a result is being fetched", ("batch", "backend")),
    "run.fetched": Action("a result came, and makes sense", ("batch", "backend")),
    "run.looked_up": Action("a run in doubt was looked up by its tag", ("batch", "backend", "found")),
    "run.adopted": Action("a run in doubt was found at the provider", ("batch", "backend", "provider_job_id")),
    "run.asked_to_cancel": Action(
        "the provider was asked to cancel a run; `refusal` says why it did not", ("batch", "provider_job_id", "refusal")
    ),
    "run.late": Action(
        "the provider took a run of a batch that another worker runs by now; it is cancelled",
        ("batch", "backend", "provider_job_id"),
    ),
    "run.twice": Action(
        "the provider has two runs of one batch; this one is cancelled", ("batch", "backend", "provider_job_id")
    ),
    "cancel.failed": Action("a run could not be cancelled", ("batch", "backend", "provider_job_id", "cause", "error")),
    "backend.learned": Action(
        "a refusal taught a limit", ("backend", "max_circuits", "max_shots", "max_payload_bytes")
    ),
    "backend.silent": Action("a question about runs was not answered", ("backend", "call", "cause", "error")),
    "backend.unbuildable": Action("a backend cannot be built", ("backend", "error")),
    "backend.waits": Action("a limit allows no more for `seconds`", ("backend", "seconds", "why")),
    "keeper.error": Action("the keeper, or a ring, was kept from its work", ("error",)),
    "keeper.rang": Action("batches were due that nobody had rung for", ("backend", "count")),
    "spool.kept": Action(
        "the database was away, and a provider's id went to the disk", ("batch", "backend", "provider_job_id")
    ),
    "spool.replayed": Action("such an id is in the database", ("batch", "provider_job_id", "adopted")),
    "spool.unreadable": Action("a file of the spool makes no sense; it was put aside", ("path", "error")),
    "store.away": Action("the database does not answer", ("error",)),
    "worker.child_died": Action(
        "a process of a worker died, with the batch that it ran, of the likely cause; what it held was taken back",
        ("owner", "batch", "cause"),
    ),
    "worker.drains": Action("a worker was asked to end; it takes nothing more", ("worker",)),
    "worker.grace_over": Action(
        "a stopping worker had no more time; what it ran was handed back", ("worker", "seconds")
    ),
}  # fmt: skip

_log = logging.getLogger("pubworks")
_listeners: list[Listener] = []

#: Whoever reaches the server chooses the paths in its log: each of these takes time that grows as the text does.
_WORD = re.compile(r"\S+")
_BEFORE_PASSWORD = re.compile(r"\w://[^\s:/@]*:")
_TOKEN = re.compile(r"(\bpw_[0-9a-f]{12}_)[\w-]+")
_SECRET_NAME = "(?:password|passwd|secret|token|key)"
_SECRET_IN_QUERY = re.compile(rf"([?&](?:(?!{_SECRET_NAME})[^=&?\s])*{_SECRET_NAME}[^=&?\s]*=)[^&\s]+", re.IGNORECASE)

#: Characters of the shortest value that is hidden wherever it stands.
_SHORTEST_SECRET = 6


def log(action: str, level: int = logging.INFO, **fields: Any) -> None:
    """Write one log line with its action and ids, as text and as structured fields; None is left out."""
    fields = {key: value for key, value in fields.items() if value is not None}
    for listener in _listeners:
        listener(action, fields)
    if _log.isEnabledFor(level):
        text = " ".join(f"{key}={_shown(value)}" for key, value in fields.items())
        _log.log(level, "%s %s", action, text, extra={"action": action, "fields": fields})


def listen(listener: Listener) -> None:
    """Have every action told to ``listener`` too, whatever is written to the log; children of this process inherit it.

    It is called in the thread of the action: it must be quick and never raise.
    """
    _listeners.append(listener)


def masked(text: str) -> str:
    """Return a text with the secrets of the URLs in it, the server's tokens, and the values of this process hidden.

    >>> masked("redis://:s3cret@queue.lab:6379/0")
    'redis://:***@queue.lab:6379/0'
    """
    text = _WORD.sub(_without_password, text)
    text = _TOKEN.sub(r"\1***", _SECRET_IN_QUERY.sub(r"\1***", text))
    return _of_this_process.hide(text)


def _without_password(word: re.Match[str]) -> str:
    text, end = word[0], word[0].rfind("@")
    before = _BEFORE_PASSWORD.search(text, 0, max(0, end))
    return f"{text[: before.end()]}***{text[end:]}" if before else text


class Values:
    """Values that are hidden wherever they stand.

    Args:
        values: The values; the very short ones are no secrets.
    """

    def __init__(self, values: Iterable[str] = ()) -> None:
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None
        self.add(values)

    def add(self, values: Iterable[str]) -> None:
        """Hide these too."""
        new = {value for value in values if len(value) >= _SHORTEST_SECRET} - self._values
        if new:
            self._values |= new
            self._pattern = re.compile("|".join(map(re.escape, sorted(self._values, key=len, reverse=True))))

    def hide(self, text: str) -> str:
        """Return a text without them."""
        return self._pattern.sub("***", text) if self._pattern else text


_of_this_process = Values()

#: Have values, such as what a backend is built with, hidden in every text that this process shows, stores or logs.
keep_secret = _of_this_process.add


class Veil:
    """Hides secrets in texts: those in URLs, and values that are known.

    Args:
        secrets: The values.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        self._known = Values(secrets)

    def hide(self, text: str) -> str:
        """Return a text without them."""
        return self._known.hide(masked(text))


class TextLines(logging.Formatter):
    """Writes lines as another formatter does, without secrets."""

    def __init__(self, formatter: logging.Formatter, veil: Veil) -> None:
        super().__init__()
        self._formatter, self._veil = formatter, veil

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return self._veil.hide(self._formatter.format(record))


class JsonLines(logging.Formatter):
    """Writes each record as one JSON object, without secrets.

    Its keys are ``at`` (UTC), ``level``, ``logger``, ``pid``, then ``action`` and its fields, or ``message``.
    """

    def __init__(self, veil: Veil) -> None:
        super().__init__()
        self._veil = veil

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line: dict[str, Any] = {"at": at, "level": record.levelname, "logger": record.name, "pid": record.process}
        action = getattr(record, "action", None)
        fields = {"action": action, **record.__dict__["fields"]} if action else {"message": record.getMessage()}
        if record.exc_info:
            fields["traceback"] = self.formatException(record.exc_info)
        line |= {key: self._plain(value) for key, value in fields.items()}
        return json.dumps(line, ensure_ascii=False)

    def _plain(self, value: Any) -> Any:
        return _shown(value) if isinstance(value, int | float | None) else self._veil.hide(str(value))


def _shown(value: Any) -> Any:
    return round(value, 4) if isinstance(value, float) else value
