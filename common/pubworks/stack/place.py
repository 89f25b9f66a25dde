"""The folder of a stack: its data, logs and secrets, which nobody else may read."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pubworks.errors import ConfigError
from pubworks.settings import STACK_CONNECTION, Settings
from pubworks.stack import programs

#: Port at which the API and the page are first looked for.
PORT = 8080


@dataclass(frozen=True)
class Access:
    """How a server is reached: on 127.0.0.1."""

    port: int
    #: Empty where tokens tell who may use it.
    password: str = ""


@dataclass(frozen=True)
class Place:
    """The folder ``stack`` of a data directory.

    Args:
        folder: The folder.
    """

    folder: Path

    @classmethod
    def of(cls, settings: Settings) -> Place:
        """Return the place of these settings, which may not be there yet."""
        return cls(settings.data_dir.absolute() / STACK_CONNECTION.parent)

    @property
    def connection(self) -> Path:
        """The file that has every pubworks command of this user use the stack; there while it is up."""
        return self.folder / STACK_CONNECTION.name

    def make(self) -> None:
        """Make the folder; nobody else can look into it, but PostgreSQL's user must get through to its files.

        Raises:
            ConfigError: It cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.folder.chmod(0o711 if programs.postgres_user() else 0o700)
            for name in ("run", "log"):
                (self.folder / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"The folder {self.folder} cannot be made: {error.strerror}. Set PUBWORKS_DATA_DIR to one that you may "
                "write to, on a disk that has room."
            ) from error

    def access(self, server: str) -> Access:
        """Return a server's port and password, which are made the first time.

        Raises:
            ConfigError: Another version of pubworks made them, and none for this server.
        """
        known = self._known().get(server)
        if known is None:
            raise ConfigError(
                f"{self._accesses} has no port of the {server}: an older pubworks brought up what runs in "
                f"{self.folder}. Bring it up anew: pubworks down, then pubworks up. Jobs and results are kept."
            )
        return Access(**known)

    def choose(self) -> None:
        """Choose ports and passwords of the database and the broker where there are none, or somebody took the port."""
        known = self._known()
        for server in ("postgres", "redis"):
            access = known.setdefault(server, {"port": 0, "password": secrets.token_hex(16)})
            if not access["port"] or not programs.is_free(access["port"]):
                access["port"] = programs.free_port()
        self._keep(known)

    def choose_port(self, wanted: int | None) -> None:
        """Choose the port of the API and the page: the one before, or another if somebody took that.

        Args:
            wanted: The one that it must be; None: any.

        Raises:
            ConfigError: Somebody else listens at ``wanted``.
        """
        known = self._known()
        port = wanted or known.get("server", {}).get("port", PORT)
        if not programs.is_free(port):
            if wanted:
                raise ConfigError(f"Another program listens on port {wanted} of 127.0.0.1. Choose another: --port.")
            port = programs.free_port()
        self._keep({**known, "server": {"port": port}})

    def _known(self) -> dict[str, dict[str, Any]]:
        return dict(json.loads(self._accesses.read_text())) if self._accesses.exists() else {}

    def _keep(self, known: dict[str, dict[str, Any]]) -> None:
        write_secret(self._accesses, json.dumps(known))

    @property
    def _accesses(self) -> Path:
        return self.folder / "access.json"

    @property
    def database_url(self) -> str:
        """The URL of its database."""
        access = self.access("postgres")
        return f"postgresql+psycopg://postgres:{access.password}@127.0.0.1:{access.port}/postgres"

    @property
    def broker_url(self) -> str:
        """The URL of its broker."""
        access = self.access("redis")
        return f"redis://:{access.password}@127.0.0.1:{access.port}/0"

    @property
    def url(self) -> str:
        """The URL of its API and page."""
        return f"http://127.0.0.1:{self.access('server').port}"

    def connect(self) -> None:
        """Have every later command find it."""
        write_secret(self.connection, json.dumps({"database": self.database_url, "broker": self.broker_url}))

    def connected_as(self) -> int | None:
        """Return a number that is another one after each :meth:`connect`; None while later commands do not find it."""
        try:
            return self.connection.stat().st_ino
        except FileNotFoundError:
            return None

    def disconnect(self) -> None:
        """Have later commands go by their other settings."""
        self.connection.unlink(missing_ok=True)


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner may read, whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    partial.rename(path)
