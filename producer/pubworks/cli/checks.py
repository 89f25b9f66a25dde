"""The checks of ``pubworks doctor``: each says what it found and, where it fails, how to mend it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from pubworks.cli import exits, limits
from pubworks.cli.session import check_broker, session_of
from pubworks.errors import PubworksError, SchemaOutOfDate
from pubworks.settings import Settings, config_path, load_settings, origin
from pubworks.stack.place import Place
from pubworks.stack.slot import Slot
from pubworks.stack.supervisor import SUPERVISOR, running
from pubworks.store import doubts, fleet, schema
from pubworks.store.standing import standing
from pubworks.telemetry import masked
from pubworks.views.fleet import BackendView, look_at_backends
from pubworks.views.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from pubworks.backends.spec import BackendSpec


@dataclass(frozen=True)
class Check:
    """One line of the doctor's report."""

    name: str
    #: None: nothing wrong, and nothing to use either.
    ok: bool | None
    detail: str
    #: Exit code of the command when this is the first check that fails.
    code: int = exits.OK


def run() -> Iterator[Check]:
    """Yield the checks one by one; those whose ground is missing are left out."""
    found: list[Settings] = []
    yield _try("config", lambda: _config(found))
    if found:
        settings = found[0]
        if settings.is_remote:
            yield _try("server", lambda: _server(settings))
            return
        if origin("database") == "pubworks up":
            yield _stack(settings)
        yield _try("broker", lambda: _broker(settings))
        yield from _database(settings)


def _try(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, True, check())
    except PubworksError as error:
        return Check(name, False, masked(str(error)), exits.code_of(error))


def _config(found: list[Settings]) -> str:
    found.append(load_settings())
    path = config_path()
    return f"read from {path}" if path else "no pubworks.toml; environment and defaults"


def _server(settings: Settings) -> str:
    from pubworks.ledger.remote import RemoteLedger

    with closing(RemoteLedger(settings)) as ledger:
        known = ledger.me()
    return f"{ledger.place} answers; the token is that of {known['owner']}, good for: {', '.join(known['scopes'])}"


def _stack(settings: Settings) -> Check:
    place = Place.of(settings)
    names = running(place)
    if Slot(place.folder, SUPERVISOR).is_taken():
        return Check("pubworks up", True, f"runs {', '.join(names)}; its logs: {place.folder / 'log'}")
    detail = f"its supervisor is gone; still there: {', '.join(names) or 'nothing'}. Mend it: pubworks up"
    return Check("pubworks up", False, detail, exits.UNREACHABLE)


def _broker(settings: Settings) -> str:
    check_broker(settings)
    return "embedded: inside each process" if settings.embedded else f"{masked(settings.broker)} answers"


def _database(settings: Settings) -> Iterator[Check]:
    answers = Check("database", True, f"{masked(settings.database_url)} answers")
    try:
        with session_of(settings) as session:
            yield from (answers, Check("schema", True, f"{schema.head()}, up to date"))
            for view in look_at_backends(session):
                yield _backend(view, session)
                yield from _breaker(view, session)
            yield from _held(session)
            yield _workers(session)
    except SchemaOutOfDate as error:
        yield from (answers, Check("schema", False, str(error), exits.code_of(error)))
    except PubworksError as error:
        yield Check("database", False, masked(str(error)), exits.code_of(error))


def _backend(view: BackendView, session: Session) -> Check:
    name = f"backend {view.name}"
    if view.spec is None:
        return Check(name, None, f"{view.waiting} batches wait for it, and it is not registered here")
    if session.settings.embedded or view.status in ("new", "changed"):
        return _build(name, view.spec, session)
    if view.facts is not None and view.facts.error:
        return Check(name, False, f"A worker could not build it. {view.facts.error}", exits.FAILED)
    return Check(name, True, f"built by a worker; workers that serve it now: {view.num_workers}")


def _build(name: str, spec: BackendSpec, session: Session) -> Check:
    ours = spec.name not in session.settings.backends  # one of pubworks' own entry points, whose extra is optional
    if ours and find_spec(spec.factory.split(":")[0].split(".")[0]) is None:
        return Check(name, None, f"not installed here ({spec.factory})")
    try:
        backend = spec.build()
    except PubworksError as error:
        return Check(name, False, str(error), exits.code_of(error))
    detail = f"can be built here, {getattr(backend, 'num_qubits', None) or 'any number of'} qubits"
    if session.settings.embedded:
        return Check(name, True, detail)
    return Check(name, None, f"{detail}; no worker has built it yet. Start one: pubworks worker --backend {spec.name}")


def _breaker(view: BackendView, session: Session) -> Iterator[Check]:
    """Tell of a backend that fails again and again; nothing is sent to it meanwhile."""
    with session.store.read() as connection:
        stands = standing(connection, view.name, session.policy(view.name))
    if stands is not None and stands.probe_at is not None:
        remedy = f"Nothing else is sent meanwhile; once it is back: pubworks backends resume {view.name}"
        detail = f"{limits.breaker(stands)}. {remedy}"
        yield Check(f"breaker {view.name}", False, masked(detail), exits.FAILED)


def _held(session: Session) -> Iterator[Check]:
    with session.store.read() as connection:
        number = len(doubts.held(connection))
    if number:
        detail = f"Whether the provider took them is in doubt: {number}. Decide on them: pubworks held"
        yield Check("held batches", False, detail, exits.FAILED)


def _workers(session: Session) -> Check:
    with session.store.read() as connection:
        alive = fleet.list_workers(connection, session.settings.lease_s)
    if session.settings.embedded:
        return Check("workers", True, f"inside each process that waits for a job; alive now: {len(alive)}")
    if not alive:
        return Check("workers", False, "None is alive. Start one: pubworks worker", exits.FAILED)
    served = sorted({name for worker in alive for name in worker.backends})
    return Check("workers", True, f"{len(alive)} alive, for {', '.join(served)}")
