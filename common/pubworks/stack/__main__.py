"""``python -m pubworks.stack FOLDER WORKERS CONCURRENCY GRACE_S PORT``: what ``pubworks up`` leaves behind."""

from __future__ import annotations

import sys
from pathlib import Path

from pubworks.errors import PubworksError
from pubworks.stack.place import Place
from pubworks.stack.supervisor import Supervisor, tell


def main() -> int:
    """Run the supervisor; returns its exit code."""
    folder, num_workers, concurrency, grace_s, port = sys.argv[1:]
    supervisor = Supervisor(
        Place(Path(folder)), int(num_workers), int(concurrency) or None, float(grace_s), port=int(port) or None
    )
    try:
        supervisor.run()
    except PubworksError as error:
        tell(f"error: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
