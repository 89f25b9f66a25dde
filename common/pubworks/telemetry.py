"""One vocabulary for the log: every line of pubworks carries ``action`` and the ids it is about.

======================= ==========================================================
action                  extra fields
======================= ==========================================================
``job.submitted``       job, batches
``batch.claimed``       batch, backend, worker, attempt
``batch.done``          batch, backend, seconds
``batch.failed``        batch, backend, error
``batch.released``      reason, count
``backend.unbuildable`` backend, error
``keeper.rang``         backend, count
``keeper.error``        error
``store.away``          error
``worker.child_died``   owner
``worker.grace_over``   worker, seconds
======================= ==========================================================
"""

from __future__ import annotations

import logging
from typing import Any

_log = logging.getLogger("pubworks")


def log(action: str, level: int = logging.INFO, **fields: Any) -> None:
    """Write one log line with its action and ids, as text and as structured fields."""
    if _log.isEnabledFor(level):
        text = " ".join(f"{key}={value}" for key, value in fields.items())
        _log.log(level, "%s %s", action, text, extra={"action": action, **{f"pw_{k}": v for k, v in fields.items()}})
