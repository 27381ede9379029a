"""``halftrack rehearse``."""

from __future__ import annotations

import json
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from halftrack.cli.checks import check_folder, check_name, check_output
from halftrack.cli.console import console, progress_bar, tell
from halftrack.cli.exits import BAD_VERDICT
from halftrack.cli.options import (
    ClassNames,
    Init,
    RangesEvery,
    RecipeName,
    RehearsedSteps,
    Samples,
    Seed,
    Settings,
    Trust,
)
from halftrack.cli.recipe import find_recipe, start_weights, with_classes

if TYPE_CHECKING:
    from halftrack.studies.rehearsal.rehearse import Rehearsal

__all__ = ["rehearse"]


def rehearse(
    recipe: RecipeName,
    data_root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder that contains the data sets as downloaded. Default: synthetic video.",
        ),
    ] = None,
    classes: ClassNames = None,
    precision: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Rehearse fp16, bf16 or tf32. Default: the recipe's precision, or fp16 if that is "
            "fp32.",
        ),
    ] = None,
    steps: RehearsedSteps = 50,
    every: RangesEvery = 10,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Train on images of this height x width, to be faster, e.g. 304x512.",
        ),
    ] = None,
    samples: Samples = None,
    islands: Annotated[
        bool, typer.Option("--islands", help="Search for the modules that must stay in fp32.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write the HTML page and the numbers to this folder. "
            "Default: runs/RECIPE_rehearsal_PRECISION.",
        ),
    ] = None,
    init: Init = None,
    seed: Seed = 0,
    trust: Trust = False,
    settings: Settings = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print everything in numbers as JSON, and words to stderr."),
    ] = False,
) -> None:
    """Try half precision for a few training steps. Needs no GPU.

    Computes on this CPU with the arithmetic of a GPU in fp16, bf16 or tf32. Reports what overflows,
    why steps are skipped, which modules must stay in fp32 and how much GPU memory a step takes,
    here and as an HTML page. Exit code 3 means that something must change before you train.
    """
    source = find_recipe(recipe, None, settings)
    check_name("--precision", precision, ("tf32", "bf16", "fp16"))
    check_folder("--data-root", data_root)
    init = start_weights(source, init)
    check_output(out)
    from halftrack.studies.memory.step_sizes import parse_image

    if image is not None:
        parse_image(image)
    from halftrack.recipes import override
    from halftrack.studies.rehearsal.rehearsable import rehearsable

    chosen = override(rehearsable(source.load(), precision), settings or ())
    chosen = with_classes(chosen, classes, data_root)
    if data_root is not None:
        chosen.find_training_data(data_root)
    from halftrack.studies.rehearsal.rehearse import rehearse as rehearse_recipe

    out = out or Path("runs") / f"{chosen.name}_rehearsal_{chosen.precision.name}"
    say = partial(typer.echo, err=True) if as_json else tell
    bar = nullcontext() if as_json else progress_bar("rehearsing", steps)
    with bar as progress:
        found = rehearse_recipe(
            chosen,
            data_root=data_root,
            out=out,
            steps=steps,
            every=every,
            image=image,
            samples=samples,
            islands=islands,
            init=init,
            seed=seed,
            trust=trust,
            say=say,
            progress=progress,
        )
    from halftrack.rehearsing.answers import all_numbers, must_change
    from halftrack.rehearsing.page import write_page

    if as_json:
        typer.echo(json.dumps(all_numbers(found), indent=1, allow_nan=False))
    else:
        _tell_answers(found)
    changes = must_change(found)
    for change in changes:
        say(f"must change: {change}")
    say(f"written to {write_page(found, out)}")
    if found.interrupted:
        raise typer.Exit(130)
    if changes:
        raise typer.Exit(BAD_VERDICT)


def _tell_answers(found: Rehearsal) -> None:
    """Print the answers, the modules to look at and the memory."""
    from halftrack.rehearsing.answers import answers
    from halftrack.rehearsing.otherwise import told_otherwise
    from halftrack.rehearsing.rows import memory_rows, module_rows
    from halftrack.report import render_table

    for answer in answers(found):
        console.print(f"\n[bold]{escape(answer.question)}[/]")
        console.print(answer.words, markup=False, highlight=False)
    for line in told_otherwise(found.called):
        console.print(f"\n{line}", markup=False, highlight=False)
    notable = [row for row in module_rows(found) if row["what to do"] != "-"]
    if notable:
        console.print(render_table(notable, title="Modules to look at"))
    console.print(render_table(memory_rows(found), title="Peak of a training step"))
