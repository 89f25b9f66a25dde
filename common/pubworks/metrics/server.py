"""``/metrics`` at a port of its own: of a worker, its processes and the fleet, and of the server."""

from __future__ import annotations

import os
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from pubworks.errors import ConfigError
from pubworks.telemetry import listen

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


class MetricsServer:
    """Answers Prometheus for a worker and its forked children.

    Made before the children are forked, so that they count into the same folder; started after.

    Args:
        host: The address to listen on.
        port: The port.

    Raises:
        ConfigError: Nothing can listen there.
    """

    def __init__(self, host: str, port: int) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="pubworks-metrics-")
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = self._folder.name  # read when the library is imported
        from prometheus_client import CollectorRegistry
        from prometheus_client.multiprocess import MultiProcessCollector

        from pubworks.metrics.process import Counts

        listen(Counts())
        of_processes: Any = MultiProcessCollector
        self._values = _Values([of_processes(None, self._folder.name)])
        registry = CollectorRegistry()
        registry.register(self._values)
        try:
            self._server = _listening(host, port, registry)
        except ConfigError:
            self._folder.cleanup()
            raise
        busy = self._values.busy
        os.register_at_fork(before=busy.acquire, after_in_parent=busy.release, after_in_child=self._leave_to_parent)

    def start(self, collector: Any) -> None:
        """Answer, with what this collector gives too."""
        self._values.collectors.append(collector)
        threading.Thread(target=self._server.serve_forever, name="pubworks-metrics", daemon=True).start()

    def stop(self) -> None:
        """Answer no more, and remove what the processes counted."""
        self._server.shutdown()
        self._server.server_close()
        self._folder.cleanup()

    def _leave_to_parent(self) -> None:
        self._values.busy.release()
        self._server.socket.close()


def registry_of(collector: Any) -> CollectorRegistry:
    """Return what this process counts from now on, and what a collector gives."""
    from prometheus_client import CollectorRegistry

    from pubworks.metrics.process import Counts

    registry = CollectorRegistry()
    listen(Counts(registry))
    registry.register(_Values([collector]))
    return registry


@contextmanager
def showing(host: str, port: int, registry: CollectorRegistry) -> Iterator[None]:
    """Answer Prometheus as long as the context lasts.

    Raises:
        ConfigError: Nothing can listen there.
    """
    server = _listening(host, port, registry)
    thread = threading.Thread(target=server.serve_forever, name="pubworks-metrics", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _listening(host: str, port: int, registry: CollectorRegistry) -> WSGIServer:
    from prometheus_client import make_wsgi_app
    from prometheus_client.exposition import ThreadingWSGIServer

    try:
        return make_server(host, port, make_wsgi_app(registry), ThreadingWSGIServer, _Quiet)
    except OSError as error:
        raise ConfigError(
            f"Metrics cannot be shown at {host}:{port}: {error.strerror or error}. Choose another port with "
            "--metrics-port N, or mend PUBWORKS_METRICS_PORT and PUBWORKS_METRICS_HOST."
        ) from error


class _Values:
    """What several collectors give, gathered when somebody looks."""

    def __init__(self, collectors: list[Any]) -> None:
        self.collectors = collectors
        #: Held while values are gathered: a process that is forked meanwhile would inherit what is half done.
        self.busy = threading.Lock()

    def describe(self) -> list[Any]:
        """Name nothing beforehand: that would ask the database."""
        return []

    def collect(self) -> list[Any]:
        """Return the values."""
        with self.busy:
            return [family for collector in self.collectors for family in collector.collect()]


class _Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Write nothing: a look every few seconds is no news."""
