"""``pubworks serve``."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Annotated

import typer

from pubworks.cli import render
from pubworks.cli.session import check_broker, check_lasts
from pubworks.errors import ConfigError

if TYPE_CHECKING:
    from pubworks.settings import Settings


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on; another than this machine's own needs a token.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 chooses a free one.")] = 8080,
    metrics_port: Annotated[
        int | None,
        typer.Option(min=1, max=65535, help="Answer Prometheus at /metrics of this port too, without a token."),
    ] = None,
) -> None:
    """Serve the REST API and the page, until Ctrl-C or SIGTERM.

    What was asked by then is finished. Workers run beside it.
    """
    from pubworks.settings import load_settings

    settings = load_settings()
    check_lasts(settings)
    check_broker(settings)
    try:
        import uvicorn  # noqa: F401
        from fastapi import FastAPI  # noqa: F401
    except ImportError as error:
        raise ConfigError("The server needs more packages: pip install 'pubworks[web]'.") from error
    from pubworks.web.server import serve as run

    _set_up_log(settings)
    run(settings, host, port, _tell, metrics_port)


def _set_up_log(settings: Settings) -> None:
    """Write each line in the chosen form to standard error, and no secret in it."""
    from pubworks.settings import secrets_of
    from pubworks.telemetry import JsonLines, TextLines, Veil

    veil = Veil(secrets_of(settings))
    plain = logging.Formatter("%(asctime)s %(levelname)s %(message)s")
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines(veil) if settings.log_format == "json" else TextLines(plain, veil))
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("pubworks").setLevel(logging.INFO)


def _tell(url: str) -> None:
    render.say(f"pubworks answers at {url}; the page is there too; what the API can do: {url}/v1/openapi.json")
