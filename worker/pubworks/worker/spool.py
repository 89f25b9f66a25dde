"""Provider ids that could not be stored because the database was away: on disk until the keeper has stored them."""

from __future__ import annotations

import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from pubworks.store import doubts
from pubworks.store.records import Claim
from pubworks.store.store import Store
from pubworks.telemetry import log


@dataclass(frozen=True)
class Spool:
    """A folder of accepted runs, one file each.

    Args:
        folder: Where; the workers of one machine may share it.
    """

    folder: Path

    def keep(self, claim: Claim, provider_job_id: str) -> None:
        """Write down that the provider took a run; it is on the disk when this returns."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note = {"batch_id": claim.batch_id, "fence": claim.fence, "provider_job_id": provider_job_id}
        path = self.folder / f"{claim.batch_id}-{claim.fence}.json"
        partial = path.with_suffix(".partial")
        with partial.open("w") as file:
            json.dump(note, file)
            file.flush()
            os.fsync(file.fileno())
        partial.rename(path)
        _sync(self.folder)
        log("spool.kept", logging.WARNING, batch=claim.batch_id, provider_job_id=provider_job_id)

    def replay(self, store: Store) -> None:
        """Store what was kept.

        Raises:
            StoreUnreachable: The database is still away; everything stays.
        """
        for path in sorted(self.folder.glob("*.json")):
            note = json.loads(path.read_text())
            with store.write() as connection:
                adopted = doubts.adopt(connection, note["batch_id"], note["fence"], note["provider_job_id"])
            path.unlink(missing_ok=True)
            log("spool.replayed", batch=note["batch_id"], adopted=adopted)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
