"""Wrong input raises what Qiskit raises, before anything is stored."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import ClassicalRegister, Parameter
from qiskit.exceptions import QiskitError
from qiskit.primitives import BackendSamplerV2
from qiskit.primitives.containers import BindingsArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_aer import AerSimulator
from sqlalchemy import func, select

from pubworks.client import Client, Estimator, Sampler
from pubworks.errors import ConfigError, PubworksError, SubmissionError
from pubworks.store import tables

AER = AerSimulator()


@pytest.fixture(autouse=True)
def _nothing_stored(client: Client) -> Any:
    """Every test of this module must leave the database as empty as it was."""
    yield
    with client.store.read() as connection:
        for table in tables.metadata.sorted_tables:
            if table.name != "backends":
                assert connection.execute(select(func.count()).select_from(table)).scalar() == 0, table.name


def plain(*names: str) -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    for name in names or ("c",):
        circuit.add_register(ClassicalRegister(1, name))
    circuit.measure(0, 0)
    return circuit


def bound(count: int = 1) -> QuantumCircuit:
    circuit = plain()
    for number in range(count):
        circuit.rx(Parameter(f"p{number}"), 0)
    return circuit


#: What goes wrong, and the PUBs that do it.
PUBS: dict[str, Callable[[], Any]] = {
    "a circuit alone": plain,
    "a tuple alone": lambda: (bound(), [0.1]),
    "a tuple with shots alone": lambda: (plain(), None, 10),
    "None": lambda: None,
    "a number": lambda: 3,
    "None as a PUB": lambda: [None],
    "a number as a PUB": lambda: [3],
    "text as a PUB": lambda: ["circuit"],
    "an instruction": lambda: [plain().data[0]],
    "an empty tuple": lambda: [()],
    "a tuple of four": lambda: [(plain(), None, 10, 1)],
    "no circuit": lambda: [("circuit", None, 10)],
    "unbound parameters": lambda: [bound()],
    "too few values": lambda: [(bound(2), [0.1])],
    "too many values": lambda: [(plain(), [0.1])],
    "text as values": lambda: [(bound(), ["x"])],
    "None among values": lambda: [(bound(), [None])],
    "NaN among values": lambda: [(bound(), [[0.1], [float("nan")]])],
    "infinity among values": lambda: [(bound(), [[0.1], [float("inf")]])],
    "complex values": lambda: [(bound(), [1j])],
    "a parameter as a value": lambda: [(bound(), [Parameter("x")])],
    "a ragged array": lambda: [(bound(2), [[0.1, 0.2], [0.3]])],
    "values of another name": lambda: [(bound(), {"q": [0.1]})],
    "bindings of another name": lambda: [(bound(), BindingsArray({"q": [0.1]}))],
    "shapes that do not fit": lambda: [(bound(2), {"p0": [1, 2, 3], "p1": [1, 2]})],
    "zero shots": lambda: [(plain(), None, 0)],
    "negative shots": lambda: [(plain(), None, -1)],
    "shots as a float": lambda: [(plain(), None, 10.0)],
    "shots as text": lambda: [(plain(), None, "10")],
    "shots as a bool": lambda: [(plain(), None, True)],
    "a good PUB, then a bad one": lambda: [plain(), (plain(), None, 0)],
}


def raised(call: Callable[[], Any]) -> BaseException | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except Exception as error:
        return error
    return None


@pytest.mark.parametrize("name", PUBS)
def test_wrong_pubs(client: Client, name: str) -> None:
    theirs = raised(lambda: BackendSamplerV2(backend=AER).run(PUBS[name]()).result())
    ours = raised(lambda: Sampler(AER, client=client).run(PUBS[name]()))
    assert theirs is not None
    assert isinstance(ours, type(theirs)), f"{ours!r} instead of {theirs!r}"


@pytest.mark.parametrize("shots", [0, -3, 1.5, 10.0, "10", True, [10], np.float64(3)])
@pytest.mark.parametrize("place", ["argument", "option"])
def test_wrong_shots(client: Client, shots: Any, place: str) -> None:
    options = {"default_shots": shots} if place == "option" else {}
    arguments = {"shots": shots} if place == "argument" else {}
    theirs = raised(lambda: BackendSamplerV2(backend=AER, options=options).run([plain()], **arguments).result())
    ours = raised(lambda: Sampler(AER, options=options, client=client).run([plain()], **arguments))
    assert type(ours) is type(theirs)
    assert str(ours) == str(theirs)


@pytest.mark.parametrize("names", [("keys",), ("values", "c"), ("c", "items"), ("shape",), ("self",), ("_data",)])
def test_register_names_that_results_cannot_have(client: Client, names: tuple[str, ...]) -> None:
    theirs = raised(lambda: BackendSamplerV2(backend=AER).run([plain(*names)]).result())
    ours = raised(lambda: Sampler(AER, client=client).run([plain(*names)]))
    assert type(ours) is type(theirs) in (ValueError, TypeError)


@pytest.mark.parametrize("level", [0, 3, "1", 1.5])
def test_a_measurement_level_that_is_none(client: Client, level: Any) -> None:
    with pytest.raises(QiskitError, match="Unsupported meas_level"):
        Sampler(AER, options={"run_options": {"meas_level": level}}, client=client).run([plain()])


@pytest.mark.parametrize("options", [{"shots": 3}, {"default_shot": 3}, {"": 1}])
def test_an_unknown_option(client: Client, options: dict[str, Any]) -> None:
    theirs = raised(lambda: BackendSamplerV2(backend=AER, options=options))
    ours = raised(lambda: Sampler(AER, options=options, client=client))
    assert type(ours) is type(theirs) is TypeError


def test_an_unknown_option_is_told_with_those_there_are(client: Client) -> None:
    sampler = Sampler(AER, client=client)
    with pytest.raises(TypeError, match=r"no option 'shots'\. Options: default_shots, seed_simulator, run_options"):
        Sampler(AER, options={"shots": 3}, client=client)
    with pytest.raises(AttributeError, match="default_shot'"):
        sampler.options.default_shot = 3  # type: ignore[attr-defined]


@pytest.mark.parametrize("call", ["run", "plan"])
def test_the_bad_one_of_many_pubs_is_told(client: Client, call: str) -> None:
    with pytest.raises(ValueError, match="does not match") as bad:
        getattr(Sampler(AER, client=client), call)([plain(), plain(), bound()])
    assert bad.value.__notes__ == ["This is PUB 2, counted from 0."]
    with pytest.raises(ValueError, match="does not match") as bad:
        getattr(Estimator(AER, client=client), call)([(QuantumCircuit(1), "Z"), (QuantumCircuit(1), "ZZ")])
    assert bad.value.__notes__ == ["This is PUB 1, counted from 0."]


@pytest.mark.parametrize("name", ["shots", "memory", "seed_simulator"])
def test_a_run_option_that_the_sampler_sets_itself(client: Client, name: str) -> None:
    options = {"run_options": {name: 1}}
    theirs = raised(lambda: BackendSamplerV2(backend=AER, options=options).run([plain()]).result())
    ours = raised(lambda: Sampler(AER, options=options, client=client).run([plain()]))
    assert type(ours) is type(theirs) is TypeError
    assert name in str(ours)


def circular() -> dict[str, Any]:
    made: dict[str, Any] = {}
    made["me"] = made
    return made


@pytest.mark.parametrize(
    "run_options",
    [
        {"noise_model": AER}, {"x": np.arange(3)}, {"x": {1, 2}}, {"x": 1j}, {"x": b"1"}, circular(),
        {"x": float("nan")}, {"x": [float("inf")]},
    ],
)  # fmt: skip
def test_run_options_that_are_not_json(client: Client, run_options: dict[str, Any]) -> None:
    with pytest.raises(SubmissionError, match="must be JSON values"):
        Sampler(AER, options={"run_options": run_options}, client=client).run([plain()])


@pytest.mark.parametrize(("seed", "error"), [("7", TypeError), (1.5, TypeError), (-1, ValueError), (2**63, ValueError)])
def test_a_seed_that_is_none(client: Client, seed: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        Sampler(AER, options={"seed_simulator": seed}, client=client).run([plain()])


@pytest.mark.parametrize("backend", [3, object(), AerSimulator])
def test_what_is_no_backend(client: Client, backend: Any) -> None:
    with pytest.raises(TypeError, match="must be a BackendV2 or the name"):
        Sampler(backend, client=client)


def test_no_backend(client: Client) -> None:
    with pytest.raises(TypeError):
        Sampler(client=client)  # type: ignore[call-arg]


def test_an_unknown_backend(client: Client) -> None:
    with pytest.raises(ConfigError, match="Unknown backend 'aerr'; did you mean 'aer'"):
        Sampler("aerr", client=client)


def test_a_circuit_wider_than_the_backend(client: Client) -> None:
    wide = QuantumCircuit(AER.num_qubits + 1, 1, name="wide")
    wide.measure(0, 0)
    with pytest.raises(SubmissionError, match=r"PUB 1: circuit 'wide' has \d+ qubits, backend live.aer_simulator"):
        Sampler(AER, client=client).run([plain(), wide])


def test_more_shots_than_any_run_can_have(client: Client) -> None:
    with pytest.raises(SubmissionError, match="Ask for fewer shots"):
        Sampler(AER, client=client).run([(plain(), None, 2**63)])


def test_a_circuit_that_cannot_be_stored(client: Client) -> None:
    circuit = plain()
    circuit.metadata = {"when": object()}
    with pytest.raises(SubmissionError, match="cannot be stored as QPY"):
        Sampler(AER, client=client).run([circuit])


def test_a_warning_that_is_an_error(client: Client) -> None:
    with pytest.raises(UserWarning, match="no output classical registers"):
        Sampler(AER, client=client).run([QuantumCircuit(1)])


def test_every_wrong_input_is_a_value_or_a_type_or_ours() -> None:
    assert issubclass(SubmissionError, ValueError)
    assert issubclass(SubmissionError, PubworksError)
    assert SamplerPub.coerce(plain()).shots is None


@pytest.mark.parametrize(
    ("behaviour", "told"),
    [
        ({"control_flow": False}, "circuit 'dynamic' has control flow, which backend known does not run"),
        ({"mid_circuit": False}, "goes on with a qubit that it has measured; backend known measures at the end only"),
        ({"options": ["shots"]}, "Backend known takes no option noise; it takes shots. Leave it out of run_options"),
    ],
)
@pytest.mark.parametrize("primitive", [Sampler, Estimator])
def test_what_a_backend_is_known_not_to_do_is_refused_before_anything_is_stored(
    tmp_path: Path, primitive: Any, behaviour: dict[str, Any], told: str
) -> None:
    circuit = QuantumCircuit(1, 2, name="dynamic")
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(0)
    entry = {"factory": "qiskit_aer:AerSimulator", "behaviour": behaviour}
    pub = circuit if primitive is Sampler else (circuit, "Z")
    with Client(data_dir=tmp_path, backends={"known": entry}) as client:
        with pytest.raises(SubmissionError, match=told):
            primitive("known", options={"run_options": {"noise": 1}}, client=client).run([pub])
        assert not client.jobs()
