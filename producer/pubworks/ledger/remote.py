"""The ledger of a server, over HTTP."""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from pubworks.errors import (
    ConfigError,
    JobNotFound,
    PubworksError,
    SessionNotFound,
    TokenNotFound,
    WorkerNotFound,
)
from pubworks.ledger import parcels, parsing
from pubworks.ledger.wire import PATIENCE_S, WAITING_S, Attempts, Wire
from pubworks.policy import Quota
from pubworks.states import BatchState, JobState
from pubworks.store.records import (
    BackendFacts,
    JobRecord,
    Progress,
    Resumed,
    Retried,
    SessionRecord,
    StoredChunk,
    StoredPub,
    Wanted,
)

if TYPE_CHECKING:
    from qiskit.providers import BackendV2

    from pubworks.ledger.contract import Pauses, Pubs, Watch
    from pubworks.planning.quote import Plan
    from pubworks.planning.target import Target
    from pubworks.primitives.timeline import Event
    from pubworks.settings import Settings
    from pubworks.states import Mode, Scope
    from pubworks.store.records import JobDraft
    from pubworks.views.held import Decision, HeldBatch
    from pubworks.views.limits import Limits
    from pubworks.views.session import JobView
    from pubworks.views.sessions import SessionView
    from pubworks.views.words import Kind

#: What stands before each result, and each chunk; see the routes ``results`` and ``parts``.
_RESULT, _CHUNK = struct.Struct("!IQ"), struct.Struct("!QQQQQ")

#: Jobs, sessions, or entries of the audit, of one page, and PUBs that are named in a query.
_PAGE, _NAMED = 1000, 50

#: Seconds that the server may read an upload, with those that it waits until it can.
_UPLOAD_S = 300.0

#: Seconds that a request waits for something to happen, and between two of them: the first, growing to the second.
_WAIT_S = 15.0
_LOOK_FIRST_S, _LOOK_LONGEST_S = 0.02, 0.5


