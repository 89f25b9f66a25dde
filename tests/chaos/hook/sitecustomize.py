"""Runs first in each worker process of a chaos test: strikes at steps that the worker logs, and shifts its clock.

A file ``ACTION.EFFECT`` in the folder ``CHAOS_STEPS`` arms an effect for the first process that logs this action; that
process renames the file to ``ACTION.EFFECT.PID``, so that no other one meets it.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

LOOK_S = 0.01

#: Classes whose objects are written to the log when a stage hangs.
TELL = ("Runner", "Watch", "RunsHere", "Desk")


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
    # To this thread: the main one may take some milliseconds to notice, in which this one would go on.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def _wait(taken: Path) -> None:
    while taken.exists():
        time.sleep(LOOK_S)


def _tell(number: int, frame: object) -> None:
    """Write to the log what a process does that seems to hang."""
    faulthandler.dump_traceback(sys.__stderr__, all_threads=True)
    for thing in gc.get_objects():
        if type(thing).__name__ in TELL:
            print(time.monotonic(), type(thing).__name__, vars(thing), file=sys.__stderr__, flush=True)


EFFECTS = {"kill": _kill, "kill_worker": _kill_worker, "freeze": _freeze, "wait": _wait}

if "CHAOS_STEPS" in os.environ:
    signal.signal(signal.SIGUSR2, _tell)
    _log = logging.getLogger("pubworks")
    _log.setLevel(logging.DEBUG)
    _log.addHandler(Strike(Path(os.environ["CHAOS_STEPS"])))

if "CHAOS_SKEW_S" in os.environ:
    _true_time, _skew_s = time.time, float(os.environ["CHAOS_SKEW_S"])
    time.time = lambda: _true_time() + _skew_s
