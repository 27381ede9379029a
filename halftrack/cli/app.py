"""The program: its commands in the order that the help shows them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from halftrack import __version__
from halftrack.cli import (
    data,
    doctor,
    evaluate,
    parity,
    plan,
    quickstart,
    recipes,
    rehearse,
    track,
    train,
)
from halftrack.cli.exits import telling_errors

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
    "but the answer is bad; 130 or 143 stopped by Ctrl-C or SIGTERM.",
)
app.command()(recipes.recipes)
app.command()(recipes.show)
app.command()(plan.plan)
app.command()(rehearse.rehearse)
app.command()(train.train)
app.command()(parity.parity)
app.command()(train.replay)
app.command("eval")(evaluate.evaluate)
app.command()(track.track)
app.command()(quickstart.quickstart)
app.add_typer(data.app, name="data")
app.command()(doctor.doctor)


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
        if sys.argv[1:] == ["recipes"]:  # typer would import pydantic to find that it has no option
            recipes.recipes()
        else:
            app()
