"""``halftrack parity``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from halftrack.cli.checks import (
    check_device,
    check_folder,
    check_name,
    check_output,
    number,
)
from halftrack.cli.console import console, tell
from halftrack.cli.exits import BAD_VERDICT, end_interrupted
from halftrack.cli.options import DataRoot, Device, Init, RecipeName, Settings, Trust
from halftrack.cli.recipe import choose_trained, find_recipe, start_weights

__all__ = ["parity"]


def parity(
    recipe: RecipeName,
    data_root: DataRoot,
    seeds: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=number(int, 1, 1000),
            help="Train N pairs of runs. Decide on N before you see any result.",
        ),
    ],
    precision: Annotated[
        str, typer.Option(metavar="NAME", help="Compare fp16, bf16 or tf32 with the baseline.")
    ] = "fp16",
    baseline: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="Compare with fp32, or with tf32, which torch computes on a GPU by default in "
            "convolutions.",
        ),
    ] = "fp32",
    margin: Annotated[
        float,
        typer.Option(
            metavar="POINTS",
            parser=number(float, 0.001, 100),
            help="Call the precision as good as the baseline if the mean difference is within this "
            "many points (1 point is 0.01 of AP50 or mAP).",
        ),
    ] = 1.0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write runs and results to this folder. Default: runs/RECIPE_parity_PRECISION, "
            "with _BASELINE behind it if that is not fp32.",
        ),
    ] = None,
    init: Init = None,
    device: Device = None,
    trust: Trust = False,
    settings: Settings = None,
) -> None:
    """Test whether half precision trains as well as fp32.

    Trains pairs of runs, one in each precision from the same seed, and compares their scores. Exit
    code 3 means that half precision was not shown to be as good.
    """
    source = find_recipe(recipe, None, settings)
    check_name("--precision", precision, ("tf32", "bf16", "fp16"))
    check_name("--baseline", baseline, ("fp32", "tf32"))
    check_folder("--data-root", data_root)
    init = start_weights(source, init)
    check_output(out)
    check_device(device)
    chosen = choose_trained(source, None, settings)
    chosen.find_training_data(data_root)
    chosen.find_test_data(data_root)
    from halftrack.studies.parity import run_parity

    against = "" if baseline == "fp32" else f"_{baseline}"
    out = out or Path("runs") / f"{chosen.name}_parity_{precision}{against}"
    found = run_parity(
        chosen,
        data_root=data_root,
        out=out,
        seeds=seeds,
        precision=precision,
        baseline=baseline,
        margin=margin,
        init=init,
        device=device,
        trust=trust,
        console=console,
    )
    for line in found.notes():
        tell(line)
    tell(found.verdict)
    end_interrupted(found.interrupted)
    tell(f"results in {out}: parity.json, parity.csv, parity.png")
    if found.equivalence is None or not found.equivalence.equivalent:
        raise typer.Exit(BAD_VERDICT)
