"""``halftrack tune``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from halftrack.cli.checks import check_device, check_folder, check_name, check_output, number
from halftrack.cli.console import console, progress_bar, tell
from halftrack.cli.options import (
    DataRoot,
    DetectorFile,
    Device,
    PrecisionName,
    RecipeName,
    ReIDFile,
    Seed,
    Settings,
    Trust,
)
from halftrack.cli.recipe import check_parts, choose_recipe, find_recipe, with_parts
from halftrack.errors import UserError
from halftrack.rehearsing.gpu import parse_memory

if TYPE_CHECKING:
    from halftrack.studies.tune.run import Tuned

__all__ = ["tune"]


def tune(
    recipe: RecipeName,
    data_root: DataRoot,
    fields: Annotated[
        list[str] | None,
        typer.Option(
            "--field",
            metavar="FIELD=RANGE",
            help="Search over this setting of the tracker: LOW:HIGH, LOW:HIGH:STEP or A,B,C, e.g. "
            "tracker.reid_distance=1:4. Can be given several times. Default: the recipe's own "
            "grid, where it has one.",
        ),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            parser=number(int, 1, 100_000),
            help="Try N settings, the recipe's own first. Default: all of the grid.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Raise this score. Default: idf1 of Tracktor, success of SiamRPN++.",
        ),
    ] = None,
    sampler: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Choose settings by optuna (pip install halftrack[tune]) or grid. Default: optuna "
            "if it is installed and --trials is given.",
        ),
    ] = None,
    cache_size: Annotated[
        str,
        typer.Option(
            metavar="SIZE", help="Keep at most this much in FOLDER/cache, e.g. 20GB or 500MB."
        ),
    ] = "20GB",
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Track with this checkpoint. Default for Tracktor: the two checkpoints that the "
            "recipe names.",
        ),
    ] = None,
    detector: DetectorFile = None,
    reid: ReIDFile = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write trials, the best recipe and what trials share to this folder; a search "
            "there goes on. Default: runs/RECIPE_tune.",
        ),
    ] = None,
    seed: Seed = 0,
    precision: PrecisionName = None,
    device: Device = None,
    trust: Trust = False,
    settings: Settings = None,
) -> None:
    """Find the settings of a tracker that score best.

    Settings are tried on the validation videos, the recipe's own first. Detections, features and
    embeddings of Tracktor are computed once and kept on disk, so that a trial costs what the state
    machine costs. Each trial of SiamRPN++ tracks all videos anew.
    """
    source = find_recipe(recipe, precision, settings)
    check_name("--sampler", sampler, ("optuna", "grid"))
    cache_bytes = parse_memory(cache_size, "--cache-size")
    check_parts(checkpoint, detector, reid)
    check_folder("--data-root", data_root)
    check_output(out)
    check_device(device)
    chosen = with_parts(choose_recipe(source, precision, settings), detector, reid)
    metrics = chosen.tuning().metrics
    check_name("--metric", metric, metrics)
    from halftrack.studies.tune.plan import plan_search

    plan = plan_search(
        chosen, fields or (), trials, metric=metric or metrics[0], sampler=sampler, seed=seed
    )
    if checkpoint is None and chosen.needs_checkpoint:
        raise UserError(f"--checkpoint is missing: give the weights of {chosen.name}")
    chosen.check_checkpoint(checkpoint)
    chosen.find_test_data(data_root)
    out = out or Path("runs") / f"{chosen.name}_tune"
    check_output(out)
    plan.check_folder(out)
    from halftrack.studies.tune.run import run_tuning

    for line in plan.notes():
        tell(line)
    found = run_tuning(
        plan,
        data_root=data_root,
        checkpoint=checkpoint,
        out=out,
        cache_bytes=cache_bytes,
        device=device,
        trust=trust,
        say=tell,
        bar=progress_bar,
    )
    _tell(found, out, checkpoint)


def _tell(found: Tuned, out: Path, checkpoint: Path | None) -> None:
    """Show and write what a search found."""
    from halftrack.report.tables import render_table
    from halftrack.studies.tune.run import BEST

    console.print(render_table(found.top(), title="Best trials"))
    for line in found.write(out):
        tell(line)
    for line in found.notes():
        tell(line)
    tell("best settings: " + " ".join(found.settings))
    if found.base is not None:
        weights = "" if checkpoint is None else f" --checkpoint {checkpoint}"
        tell(f"score them: halftrack eval {out / BEST} --data-root DATA{weights}")
