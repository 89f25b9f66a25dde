"""Planning before paying, from the command line."""

from __future__ import annotations

from typing import Any

import numpy as np

CONFIG = """
[backends.aria]
factory = "qiskit.providers.basic_provider:BasicSimulator"
max_shots = 400
price = { per_circuit = 0.3, per_shot = 0.01 }

[backends.broken]
factory = "qiskit.providers.basic_provider:BasicSimulator"
price = "cli_backends:no_such_price"
"""


def test_a_plan_says_what_submit_then_does(place: Any) -> None:
    (place.folder / "pubworks.toml").write_text(CONFIG)
    np.save("values.npy", [[0.0, 0.0], [np.pi, 0.0]])
    what = ("mixed.qpy", "--backend", "aria", "--values", "values.npy", "--shots", "1000", "--seed", "3")
    planned = place.run("plan", *what)
    assert (planned.code, planned.err) == (0, "")
    assert "2 more, for max_shots 400 (of the settings)" in planned.out
    assert "unknown: aria has done no run yet" in planned.out
    assert "about 32.70 USD" in planned.out
    plan = place.run("plan", *what, "--json").json
    assert place.run("list", "--json").json == {"jobs": []}, "a plan stores no job"
    assert (plan["num_batches"], plan["circuits"], plan["shots"]) == (3, 9, 3000)
    assert round(plan["estimated_cost"]["amount"], 9) == 32.7
    assert place.run("submit", *what, "--wait", "--json").json["num_batches"] == 3
    after = place.run("plan", *what, "--json").json
    assert after["batches"] == plan["batches"]
    assert after["estimated_seconds"] > 0
    assert after["known_from_runs"] == 3


def test_a_plan_refuses_what_submit_refuses(place: Any) -> None:
    (place.folder / "pubworks.toml").write_text(CONFIG)
    assert place.run("plan", "bell.qpy", "--backend", "arya").code == 2
    assert "did you mean 'aria'?" in place.run("plan", "bell.qpy", "--backend", "arya").err
    assert place.run("plan", "turn.qpy", "--backend", "aria").code == 2
    assert "Give their values with --values" in place.run("plan", "turn.qpy", "--backend", "aria").err
    assert place.run("plan", "nothing.qpy", "--backend", "aria").code == 2
    broken = place.run("plan", "bell.qpy", "--backend", "broken")
    assert broken.code == 2
    assert "Price of backend 'broken': cannot load cli_backends:no_such_price" in broken.err
    assert place.rows() == 0