class RemoteLedger:
    """The ledger of a server; see :class:`pubworks.ledger.contract.Ledger`.

    Args:
        settings: Its URL, and the token.

    Raises:
        ConfigError: The token would go unencrypted to another machine.
    """

    embedded = False

    def __init__(self, settings: Settings) -> None:
        token = settings.token.get_secret_value() if settings.token else None
        self._wire = Wire(settings.url, token, plain_http=settings.plain_http)
        self._known: dict[str, BackendFacts] = {}

    @property
    def place(self) -> str:
        return self._wire.url

    @property
    def needs_secret(self) -> bool:
        return self._wire.has_token

    def close(self) -> None:
        self._wire.close()

    def me(self) -> dict[str, Any]:
        """Return whose the token is, and what it is good for."""
        return dict(self._wire.get("/v1/me"))

    def words(self, kind: Kind, beginning: str) -> list[tuple[str, str]]:
        """Return words that a shell completes, each with what it is about; asked for once, since somebody types."""
        found = self._wire.get("/v1/words", {"kind": str(kind), "begins": beginning}, patience_s=0.0)["words"]
        return [(one["word"], one["about"]) for one in found]

    # Submitting

    def enter(self, backend: BackendV2 | str) -> str:
        if isinstance(backend, str):
            return self._facts(backend).name
        from pubworks.ledger.targets import check_object

        check_object(backend)
        raise ConfigError(
            "A backend object lives in this process only, and the jobs run on workers of a server. Give the name "
            "of one that it has: client.backends(), or pubworks backends."
        )

    def target(self, name: str) -> Target:
        from pubworks.planning.target import Target

        facts = self._facts(name)
        return Target(name, facts.num_qubits, facts.max_circuits)

    def _facts(self, name: str) -> BackendFacts:
        """Return what is known of a backend; the server judges a job again, by what it knows then."""
        if name not in self._known:
            found = parsing.facts_of(self._wire.get(_backend(name)))
            if found.described_at is None:
                return found
            self._known[name] = found
        return self._known[name]

    def submit(self, draft: JobDraft, pubs: Pubs) -> str:
        from pubworks.ledger.upload import files_of

        files = partial(files_of, draft, pubs, draft.idempotency_key or draft.id)
        return str(self._wire.upload("/v1/jobs", files, read_s=_UPLOAD_S)["id"])

    def quote(self, draft: JobDraft, pubs: Pubs) -> Plan:
        from pubworks.ledger.upload import files_of

        return parsing.plan_of(self._wire.upload("/v1/plan", partial(files_of, draft, pubs, None), read_s=_UPLOAD_S))

    # Jobs

    def find(self, part: str) -> str:
        return str(self._wire.get(_job(part))["id"])

    def record(self, job_id: str) -> JobRecord:
        return parsing.record_of(self._wire.get(_job(job_id)))

    def view(self, job_id: str) -> JobView:
        return parsing.view_of(self._wire.get(_job(job_id)))

    def jobs(self, wanted: Wanted) -> list[tuple[JobRecord, list[str]]]:
        found: list[tuple[JobRecord, list[str]]] = []
        cursor = None
        while wanted.limit is None or len(found) < wanted.limit:
            left = _PAGE if wanted.limit is None else min(_PAGE, wanted.limit - len(found))
            skip = wanted.skip if cursor is None else 0
            page = self._wire.get("/v1/jobs", {**_query(wanted), "limit": left, "skip": skip, "cursor": cursor})
            found += [(parsing.record_of(one), one["tags"]) for one in page["jobs"]]
            cursor = page["next"]
            if cursor is None:
                break
        return found

    def state(self, job_id: str) -> JobState:
        return self.record(job_id).state

    @contextmanager
    def watch(self, job_id: str) -> Iterator[Watch]:
        yield _Watch(self._wire, job_id)

    @contextmanager
    def watch_all(self) -> Iterator[Pauses]:
        yield _Watch(self._wire, None)

    def progress(self, job_id: str) -> Progress:
        return parsing.progress_of(self._wire.get(_job(job_id)))

    def options(self, job_id: str) -> dict[str, Any]:
        return dict(self._account(job_id)["options"])

    def inputs(self, job_id: str, *, circuits: bool) -> tuple[list[StoredPub], dict[str, bytes]]:
        return parcels.unpack_inputs(self._wire.get_bytes(f"{_job(job_id)}/inputs", {"circuits": circuits}))

    def tags(self, job_id: str) -> list[str]:
        return list(self._wire.get(_job(job_id))["tags"])

    def set_tags(self, job_id: str, tags: Sequence[str]) -> None:
        self._wire.send("PUT", f"{_job(job_id)}/tags", {"tags": list(tags)}, repeatable=True)

    def set_shared(self, job_id: str, shared: bool) -> None:
        self._wire.send("PUT", f"{_job(job_id)}/shared", {"shared": shared}, repeatable=True)

    def usage(self, job_id: str) -> dict[str, Any]:
        return dict(self._account(job_id)["usage"])

    def metrics(self, job_id: str) -> dict[str, Any]:
        return dict(self._account(job_id)["metrics"])

    def error(self, job_id: str) -> str | None:
        told: str | None = self._account(job_id)["error"]
        return told

    def _account(self, job_id: str) -> dict[str, Any]:
        return dict(self._wire.get(f"{_job(job_id)}/account"))

    def timeline(self, job_id: str) -> list[Event]:
        return [parsing.event_of(event) for event in self._wire.get(f"{_job(job_id)}/timeline")["events"]]

    def runs(self, job_id: str) -> list[dict[str, Any]]:
        return list(self._wire.get(f"{_job(job_id)}/provider-jobs")["provider_jobs"])

    def now(self) -> float:
        return float(self._wire.get("/v1/health")["now"])

    def finished(self, job_id: str) -> list[int]:
        return list(self._wire.get(f"{_job(job_id)}/pubs")["finished"])

    def missing(self, job_id: str) -> dict[int, str]:
        found = self._wire.get(f"{_job(job_id)}/pubs")["missing"]
        return {int(pub): reason for pub, reason in found.items()}

    def parts(self, job_id: str, pub: int) -> list[tuple[BatchState, str | None]]:
        found = self._wire.get(f"{_job(job_id)}/pubs/{pub}")["parts"]
        return [(BatchState(part["status"]), part["reason"]) for part in found]

    def results(self, job_id: str, pubs: Sequence[int] | None = None) -> Iterator[tuple[int, bytes]]:
        named = list(pubs) if pubs is not None and len(pubs) <= _NAMED else None
        same = {"format": "bytes", "partial": True, "pub": named}

        def behind(number: int, last: tuple[int, ...]) -> dict[str, Any]:
            return {**same, "first": last[0] + 1 if number else 0}

        if named == []:
            return
        for (pub, _), data in self._wire.pieces(f"{_job(job_id)}/results", _RESULT, behind):
            if pubs is None or pub in pubs:
                yield pub, data

    @contextmanager
    def chunks(self, job_id: str, pub: int) -> Iterator[Iterator[StoredChunk]]:
        path = f"{_job(job_id)}/pubs/{pub}/chunks"

        def behind(number: int, last: tuple[int, ...]) -> dict[str, Any]:
            return {"shot": last[2], "circuit": last[0] + 1} if number else {}

        pieces = self._wire.pieces(path, _CHUNK, behind)
        yield (StoredChunk(first, end, shot, shots, data) for (first, end, shot, shots, _), data in pieces)

    def cancel(self, job_id: str) -> bool:
        return bool(self._wire.send("POST", f"{_job(job_id)}/cancel")["cancelled"])

    def retry(self, job_id: str) -> Retried:
        again = self._wire.send("POST", f"{_job(job_id)}/retry")
        return Retried(again["retried"], again["held"])

    def cancel_jobs(self, tags: Iterable[str], session: str | None) -> int:
        return int(self._wire.send("POST", "/v1/jobs/cancel", {"tags": list(tags), "session": session})["cancelled"])

    # Sessions

    def open_session(
        self, session_id: str, *, mode: Mode, backend: str, max_time_s: float | None, idle_s: float
    ) -> None:
        asked = {"mode": str(mode), "backend": backend, "max_time_s": max_time_s, "interactive_timeout_s": idle_s}
        self._wire.send("PUT", _session(session_id), asked, repeatable=True)

    def find_session(self, part: str) -> str:
        return str(self._wire.get(_session(part))["id"])

    def session(self, session_id: str) -> SessionRecord:
        return parsing.session_of(self._wire.get(_session(session_id)))

    def session_view(self, session_id: str) -> SessionView:
        return parsing.session_view_of(self._wire.get(_session(session_id)))

    def sessions(
        self, limit: int | None, skip: int = 0, *, mode: Mode | None = None, backend: str | None = None
    ) -> list[SessionRecord]:
        found: list[SessionRecord] = []
        while limit is None or len(found) < limit:
            left = _PAGE if limit is None else min(_PAGE, limit - len(found))
            asked = {"limit": left, "skip": skip + len(found), "mode": mode and str(mode), "backend": backend}
            page = self._wire.get("/v1/sessions", asked)["sessions"]
            found += map(parsing.session_of, page)
            if len(page) < left:
                break
        return found

    def close_session(self, session_id: str) -> bool:
        return bool(self._wire.send("POST", f"{_session(session_id)}/close")["closed"])

    def cancel_session(self, session_id: str) -> int:
        return int(self._wire.send("POST", f"{_session(session_id)}/cancel")["cancelled"])

    # The fleet

    def facts(self) -> list[BackendFacts]:
        found = self._wire.get("/v1/backends")["backends"]
        return [parsing.facts_of(one) for one in found if one["described_at"] is not None]

    def backends(self) -> list[dict[str, Any]]:
        return list(self._wire.get("/v1/backends")["backends"])

    def backend(self, name: str) -> dict[str, Any]:
        return dict(self._wire.get(_backend(name)))

    def workers(self) -> list[dict[str, Any]]:
        return list(self._wire.get("/v1/workers")["workers"])

    def drain(self, worker: str) -> dict[str, Any]:
        return dict(self._wire.send("POST", f"/v1/workers/{_quoted(worker, WorkerNotFound)}/drain"))

    def limits(self, backend: str) -> Limits:
        return parsing.limits_of(self._wire.get(f"{_backend(backend)}/limits"), self.now())

    def forget(self, backend: str) -> bool:
        return bool(self._wire.send("POST", f"{_backend(backend)}/forget")["forgotten"])

    def resume(self, backend: str) -> Resumed:
        found = self._wire.send("POST", f"{_backend(backend)}/resume")
        return Resumed(found["breaker_closed"], found["pause_ended"], found["waiting_batches"])

    def set_limits(self, backend: str, changes: dict[str, Any]) -> None:
        said = Quota(**changes).model_dump(mode="json", include=set(changes))
        self._wire.send("PATCH", f"{_backend(backend)}/limits", said, repeatable=True)

    def held(self) -> list[HeldBatch]:
        return [parsing.held_of(one) for one in self._wire.get("/v1/held")["held"]]

    def resolve(self, batch: HeldBatch, decision: Decision, provider_id: str | None) -> None:
        self._wire.send("POST", f"/v1/held/{batch.id}", {"decision": str(decision), "provider_id": provider_id})

    # Who may use the server, and who did what

    def tokens(self) -> list[dict[str, Any]]:
        return list(self._wire.get("/v1/tokens")["tokens"])

    def create_token(self, owner: str, scopes: Sequence[Scope], lasts_s: float | None) -> dict[str, Any]:
        asked = {"owner": owner, "scopes": [str(scope) for scope in scopes], "lasts_s": lasts_s}
        return dict(self._wire.send("POST", "/v1/tokens", asked))

    def revoke_token(self, token_id: str) -> bool:
        return bool(
            self._wire.send("DELETE", f"/v1/tokens/{_quoted(token_id, TokenNotFound)}", repeatable=True)["revoked"]
        )

    def audit(self, limit: int) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        while len(found) < limit:
            most = min(_PAGE, limit - len(found))
            asked = {"limit": most, "before": found[-1]["id"] if found else None}
            page = self._wire.get("/v1/audit", asked)["entries"]
            found += page
            if len(page) < most:
                break
        return found


