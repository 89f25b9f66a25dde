"""``python -m pubworks.testing.qpu``: serve a simulated QPU on 127.0.0.1 until SIGTERM or Ctrl-C."""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
from contextlib import ExitStack
from pathlib import Path

from pubworks.testing.qpu.server import serve
from pubworks.testing.qpu.service import Qpu
from pubworks.testing.qpu.settings import QpuSettings


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m pubworks.testing.qpu", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--settings", default="{}", metavar="FILE_OR_JSON", help="settings at the start")
    parser.add_argument("--log", type=Path, metavar="FILE.jsonl", help="append a line for each request")
    flags = parser.parse_args()
    asyncio.run(_serve(flags.port, _settings(flags.settings), flags.log))


def _settings(file_or_json: str) -> QpuSettings:
    text = file_or_json if file_or_json.lstrip().startswith("{") else Path(file_or_json).read_text()
    return QpuSettings.model_validate(json.loads(text))


async def _serve(port: int, settings: QpuSettings, log: Path | None) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    with ExitStack() as stack:
        qpu = Qpu(settings, stack.enter_context(log.open("a")) if log else None)
        runner, port = await serve(qpu, port)
        print(f"listening on http://127.0.0.1:{port}", flush=True)
        await qpu.simulator.start()
        await stop.wait()
        await runner.cleanup()
        await qpu.close()


if __name__ == "__main__":
    main()
