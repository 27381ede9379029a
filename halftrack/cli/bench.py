"""``halftrack bench``."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import Annotated

import typer

from halftrack.cli.checks import check_device, number
from halftrack.cli.console import console, progress_bar, tell
from halftrack.cli.options import Device, PrecisionName, RecipeName, Settings
from halftrack.cli.recipe import choose_trained, find_recipe

__all__ = ["bench"]


def bench(
    recipe: RecipeName,
    precision: PrecisionName = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="HxW", help="Time images of this height x width, as the network takes them."
        ),
    ] = None,
    steps: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=number(int, 1, 10_000),
            help="Time N training steps and N calls of inference, after one that does not count.",
        ),
    ] = 5,
    device: Device = None,
    settings: Settings = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print everything in numbers as JSON: times in seconds.")
    ] = False,
) -> None:
    """Time training and inference on this machine, part by part. Needs no data.

    Synthetic frames of 720x1280 are decoded and resized to the recipe's own size; weights are
    random, so that a detector finds more boxes than a trained one.
    """
    source = find_recipe(recipe, precision, settings)
    check_device(device)
    from halftrack.studies.memory.step_sizes import parse_image

    if image is not None:
        parse_image(image)
    chosen = choose_trained(source, precision, settings)
    from halftrack.recipes import choose_device
    from halftrack.studies.bench.run import bench as measure

    with nullcontext() if as_json else progress_bar("timing") as progress:
        found = measure(
            chosen, rounds=steps, image=image, device=choose_device(device), progress=progress
        )
    if as_json:
        typer.echo(json.dumps(found.numbers(), indent=1, allow_nan=False))
        return
    from halftrack.report import render_table

    for title, rows in found.tables().items():
        console.print(render_table(rows, title=title))
    for line in found.notes():
        tell(line)
