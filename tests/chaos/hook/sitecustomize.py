"""Runs first in each worker process of a chaos test: strikes at steps that the worker logs, and shifts its clock.

A file ``ACTION.EFFECT`` in the folder ``CHAOS_STEPS`` arms an effect for the first process that logs this action; that
process renames the file to ``ACTION.EFFECT.PID``, so that no other one meets it.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import time
from pathlib import Path

LOOK_S = 0.01


class Strike(logging.Handler):
    """Meets the effect that is armed for an action when that is logged."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def emit(self, record: logging.LogRecord) -> None:
        action = getattr(record, "action", None)
        for effect in EFFECTS if action else ():
            armed = self._folder / f"{action}.{effect}"
            taken = self._folder / f"{action}.{effect}.{os.getpid()}"
            try:
                armed.rename(taken)
            except OSError:
                continue
            EFFECTS[effect](taken)


def _kill(taken: Path) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _kill_worker(taken: Path) -> None:
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _freeze(taken: Path) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _wait(taken: Path) -> None:
    while taken.exists():
        time.sleep(LOOK_S)


EFFECTS = {"kill": _kill, "kill_worker": _kill_worker, "freeze": _freeze, "wait": _wait}

if "CHAOS_STEPS" in os.environ:
    faulthandler.register(signal.SIGUSR2, all_threads=True)  # what does a process do that seems to hang?
    _log = logging.getLogger("pubworks")
    _log.setLevel(logging.DEBUG)
    _log.addHandler(Strike(Path(os.environ["CHAOS_STEPS"])))

if "CHAOS_SKEW_S" in os.environ:
    _true_time, _skew_s = time.time, float(os.environ["CHAOS_SKEW_S"])
    time.time = lambda: _true_time() + _skew_s
