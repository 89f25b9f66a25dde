"""The process in which a backend is probed: its code may crash or hang, and must not disturb who asks."""

from __future__ import annotations

import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any

from pubworks.backends.spec import BackendSpec
from pubworks.deaths import cause_of_death
from pubworks.errors import PubworksError

#: Seconds beyond those of a run: for imports, and for circuits to be made.
_MARGIN_S = 60.0

#: How a message of the process begins: it asks for leave, it is done, or it failed.
_MAY_I, _DONE, _FAILED = "may i", "done", "failed"


class Died(Exception):
    """The process ended, or was ended, before it answered; the text says of what."""


class Child:
    """A process of its own, with one backend.

    Args:
        spec: The backend, which is built at the first question.
        permit: Called with a kind of call, before the process makes one; returns when it may.
        timeout_s: Seconds that a run may take.
    """

    def __init__(self, spec: BackendSpec, permit: Callable[[str], None], timeout_s: float) -> None:
        self._permit, self._timeout_s = permit, timeout_s
        spawn = multiprocessing.get_context("spawn")  # a fork would inherit what this process did with qiskit
        self._pipe, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, spec, timeout_s), daemon=True)
        self._process.start()
        theirs.close()

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def ask(self, question: str, *arguments: Any) -> Any:
        """Return what the function of this name in ``work`` gives for the backend.

        Raises:
            PubworksError: It raised that.
            Died: There is no answer.
        """
        try:
            self._pipe.send((question, arguments))
            while (message := self._next())[0] == _MAY_I:
                self._permit(message[1])
                self._pipe.send(None)
        except (EOFError, OSError):
            self._process.join(_MARGIN_S)
            raise Died(f"its code ended the process: {cause_of_death(self._process.exitcode)}") from None
        if message[0] == _FAILED:
            raise message[1]
        return message[1]

    def _next(self) -> tuple[str, Any]:
        if not self._pipe.poll(self._timeout_s + _MARGIN_S):
            raise Died(f"its code did not come back within {self._timeout_s + _MARGIN_S:g} s")
        return self._pipe.recv()  # type: ignore[no-any-return]


def _serve(pipe: Connection, spec: BackendSpec, timeout_s: float) -> None:
    """Answer questions, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who asks sees to it
    os.dup2(2, 1)  # what a provider prints is no answer of ours
    warnings.simplefilter("ignore")
    from pubworks.backends.probing.work import Desk

    def permit(kind: str) -> None:
        pipe.send((_MAY_I, kind))
        pipe.recv()

    desk = Desk(spec, permit, timeout_s)
    while True:
        try:
            question, arguments = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((_DONE, getattr(desk, question)(*arguments)))
        except Exception as error:
            told = error if isinstance(error, PubworksError) else RuntimeError(f"{type(error).__name__}: {error}")
            pipe.send((_FAILED, told))