class _Watch:
    """Waits for a job, or for any, with requests that the server answers once something happened.

    Two requests come no closer than looks at a database would, so that a job of many batches is no storm of them.
    """

    def __init__(self, wire: Wire, job_id: str | None) -> None:
        self._wire, self._job_id = wire, job_id
        self._after: int | None = None
        self._state: JobState | None = None
        self._gap_s = _LOOK_FIRST_S

    def look(self) -> JobState:
        if self._state is None:
            self._take(self._wire.get("/v1/wait", self._asked(None)))
        state, self._state = self._state, None
        assert state is not None
        return state

    def pause(self, most_s: float | None) -> None:
        time.sleep(self._gap(most_s))
        patience_s = WAITING_S if most_s is None else min(WAITING_S, max(most_s, PATIENCE_S))
        self._take(self._wire.get("/v1/wait", self._asked(most_s), patience_s=patience_s))

    async def alook(self) -> JobState:
        return await asyncio.to_thread(self.look)

    async def apause(self, most_s: float | None) -> None:
        await asyncio.sleep(self._gap(most_s))
        attempts = Attempts(WAITING_S if most_s is None else min(WAITING_S, max(most_s, PATIENCE_S)))
        while True:
            try:
                self._take(await self._wire.aget("/v1/wait", self._asked(most_s)))
                return
            except Exception as error:
                await asyncio.sleep(attempts.wait_s(error))

    def _asked(self, most_s: float | None) -> dict[str, Any]:
        wait_s = _WAIT_S if most_s is None else min(_WAIT_S, max(most_s, _LOOK_FIRST_S))
        return {"job": self._job_id, "after": self._after, "most_s": wait_s}

    def _take(self, answer: dict[str, Any]) -> None:
        self._after = answer["after"]
        self._state = None if answer["status"] is None else JobState(answer["status"])

    def _gap(self, most_s: float | None) -> float:
        gap_s = self._gap_s if most_s is None else min(self._gap_s, most_s)
        self._gap_s = min(self._gap_s * 1.5, _LOOK_LONGEST_S)
        return gap_s


def _job(job_id: str) -> str:
    return f"/v1/jobs/{_quoted(job_id, JobNotFound)}"


def _session(session_id: str) -> str:
    return f"/v1/sessions/{_quoted(session_id, SessionNotFound)}"


def _backend(name: str) -> str:
    return f"/v1/backends/{_quoted(name, ConfigError)}"


def _quoted(text: str, missing: type[PubworksError]) -> str:
    """Return an id or a name as a part of a path.

    Raises:
        PubworksError: It can be none, so that nothing has it; of the class that is given.
    """
    if "/" in text or not text.strip("."):
        raise missing(
            f"Nothing of a server has the id or name {text!r}: it has a letter or digit at least, and no '/'."
        )
    return quote(text, safe="")


def _query(wanted: Wanted) -> dict[str, Any]:
    times = {name: _iso(getattr(wanted, name)) for name in ("created_after", "created_before")}
    same = {name: getattr(wanted, name) for name in ("backend", "name", "primitive", "session", "descending")}
    states = None if wanted.states is None else [str(state) for state in wanted.states]
    return {**same, **times, "status": states, "tag": list(wanted.tags)}


def _iso(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
