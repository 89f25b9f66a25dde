"""What the store promises, to be checked on any database.

``check`` reads a whole database and says what is wrong with it; ``StoreMachine`` (it needs Hypothesis) has workers
claim, crash, come late and race in any order, and checks after every step; ``Calls`` makes each query a transaction
and turns the database's clock.
"""

from pubworks.testing.store.calls import Calls, draft, one_each
from pubworks.testing.store.promises import Snapshot, check

__all__ = ["Calls", "Snapshot", "check", "draft", "one_each"]
