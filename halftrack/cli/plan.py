"""``halftrack plan``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from halftrack.cli.checks import check_folder, check_new_file, number
from halftrack.cli.console import console, tell
from halftrack.cli.exits import BAD_VERDICT
from halftrack.cli.options import ClassNames, RecipeName, Samples, Settings
from halftrack.cli.recipe import choose_recipe, find_recipe, with_classes
from halftrack.rehearsing.gpu import parse_memory

__all__ = ["plan"]


def plan(
    recipe: RecipeName,
    classes: ClassNames = None,
    data_root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Look into the data sets in this folder for --classes from-data.",
        ),
    ] = None,
    gpu_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Say whether the recipe fits into a GPU of this size, e.g. 11GB or 24GiB, and "
            "find the largest images and batches that do.",
        ),
    ] = None,
    image: Annotated[
        str | None,
        typer.Option(
            metavar="HxW",
            help="Plan for images of this height x width, as the network takes them, e.g. "
            "608x1008.",
        ),
    ] = None,
    samples: Samples = None,
    objects: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=number(int, 1, 10_000),
            help="Assume N objects in each training frame (detectors only).",
        ),
    ] = 50,
    gpus: Annotated[
        int | None,
        typer.Option(
            "--gpus",
            metavar="N",
            parser=number(int, 1, 1024),
            help="Plan for each of N GPUs that share a step of training.accumulate batches, with "
            "each training.shard. Default: 1.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the plan to this file as JSON.")
    ] = None,
    settings: Settings = None,
) -> None:
    """Predict how much GPU memory a training step takes. Needs no GPU and no data.

    With --gpu-memory, exit code 3 means that the recipe does not fit.
    """
    source = find_recipe(recipe, None, settings)
    memory = None if gpu_memory is None else parse_memory(gpu_memory)
    check_new_file("--out", out)
    check_folder("--data-root", data_root)
    from halftrack.studies.memory.step_sizes import parse_image, resized

    if image is not None:
        parse_image(image)
    chosen = choose_recipe(source, None, settings).for_training()
    chosen = with_classes(chosen, classes, data_root)
    chosen = resized(chosen, image=image, samples=samples)
    from halftrack.report import render_table
    from halftrack.studies.memory.plan import plan_memory

    found = plan_memory(chosen, gpu_memory=memory, objects=objects, gpus=gpus or 1)
    for title, rows in found.tables().items():
        console.print(render_table(rows, title=title))
    for line in found.notes():
        tell(line)
    if out is not None:
        out.write_text(json.dumps(found.numbers(), indent=2), encoding="utf-8")
        tell(f"written to {out}")
    if found.verdict is not None:
        tell(found.verdict)
    if found.fits is False:
        raise typer.Exit(BAD_VERDICT)
