"""Workers that claim, crash, come late and race in any order never break what the store promises."""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from pubworks.store.store import Store
from pubworks.testing.store.machine import StoreMachine


def test_workers_keep_every_promise(store: Store) -> None:
    run_state_machine_as_test(
        lambda: StoreMachine(store),
        settings=settings(
            max_examples=40,
            stateful_step_count=50,
            phases=(Phase.explicit, Phase.generate),  # shrinking takes minutes
        ),
    )
