"""``pubworks backends probe``: how a backend behaves, found out by tiny circuits."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pubworks.cli import complete, exits, render
from pubworks.cli.consent import ask
from pubworks.cli.jobs import AsJson
from pubworks.cli.session import opened
from pubworks.telemetry import masked

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pubworks.backends.probing.findings import Finding, Report, Survey
    from pubworks.backends.spec import BackendSpec

Name = Annotated[str, typer.Argument(metavar="NAME", help="The backend's name.", autocompletion=complete.backends)]


def probe(
    name: Name,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what it would run and cost, and run nothing.")
    ] = False,
    timeout: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="How long a run may take.")] = 600.0,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before runs that may cost.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find out how a backend behaves, with tiny circuits.

    What is found is written to pubworks.toml.
    What the settings or its adapter say already is believed and not tried; take a key out of the settings to have it
    tried again. Limits of the fleet hold. Its code runs in a process of its own.
    """
    from pubworks.backends import registry
    from pubworks.backends.probing.probe import Probe
    from pubworks.views.probing import permission

    with opened() as session:
        spec = registry.find(session.settings, name)
        with Probe(spec, permission(session, spec), timeout, lambda trial: render.say(f"trying: {trial}")) as made:
            survey = made.survey()
            if dry_run:
                _show_survey(spec, survey, as_json=as_json)
                return
            if not (yes or survey.local or spec.policy.free):
                ask(f"Probing {name}", f"{_told(survey)} Go on?", otherwise="Nothing was run.")
            report = made.run(survey)
    _finish(spec, report, as_json=as_json)


def _told(survey: Survey) -> str:
    cost = f"at most {survey.cost}, an estimate" if survey.cost else "nobody says what that costs"
    if survey.local and survey.cost is None:
        cost = "they run in a process here"
    return f"At most {survey.num_runs} runs with {survey.num_shots} shots: {cost}."


def _show_survey(spec: BackendSpec, survey: Survey, *, as_json: bool) -> None:
    if as_json:
        document = {"backend": spec.name, "trials": survey.trials, "runs": survey.num_runs, "shots": survey.num_shots}
        render.emit({**document, "cost": survey.cost and asdict(survey.cost), "local": survey.local})
        return
    runs = [(run.circuits, run.shots, count) for run, count in survey.runs]
    render.show(_table(survey.findings), render.table(("CIRCUITS", "SHOTS OF EACH", "RUNS, AT MOST"), runs))
    render.say(f"It would try: {', '.join(survey.trials) or 'nothing, as all is said'}. {_told(survey)}")


def _table(findings: Sequence[Finding]) -> Any:
    rows = [(one.what, _words(one.value), masked(one.how)) for one in findings]
    return render.table(("BEHAVIOUR", "VALUE", "HOW IT IS KNOWN"), rows)


def _words(value: Any) -> str | None:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return ", ".join(value) if isinstance(value, list | tuple) else None if value is None else str(value)


def _finish(spec: BackendSpec, report: Report, *, as_json: bool) -> None:
    """Write down what was found, and show it."""
    from pubworks.views.probing import write

    path = None if report.trouble else write(spec, report.findings)
    if as_json:
        render.emit({"backend": spec.name, **report.document(), "written": path and str(path)})
    else:
        render.show(_table(report.findings))
    cost = f", about {report.cost}" if report.cost else ""
    render.say(f"{report.num_runs} runs{cost}.")
    if report.trouble:
        render.fail(f"Backend {spec.name} cannot be probed: {report.trouble}. Nothing was written.")
        raise typer.Exit(exits.FAILED)
    render.say(f"Written to [backends.{spec.name}] of {path}. Workers that run take it up when they are started again.")
