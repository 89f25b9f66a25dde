"""Backends by name: found, made, limited, and told apart."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pubworks.backends import registry
from pubworks.backends.causes import Phase, judge
from pubworks.backends.spec import BackendSpec, Limits
from pubworks.errors import ConfigError
from pubworks.settings import Settings, load_settings
from pubworks.telemetry import masked

MAKER = "collections:OrderedDict"  # takes any keyword arguments and keeps them


def settings(**backends: dict[str, Any]) -> Settings:
    return load_settings(backends=backends)


def test_entry_points_are_registered() -> None:
    known = registry.registered(settings())
    assert known["aer"].factory == "qiskit_aer:AerSimulator"
    assert known["basic"].build().name == "basic_simulator"


def test_the_configuration_wins_over_an_entry_point() -> None:
    found = registry.find(settings(aer={"factory": MAKER, "max_shots": 5}), "aer")
    assert found == BackendSpec("aer", MAKER, {}, {}, Limits(max_shots=5))


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("aerr", r"Unknown backend 'aerr'; did you mean 'aer'\? Known: aer, aria, basic. Add a \[backends.aerr\]"),
        ("zzzzzzz", r"Unknown backend 'zzzzzzz'. Known: aer, aria, basic."),
    ],
)
def test_an_unknown_name_lists_the_known_ones(name: str, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        registry.find(settings(aria={"factory": MAKER}), name)


def test_arguments_and_secrets_make_the_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", "hidden")
    entry = {"factory": MAKER, "arguments": {"name": "x"}, "secrets": {"token": "LAB_TOKEN"}}
    made = registry.find(settings(lab=entry), "lab").build()
    assert made == {"name": "x", "token": "hidden"}


def test_a_secret_that_is_not_set_is_told_by_its_variable() -> None:
    entry = {"factory": MAKER, "secrets": {"token": "LAB_TOKEN", "url": "LAB_URL"}}
    with pytest.raises(ConfigError, match="'lab' needs the environment variable LAB_TOKEN, LAB_URL"):
        registry.find(settings(lab=entry), "lab").build()


def test_a_factory_that_fails_shows_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", "hidden")
    spec = BackendSpec("lab", "fractions:Fraction", {"numerator": "x"}, {"denominator": "LAB_TOKEN"})
    with pytest.raises(ConfigError, match=r"Fraction failed with TypeError.*\(numerator, denominator\)") as caught:
        spec.build()
    assert "hidden" not in str(caught.value)


def test_no_error_repeats_what_a_backend_was_built_with(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAB_TOKEN", "abcdef-123")
    arguments = {"login": {"user": "ann", "keys": ["qrs-456-tuv"]}}
    spec = BackendSpec("lab", "json:loads", arguments, {"s": "LAB_TOKEN"})
    with pytest.raises(ConfigError) as caught:
        spec.build()
    told = judge(RuntimeError("no rights: abcdef-123, nor qrs-456-tuv, of ann"), Phase.SUBMIT).message
    assert told == "RuntimeError: no rights: ***, nor ***, of ann"
    assert "abcdef-123" not in masked(f"{caught.value} abcdef-123")


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("no_such_package.x:make", "cannot load no_such_package.x:make"),
        ("math:no_such_function", "cannot load math:no_such_function"),
        ("math:pi", "math:pi failed with TypeError"),
    ],
)
def test_a_factory_that_cannot_be_used_is_told(factory: str, told: str) -> None:
    with pytest.raises(ConfigError, match=f"'lab': {told}"):
        BackendSpec("lab", factory).build()


def test_a_method_can_be_a_factory() -> None:
    assert BackendSpec("lab", "collections:OrderedDict.fromkeys", {"iterable": "a"}).build() == {"a": None}


def test_another_way_to_make_it_is_another_backend() -> None:
    spec = BackendSpec("lab", MAKER, {"a": 1, "b": 2})
    assert spec.digest == replace(spec, arguments={"b": 2, "a": 1}).digest
    assert spec.digest == replace(spec, limits=Limits(3)).digest  # limits are for planning only
    assert spec.digest != replace(spec, arguments={"a": 1}).digest
    assert spec.digest != replace(spec, factory="collections:Counter").digest
