"""``pubworks up`` and ``pubworks down``: a whole machine's pubworks."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pubworks.cli import render, welcome
from pubworks.cli.jobs import AsJson
from pubworks.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pubworks.settings import Settings
    from pubworks.stack.place import Place
    from pubworks.stack.slot import Slot

#: Seconds between two looks at how it comes up or goes down.
_LOOK_S = 0.1


def up(
    *,
    workers: Annotated[int, typer.Option("--workers", "-w", min=1, help="How many workers.")] = 1,
    concurrency: Annotated[
        int | None,
        typer.Option("--concurrency", "-c", min=1, help="Processes of each; by default one for each processor."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Port of the API and the page; by default 8080, or a free one, and kept."),
    ] = None,
    foreground: Annotated[
        bool, typer.Option("--foreground", help="Stay, until Ctrl-C or SIGTERM, which do what `pubworks down` does.")
    ] = False,
    status: Annotated[bool, typer.Option("--status", help="Only say what runs.")] = False,
    as_json: AsJson = False,
) -> None:
    """Start servers, workers, API and page on this machine.

    The servers are a private PostgreSQL and Redis. It prints URL and token, and returns when all work.

    Every later command and Client() of yours on this machine uses them, until `pubworks down`. Jobs and results stay
    in the data directory; `pubworks up` again goes on with them.
    """
    settings, place = _place()
    if status:
        welcome.show(place, as_json)
        return
    _check_settings(settings, place)
    if foreground:
        _stay(place, workers, concurrency, settings.shutdown_grace_s, port)
        return
    words = (str(workers), str(concurrency or 0), str(settings.shutdown_grace_s), str(port or 0))
    _bring_up(place, words)
    place.access("server")  # an older version, which is up already, has none: nobody needs a token then
    welcome.show(place, as_json, welcome.new_token(place))
    _tell_of_earlier_jobs(settings.data_dir / "pubworks.db")


def _tell_of_earlier_jobs(database: Path) -> None:
    """Say where the jobs are that ran before without servers: no listing shows them while all is up."""
    if database.exists():
        render.say(f"Jobs from before are in a file: PUBWORKS_DATABASE=sqlite:///{database} pubworks list")


def down() -> None:
    """Stop what `pubworks up` started; all data is kept.

    Workers finish what they run, for shutdown_grace_s seconds at most.
    """
    from pubworks.stack.slot import Slot
    from pubworks.stack.supervisor import SUPERVISOR, running, stop_all

    settings, place = _place()
    slot = Slot(place.folder, SUPERVISOR)
    if not slot.is_taken() and not running(place):
        place.disconnect()
        render.say("Nothing is up.")
        return
    render.say("Stopping; what runs may take a while to finish.")
    slot.stop(signal.SIGTERM, _longest_s(settings.shutdown_grace_s))
    stop_all(place, settings.shutdown_grace_s)  # what a supervisor left behind that was killed
    render.say("Down. Jobs and results are kept; to see them again, and go on with them: pubworks up")


def _place() -> tuple[Settings, Place]:
    from pubworks.settings import load_settings
    from pubworks.stack.place import Place

    settings = load_settings()
    return settings, Place.of(settings)


def _check_settings(settings: Settings, place: Place) -> None:
    """Raise where later commands would not find what is started.

    Raises:
        ConfigError: Something else says which database or broker to use.
    """
    from pubworks.settings import origin

    for name in ("url", "database", "broker"):
        if getattr(settings, name) and (said := origin(name)) not in ("default", "pubworks up"):
            raise ConfigError(
                f"The setting {name} ({said}) names another place, which every command would use instead of what "
                f"`pubworks up` starts in {place.folder}. Unset it, or use that place without `pubworks up`."
            )


def _bring_up(place: Place, words: Sequence[str]) -> None:
    from pubworks.stack.slot import Service, Slot
    from pubworks.stack.supervisor import SUPERVISOR, command

    place.make()
    slot = Slot(place.folder, SUPERVISOR)
    begins = slot.log.stat().st_size if slot.log.exists() else 0
    before = place.connected_as()
    if slot.start(Service(SUPERVISOR, command(place, words), bool)) is None:
        before = None
        render.say("It is up already; workers and port stay as they are. To change them: pubworks down, then up.")
    try:
        _await(slot, place, begins, before)
    except KeyboardInterrupt:
        render.say("\nIt goes on coming up. How it stands: pubworks up --status. Stop it: pubworks down")
        raise


def _await(slot: Slot, place: Place, begins: int, before: int | None) -> None:
    """Show what the supervisor says until all works, and it has said so since ``before``.

    Raises:
        ConfigError: It gave up.
    """
    while place.connected_as() in (None, before):
        begins = _tell_news(slot.log, begins)
        if not slot.is_taken():
            _tell_news(slot.log, begins)
            raise ConfigError(
                f"pubworks does not come up; the lines above, and the logs in {slot.log.parent}, say why."
            )
        time.sleep(_LOOK_S)
    _tell_news(slot.log, begins)


def _tell_news(log: Path, begins: int) -> int:
    """Say what was added to a log. Returns where it ends."""
    with log.open() as file:
        file.seek(begins)
        for line in file.read().splitlines():
            render.say(f"  {line}")
        return int(file.tell())


def _stay(place: Place, workers: int, concurrency: int | None, grace_s: float, port: int | None) -> None:
    from pubworks.stack.slot import Slot
    from pubworks.stack.supervisor import SUPERVISOR, Supervisor

    place.make()
    with Slot(place.folder, SUPERVISOR).held() as file:
        if file is None:
            raise ConfigError("It is up already. Stop it first: pubworks down")
        file.write(str(os.getpid()).encode())
        file.flush()
        Supervisor(place, workers, concurrency, grace_s, port=port, ready=lambda: _greet(place)).run()


def _greet(place: Place) -> None:
    """Say where it is; only a terminal is shown a token: a service manager would keep it in its log."""
    if sys.stdout.isatty():
        welcome.show(place, as_json=False, token=welcome.new_token(place))
    else:
        welcome.say_where(place)


def _longest_s(grace_s: float) -> float:
    """Return the seconds that an orderly stop may take: workers together, then the servers one after the other."""
    from pubworks.stack.services import BEYOND_GRACE_S

    return grace_s + BEYOND_GRACE_S + 90.0
