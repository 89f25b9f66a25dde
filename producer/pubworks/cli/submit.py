"""``pubworks submit``."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pubworks.cli import complete, render, story
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import check_broker, reached
from pubworks.cli.watch import conclude, follow
from pubworks.errors import SubmissionError
from pubworks.states import Mode
from pubworks.views import documents
from pubworks.views.session import JobView

if TYPE_CHECKING:
    from pubworks.cli.inputs import Input
    from pubworks.ledger.contract import Ledger
    from pubworks.store.records import SessionRecord

#: Largest number of shots, beyond which a slip of the finger is likelier than a wish, and largest seed: an int in C.
_MOST_SHOTS = 10**12
_LARGEST_SEED = 2**31 - 1


Files = Annotated[
    list[Path],
    typer.Argument(metavar="FILE_OR_DIR", help="QPY (.qpy) or OpenQASM 3 (.qasm) files, or folders of them."),
]
BACKEND = typer.Option(
    "--backend", "-b", help="Name of the backend; see `pubworks backends`.", autocompletion=complete.backends
)
Backend = Annotated[str, BACKEND]
Values = Annotated[
    Path | None,
    typer.Option(
        help="Parameter values for the circuits that have parameters: a .npy or .json array of shape "
        "(..., parameters), in Qiskit's order of circuit.parameters, or a JSON object {name: values}."
    ),
]
Shots = Annotated[int, typer.Option(min=1, max=_MOST_SHOTS, help="Shots of each circuit.")]
Seed = Annotated[int | None, typer.Option(min=0, max=_LARGEST_SEED, help="Seed, where the backend is a simulator.")]


def submit(
    files: Files,
    *,
    backend: Annotated[str | None, BACKEND] = None,
    group: Annotated[
        str | None,
        typer.Option(
            "--session",
            help="Instead of a backend: id of the session or batch to submit to.",
            autocompletion=complete.session_ids,
        ),
    ] = None,
    values: Values = None,
    shots: Shots = 1024,
    seed: Seed = None,
    name: Annotated[str | None, typer.Option(help="A name for people; by default made from the files'.")] = None,
    tags: Annotated[
        list[str] | None,
        typer.Option("--tag", help="A word to find it by; may be repeated.", autocompletion=complete.tags),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option("--idempotency-key", help="The same key and circuits again are the same job, not a second one."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Watch the job until it ends.")] = False,
    as_json: AsJson = False,
) -> None:
    """Submit circuits as one job, and print its id.

    Every circuit becomes one PUB, in the order of the files.
    """
    options = {"default_shots": shots, "seed_simulator": seed}
    if (backend is None) == (group is None):
        raise typer.BadParameter("Give either --backend or --session.")
    with reached() as ledger:
        aim = backend or ledger.session(ledger.find_session(group or ""))
        _check_place(ledger, aim)
        labels = {"name": name or _name(files), "tags": tags, "idempotency_key": key}
        view = ledger.view(_store(files, values, aim=aim, options=options, labels=labels))
        if not as_json:
            typer.echo(view.record.id)
        if wait:
            view = _wait(ledger, view, as_json)
        elif as_json:
            render.emit(documents.of_view(view))
        if not wait and not view.record.state.is_final and not view.num_workers:
            render.say(f"No worker serves {view.record.backend} now. {story.how_to_run(view)}")
    if wait:
        conclude(view)


def _check_place(ledger: Ledger, aim: str | SessionRecord) -> None:
    """Raise where the job would not get on, before Qiskit is loaded."""
    from pubworks.settings import load_settings

    ledger.enter(aim if isinstance(aim, str) else aim.backend)
    check_broker(load_settings())


def _store(
    files: Sequence[Path], values: Path | None, *,
    aim: str | SessionRecord, options: dict[str, int | None], labels: dict[str, Any],
) -> str:  # fmt: skip
    """Store the job and return its id; nothing runs here yet."""
    from pubworks.cli.inputs import bind, read_inputs
    from pubworks.client import Batch, Client, Sampler
    from pubworks.client import Session as Group

    inputs = read_inputs(files)
    with explained(inputs), Client(works=False) as client:
        kind = Batch if not isinstance(aim, str) and aim.mode == Mode.BATCH else Group
        mode = aim if isinstance(aim, str) else kind.from_id(aim.id, client)
        job = Sampler(mode, options=options, client=client).run(bind(inputs, values), **labels)
        return str(job.job_id())


def _wait(ledger: Ledger, view: JobView, as_json: bool) -> JobView:
    try:
        view = follow(ledger, view.record.id)
    finally:  # the id must come out also when the waiting is interrupted
        if as_json:
            render.emit(documents.of_view(ledger.view(view.record.id)))
    return view


def _name(files: Sequence[Path]) -> str:
    first = files[0].resolve().name
    return first if len(files) == 1 else f"{first} and {len(files) - 1} more"


@contextmanager
def explained(inputs: Sequence[Input]) -> Iterator[None]:
    """Turn what Qiskit raises and warns of into words about the files."""
    from qiskit.exceptions import QiskitError

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        try:
            yield
        except (QiskitError, TypeError, ValueError) as error:
            prefix = "" if isinstance(error, SubmissionError) else "The circuits cannot be submitted: "
            raise SubmissionError(f"{prefix}{error}{_origin(str(error), inputs)}") from error
    for warning in caught:
        render.say(f"warning: {warning.message}{_origin(str(warning.message), inputs)}")


def _origin(message: str, inputs: Sequence[Input]) -> str:
    """Return the file of the PUB that a message is about."""
    found = re.search(r"PUB (\d+)|(\d+)-th pub", message)
    position = int(found[1] or found[2]) if found else len(inputs)
    return f" (PUB {position} is from {inputs[position].path}.)" if position < len(inputs) else ""
