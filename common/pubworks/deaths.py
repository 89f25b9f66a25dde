"""What a process died of, in words."""

from __future__ import annotations

import signal

#: Signals that the kernel sends to a process for what its own code did.
_FAULTS = ("SIGSEGV", "SIGABRT", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP", "SIGSYS")


def cause_of_death(exit_code: int | None) -> str:
    """Return the likely cause of the end of a process; nothing where its exit code is not known.

    Args:
        exit_code: As ``subprocess`` and ``multiprocessing`` have it: a signal's number, negative, or a code.

    >>> cause_of_death(-11)
    'SIGSEGV: a crash of native code that it ran'
    >>> cause_of_death(-9)
    'SIGKILL: most likely the machine had no memory left'
    >>> cause_of_death(3), cause_of_death(None)
    ('exit code 3', '')
    """
    if exit_code is None:
        return ""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    name = signal.Signals(-exit_code).name
    if name in _FAULTS:
        return f"{name}: a crash of native code that it ran"
    return f"{name}: most likely the machine had no memory left" if name == "SIGKILL" else name
