"""The checks of ``pubworks doctor``: each says what it found and, where it fails, how to mend it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pubworks.backends import registry
from pubworks.cli import exits, limits
from pubworks.cli.session import check_broker, session_of
from pubworks.errors import PubworksError, SchemaOutOfDate
from pubworks.ledger.stored import StoredLedger
from pubworks.settings import Settings, config_path, load_settings, origin
from pubworks.stack.place import Place
from pubworks.stack.slot import Slot
from pubworks.stack.supervisor import SUPERVISOR, running
from pubworks.states import Scope
from pubworks.store import schema
from pubworks.telemetry import masked

if TYPE_CHECKING:
    from collections.abc import Callable

    from pubworks.backends.spec import BackendSpec
    from pubworks.ledger.contract import Ledger


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
            yield from _server(settings)
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


def _server(settings: Settings) -> Iterator[Check]:
    from pubworks.ledger.remote import RemoteLedger

    try:
        with closing(RemoteLedger(settings)) as ledger:
            me = ledger.me()
            token = f"the token is that of {me['owner']}, good for: {', '.join(me['scopes'])}"
            yield Check("server", True, f"{ledger.place} answers; {token}")
            yield from _backends(ledger, _built)
            if any(Scope(scope).rank >= Scope.OPERATE.rank for scope in me["scopes"]):
                yield from _held(ledger)
            yield _workers(ledger)
    except PubworksError as error:
        yield Check("server", False, masked(str(error)), exits.code_of(error))


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
            ledger = StoredLedger(session)
            yield from _backends(ledger, lambda known: _backend(known, settings))
            yield from _held(ledger)
            yield _workers(ledger)
    except SchemaOutOfDate as error:
        yield from (answers, Check("schema", False, str(error), exits.code_of(error)))
    except PubworksError as error:
        yield Check("database", False, masked(str(error)), exits.code_of(error))


def _backends(ledger: Ledger, check: Callable[[dict[str, Any]], Check]) -> Iterator[Check]:
    for known in ledger.backends():
        if known["status"] == "unregistered":
            detail = f"{known['waiting_batches']} batches wait for it, and it is not registered"
            yield Check(f"backend {known['name']}", None, detail)
        else:
            yield check(known)
            yield from _breaker(known["name"], ledger)


def _backend(known: dict[str, Any], settings: Settings) -> Check:
    """Check a backend where it can be built, if no worker did that."""
    if settings.embedded or known["status"] in ("new", "changed"):
        return _build(f"backend {known['name']}", registry.find(settings, known["name"]), settings)
    return _built(known)


def _built(known: dict[str, Any]) -> Check:
    name = f"backend {known['name']}"
    if known["error"]:
        return Check(name, False, f"A worker could not build it. {known['error']}", exits.FAILED)
    if known["status"] == "new":
        return Check(name, None, f"no worker has built it yet. Start one: pubworks worker --backend {known['name']}")
    return Check(name, True, f"built by a worker; workers that serve it now: {known['workers']}")


def _build(name: str, spec: BackendSpec, settings: Settings) -> Check:
    ours = spec.name not in settings.backends  # one of pubworks' own entry points, whose extra is optional
    if ours and find_spec(spec.factory.split(":")[0].split(".")[0]) is None:
        return Check(name, None, f"not installed here ({spec.factory})")
    try:
        backend = spec.build()
    except PubworksError as error:
        return Check(name, False, str(error), exits.code_of(error))
    detail = f"can be built here, {getattr(backend, 'num_qubits', None) or 'any number of'} qubits"
    if settings.embedded:
        return Check(name, True, detail)
    return Check(name, None, f"{detail}; no worker has built it yet. Start one: pubworks worker --backend {spec.name}")


def _breaker(name: str, ledger: Ledger) -> Iterator[Check]:
    """Tell of a backend that fails again and again; nothing is sent to it meanwhile."""
    stands = ledger.limits(name).standing
    if stands is not None and stands.probe_at is not None:
        remedy = f"Nothing else is sent meanwhile; once it is back: pubworks backends resume {name}"
        detail = f"{limits.breaker(stands)}. {remedy}"
        yield Check(f"breaker {name}", False, masked(detail), exits.FAILED)


def _held(ledger: Ledger) -> Iterator[Check]:
    if number := len(ledger.held()):
        detail = f"Whether the provider took them is in doubt: {number}. Decide on them: pubworks held"
        yield Check("held batches", False, detail, exits.FAILED)


def _workers(ledger: Ledger) -> Check:
    alive = ledger.workers()
    if ledger.embedded:
        return Check("workers", True, f"inside each process that waits for a job; alive now: {len(alive)}")
    if not alive:
        return Check("workers", False, "None is alive. Start one: pubworks worker", exits.FAILED)
    served = sorted({name for worker in alive for name in worker["backends"]})
    return Check("workers", True, f"{len(alive)} alive, for {', '.join(served)}")
