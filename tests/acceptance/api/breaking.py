"""A way to a server on which connections break where a test wants it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit


@dataclass
class Breaking:
    """A TCP proxy; each connection takes the next break, and once there are none, is whole."""

    target: tuple[str, int]
    listener: socket.socket
    #: Bytes of the request, or of the answer, after which a connection ends.
    breaks: deque[tuple[str, int]] = field(default_factory=deque)
    #: Breaks that happened.
    broken: list[tuple[str, int]] = field(default_factory=list)

    @property
    def url(self) -> str:
        """The URL at which the server is reached over it."""
        return f"http://127.0.0.1:{self.listener.getsockname()[1]}"

    def serve(self) -> None:
        """Take connections until the listener is closed."""
        with contextlib.suppress(OSError):
            while True:
                near, _ = self.listener.accept()
                threading.Thread(target=self._carry, args=(near,), daemon=True).start()

    def _carry(self, near: socket.socket) -> None:
        end = self.breaks.popleft() if self.breaks else None
        with contextlib.suppress(OSError), near, socket.create_connection(self.target) as far:
            ways = [("request", near, far), ("answer", far, near)]
            threads = [threading.Thread(target=self._pump, args=(*way, end), daemon=True) for way in ways]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()

    def _pump(self, way: str, source: socket.socket, sink: socket.socket, end: tuple[str, int] | None) -> None:
        left = end[1] if end is not None and end[0] == way else None
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if left is not None and len(data) >= left:
                    sink.sendall(data[:left])
                    self.broken.append(end)  # type: ignore[arg-type]
                    break
                sink.sendall(data)
                left = None if left is None else left - len(data)
        for one in (source, sink):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def breaking(url: str, *breaks: tuple[str, int]) -> Iterator[Breaking]:
    """Give a way to a server, on which the first connections break."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Breaking((parts.hostname, parts.port), listener, deque(breaks))
        thread = threading.Thread(target=proxy.serve, daemon=True)
        thread.start()
        try:
            yield proxy
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)
