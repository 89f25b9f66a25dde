"""The command line: what there is, and how errors end it.

Nothing heavy is imported here: ``pubworks --help`` must answer at once. Every command imports what it needs.
"""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from pubworks.cli import (
    backends,
    cancel,
    config,
    db,
    demo,
    doctor,
    exits,
    fleet,
    held,
    jobs,
    modes,
    plan,
    render,
    result,
    retry,
    serve,
    share,
    stack,
    submit,
    timeline,
    token,
    watch,
    worker,
)
from pubworks.errors import PubworksError


class _Commands(TyperGroup):
    """The commands; the one place where an error becomes a line on standard error and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except PubworksError as error:
            render.fail(str(error))
            raise typer.Exit(exits.code_of(error)) from None
        except KeyboardInterrupt:
            raise typer.Exit(exits.INTERRUPTED) from None


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(version("pubworks"))
        raise typer.Exit


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    rich_markup_mode=None,  # rich would double the time of --help
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 job failed or partial, 2 usage, 3 not found, 4 timed out waiting, 5 broker or database "
    "unreachable, 6 schema out of date, 130 interrupted.",
)


@app.callback()
def pubworks(
    _version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """A durable queue between Qiskit primitives and any backend that has only backend.run."""


app.command()(submit.submit)
app.command()(plan.plan)
app.command()(jobs.status)
app.command()(watch.watch)
app.command()(result.result)
app.command()(timeline.timeline)
app.command()(cancel.cancel)
app.command()(retry.retry)
app.command()(share.share)
app.command("list")(jobs.list_jobs)
app.add_typer(modes.app, name="batch", help="Hold jobs together: open, close, cancel, show, list.")
app.add_typer(modes.app, name="session", help="Hold jobs together that go before those of others.")
app.command()(held.held)
app.command()(held.resolve)
app.add_typer(backends.app, name="backends")
app.add_typer(fleet.app, name="workers")
app.command()(worker.worker)
app.command()(serve.serve)
app.add_typer(token.app, name="token")
app.command()(token.audit)
app.command()(stack.up)
app.command()(stack.down)
app.add_typer(db.app, name="db")
app.add_typer(config.app, name="config")
app.command()(doctor.doctor)
app.command()(demo.demo)


def main() -> None:
    """Run the command line."""
    app(prog_name="pubworks")


if __name__ == "__main__":
    main()
