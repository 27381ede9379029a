"""The program: its commands in the order that the help shows them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from halftrack import __version__
from halftrack.cli import (
    bench,
    data,
    doctor,
    evaluate,
    export,
    following,
    importing,
    parity,
    plan,
    plot,
    quickstart,
    recipes,
    rehearse,
    run,
    track,
    train,
    tune,
)
from halftrack.cli.checks import check_arguments
from halftrack.cli.exits import telling_errors
from halftrack.cli.help import Command

__all__ = ["app", "main"]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    help="""Train, evaluate and run video perception models in half precision.

    A recipe is a complete run: model, data, training and precision. Start with `halftrack
    quickstart`, which needs no data and no GPU.
    """,
    epilog="Exit codes: 0 done; 1 the run failed; 2 a mistake in arguments, files or data; 3 done, "
    "but the answer is bad; 4 the last or best weights of a run could not be saved; 130 or 143 "
    "stopped by Ctrl-C or SIGTERM.",
)
app.command(cls=Command)(recipes.recipes)
app.command(cls=Command)(recipes.show)
app.command("import", cls=Command)(importing.import_recipe)
app.command(cls=Command)(plan.plan)
app.command(cls=Command)(bench.bench)
app.command(cls=Command)(rehearse.rehearse)
app.command(cls=Command)(run.run)
app.command(cls=Command)(train.train)
app.command(cls=Command)(parity.parity)
app.command(cls=Command)(train.replay)
app.command("eval", cls=Command)(evaluate.evaluate)
app.command(cls=Command)(tune.tune)
app.command(cls=Command)(track.track)
app.command(cls=Command)(following.watch)
app.command(cls=Command)(following.report)
app.command(cls=Command)(following.compare)
app.command(cls=Command)(plot.plot)
app.command(cls=Command)(export.export)
app.command(cls=Command)(export.publish)
app.command(cls=Command)(quickstart.quickstart)
app.add_typer(data.app, name="data")
app.command(cls=Command)(doctor.doctor)


def _tell_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"halftrack {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_tell_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Options of the program itself; its help is stated above."""


def main() -> None:
    """Run the command line."""
    with telling_errors():
        check_arguments(sys.argv[1:])
        if sys.argv[1:] == ["recipes"]:  # typer would import pydantic to find that it has no option
            recipes.recipes()
        else:
            app()
