"""Provider ids that could not be stored because the database was away: on disk until the keeper has stored them."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import dataclass
from pathlib import Path

from pubworks.settings import Settings
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

    @classmethod
    def of(cls, settings: Settings) -> Spool:
        """Return the spool of a database; notes of another one must not be read."""
        mark = hashlib.sha256(settings.database_url.encode()).hexdigest()[:12]
        return cls(settings.data_dir / "spool" / mark)

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
        log("spool.kept", logging.WARNING, batch=claim.batch_id, backend=claim.backend, provider_job_id=provider_job_id)

    def replay(self, store: Store) -> None:
        """Store what was kept.

        Raises:
            StoreUnreachable: The database is still away; everything stays.
        """
        for path in sorted(self.folder.glob("*.json")):
            try:
                note = json.loads(path.read_text())
                batch_id, fence, provider_job_id = note["batch_id"], note["fence"], note["provider_job_id"]
            except FileNotFoundError:
                continue  # another keeper was faster
            except (ValueError, KeyError, TypeError) as error:
                log("spool.unreadable", logging.ERROR, path=path, error=error)
                path.rename(path.with_suffix(".unreadable"))
                continue
            with store.write() as connection:
                adopted = doubts.adopt(connection, batch_id, fence, provider_job_id)
                if not adopted:  # another run of it came first: this one is paid for, and not needed
                    doubts.keep_id(connection, batch_id, fence, provider_job_id)
            path.unlink(missing_ok=True)
            level = logging.INFO if adopted else logging.ERROR
            log("spool.replayed", level, batch=batch_id, provider_job_id=provider_job_id, adopted=adopted)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
