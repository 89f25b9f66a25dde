"""The supervisor of a stack: starts its processes in order, starts those again that end, and stops them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from types import FrameType

from pubworks.errors import ConfigError
from pubworks.stack import services
from pubworks.stack.place import Place
from pubworks.stack.slot import Service, Slot

#: Seconds that a process may take until it does its work, and between two looks at it.
_START_S = 120.0
_LOOK_S = 0.1

#: Seconds between two looks whether all run; and before one is started again: at first, doubled up to the longest.
_ROUND_S = 0.5
_AGAIN_S, _AGAIN_LONGEST_S = 0.5, 30.0

#: Seconds after which a process that runs has settled: the next end is its first.
_SETTLED_S = 60.0

SUPERVISOR = "supervisor"


class Supervisor:
    """Runs a stack until it is told to stop.

    Args:
        place: Its folder.
        num_workers: How many workers.
        concurrency: Processes of each; None for one a processor.
        grace_s: Seconds that a stopping worker may use to finish what it runs.
        port: Where the API and the page must be; None: where they can.
        ready: Called when all work.
    """

    def __init__(
        self, place: Place, num_workers: int, concurrency: int | None, grace_s: float, *,
        port: int | None = None, ready: Callable[[], object] = lambda: None,
    ) -> None:  # fmt: skip
        self._place, self._num_workers, self._concurrency, self._grace_s = place, num_workers, concurrency, grace_s
        self._port, self._ready = port, ready
        self._stopping = threading.Event()
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._ends: dict[str, tuple[int, float]] = {}

    def run(self) -> None:
        """Bring everything up, keep it up, and take it down when SIGTERM or SIGINT comes.

        Raises:
            ConfigError: Something does not start; all of it is stopped then.
        """
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        try:
            kept = self._bring_up()
            while not self._stopping.wait(_ROUND_S):
                for service in kept:
                    self._keep(service)
        finally:
            stop_all(self._place, self._grace_s)
            for child in self._children.values():
                child.wait()

    def _stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        self._stopping.set()

    def _bring_up(self) -> list[Service]:
        """Start all in order, each when those before it work; what runs already stays."""
        kept: list[Service] = []
        runs = running(self._place)
        if "server" not in runs:
            self._place.choose_port(self._port)
        if "postgres" not in runs and "redis" not in runs:
            self._place.choose()
        for make in (services.postgres, services.redis):
            kept.append(make(self._place))
            self._start(kept[-1])
        self._upgrade()
        if "server" not in runs:
            self._place.choose_port(self._port)  # again: the database may have taken long
        crew = [services.server(self._place)]
        crew += services.workers(self._place, self._num_workers, self._concurrency, self._grace_s)
        _stop_others(self._place, {service.name for service in (*kept, *crew)}, self._grace_s)
        for service in crew:
            self._launch(service)
        for service in crew:
            self._await(service)
        if not self._stopping.is_set():
            self._place.connect()
            tell("up")
            self._ready()
        return [*kept, *crew]

    def _start(self, service: Service) -> None:
        self._launch(service)
        self._await(service)

    def _launch(self, service: Service) -> None:
        if self._stopping.is_set():
            return
        child = Slot(self._place.folder, service.name).start(service)
        if child is not None:
            self._children[service.name] = child
            tell(f"{service.name} started")

    def _await(self, service: Service) -> None:
        slot = Slot(self._place.folder, service.name)
        deadline = time.monotonic() + _START_S
        while not self._stopping.is_set():
            if not slot.is_taken() or time.monotonic() > deadline:
                raise ConfigError(f"{service.name} does not start; its log says why: {slot.log}")
            if (pid := slot.pid()) and service.is_ready(pid):
                tell(f"{service.name} works")
                return
            self._stopping.wait(_LOOK_S)

    def _upgrade(self) -> None:
        if self._stopping.is_set():
            return
        environment = services.environment_of(self._place)
        upgrade = Service("upgrade", (sys.executable, "-m", "pubworks.cli.main", "db", "upgrade"), bool, environment)
        slot = Slot(self._place.folder, upgrade.name)
        child = slot.start(upgrade)
        if child is not None and child.wait(_START_S) != 0:
            raise ConfigError(f"The database cannot be brought to this version; the log says why: {slot.log}")

    def _keep(self, service: Service) -> None:
        """Start a process again that ended, later each time it ends soon."""
        slot = Slot(self._place.folder, service.name)
        if slot.is_taken() or self._stopping.is_set():
            return
        ends, last = self._ends.get(service.name, (0, 0.0))
        if time.monotonic() - last > _SETTLED_S:
            ends = 0
        if ends and time.monotonic() - last < min(_AGAIN_LONGEST_S, _AGAIN_S * 2.0**ends):
            return
        self._ends[service.name] = (ends + 1, time.monotonic())
        if service.name in self._children:
            self._children.pop(service.name).wait()
        tell(f"{service.name} ended; its log: {slot.log}")
        self._launch(self._elsewhere() if service.name == "server" and self._port is None else service)

    def _elsewhere(self) -> Service:
        """Return the server, at another port if somebody took its own meanwhile."""
        before = self._place.url
        self._place.choose_port(None)
        if self._place.url != before:
            tell(f"another program is at {before} now; API and page are at {self._place.url}")
        return services.server(self._place)


def running(place: Place) -> list[str]:
    """Return the names of the processes that run, in the order in which they start."""
    folder = place.folder / "run"
    names = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    order = ("postgres", "redis", "upgrade")
    names.sort(key=lambda name: order.index(name) if name in order else len(order))
    return [name for name in names if name != SUPERVISOR and Slot(place.folder, name).is_taken()]


def stop_all(place: Place, grace_s: float) -> None:
    """Stop every process of a stack, whoever started it: the workers together, then the servers, the last first."""
    place.disconnect()
    _stop_others(place, {"postgres", "redis"}, grace_s)
    for name, number in (("redis", signal.SIGTERM), ("postgres", signal.SIGINT)):
        if Slot(place.folder, name).stop(number, 30.0):
            tell(f"{name} stopped")


def _stop_others(place: Place, keep: Iterable[str], grace_s: float) -> None:
    """Stop the processes that are not to be kept, all at once."""
    slots = [Slot(place.folder, name) for name in running(place) if name not in set(keep)]
    stops = [threading.Thread(target=_stop_one, args=(slot, grace_s)) for slot in slots]
    for stop in stops:
        stop.start()
    for stop in stops:
        stop.join()


def _stop_one(slot: Slot, grace_s: float) -> None:
    if slot.stop(signal.SIGTERM, grace_s + services.BEYOND_GRACE_S):
        tell(f"{slot.name} stopped")


def tell(line: str) -> None:
    """Write a line of narration."""
    print(line, file=sys.stderr, flush=True)


def command(place: Place, words: Sequence[str]) -> tuple[str, ...]:
    """Return the command line of a supervisor in a process of its own."""
    return (sys.executable, "-m", "pubworks.stack", str(place.folder), *words)
