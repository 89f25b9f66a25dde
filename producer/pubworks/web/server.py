"""The server process: uvicorn around the app, with its address, its signals and its end."""

from __future__ import annotations

import contextlib
import ipaddress
import signal
import socket
from typing import TYPE_CHECKING

import uvicorn

from pubworks.errors import ConfigError
from pubworks.metrics.server import showing
from pubworks.store import tokens
from pubworks.store.store import Store
from pubworks.web.app import create_app

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import FrameType

    from pubworks.settings import Settings
    from pubworks.web.desk import Desk

#: Connections at once, over which others are turned away.
_MOST_CONNECTIONS = 1000


#: Seconds that a connection may be idle: longer than clients keep one (httpx: 5), so that it is not ended by the server
#: just when a client sends the next request.
IDLE_S = 20


def serve(
    settings: Settings, host: str, port: int, tell: Callable[[str], object], metrics_port: int | None = None
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what was asked, and take nothing more.

    Args:
        settings: Database, broker and limits.
        host: The address to listen on.
        port: The port; 0 chooses one.
        tell: Called with the URL, once it answers.
        metrics_port: Where Prometheus may ask without a token, at ``metrics_host`` of the settings; None: nowhere.

    Raises:
        ConfigError: The address is not this machine's own, and nobody has a token; or it is taken.
    """
    if not is_loopback(host):
        _check_token(settings, host)
    app = create_app(settings)
    with _listening(host, port) as listener, _metrics(app.desk, metrics_port):
        shown = f"[{host}]" if ":" in host else host
        config = uvicorn.Config(
            app, log_config=None, access_log=False, server_header=False, proxy_headers=False, ws="none",
            limit_concurrency=_MOST_CONNECTIONS, timeout_graceful_shutdown=int(settings.shutdown_grace_s),
            timeout_keep_alive=IDLE_S,
        )  # fmt: skip
        server = _Server(config, lambda: tell(f"http://{shown}:{listener.getsockname()[1]}"), app.desk.feed.close)
        server.run(sockets=[listener])
    if server.interrupted:
        raise KeyboardInterrupt


def _check_token(settings: Settings, host: str) -> None:
    """Raise where others would reach a server at which nobody is known; before what takes long to import."""
    with contextlib.closing(Store.open(settings.database_url)) as store, store.read() as connection:
        if not tokens.any_valid(connection):
            raise ConfigError(
                f"To listen on {host}, which others reach, needs a token, and there is no valid one. "
                "Make one: pubworks token create NAME"
            )


def _metrics(desk: Desk, port: int | None) -> AbstractContextManager[None]:
    if port is None:
        return contextlib.nullcontext()
    return showing(desk.session.settings.metrics_host, port, desk.metrics)


class _Server(uvicorn.Server):
    """Tells when it answers, and ends well when it is told to."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], object], drain: Callable[[], object]) -> None:
        super().__init__(config)
        self._ready, self._drain = ready, drain
        self.interrupted = False

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Drain on SIGTERM and SIGINT, without ending by the signal afterwards as uvicorn would."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop taking connections; a second SIGINT does not wait for the first ones."""
        self.interrupted = self.interrupted or sig == signal.SIGINT
        self._drain()
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches an address.

    >>> is_loopback("127.0.0.1"), is_loopback("localhost"), is_loopback("0.0.0.0")
    (True, True, False)
    """
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"Cannot listen on {host}, port {port}: {error}. Choose others: --host, --port.") from error
    # Connections inherit it: an answer is sent in parts, and the second must not wait 40 ms for the first one's echo.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
