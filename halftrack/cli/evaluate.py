"""``halftrack eval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from halftrack.cli.checks import check_device, check_folder, check_output
from halftrack.cli.console import console, progress_bar, tell
from halftrack.cli.options import (
    ClassNames,
    DataRoot,
    DetectorFile,
    Device,
    Gpus,
    NativeHalf,
    PrecisionName,
    RecipeName,
    ReIDFile,
    Settings,
    TestBatch,
    Trust,
)
from halftrack.cli.processes import own_rank, start_processes
from halftrack.cli.recipe import (
    check_parts,
    choose_recipe,
    find_recipe,
    with_classes,
    with_native_half,
    with_parts,
)
from halftrack.errors import UserError

if TYPE_CHECKING:
    from halftrack.recipes import Evaluation, Recipe

__all__ = ["evaluate"]


def evaluate(
    recipe: RecipeName,
    data_root: DataRoot,
    classes: ClassNames = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Score this checkpoint. Default for Tracktor: the two checkpoints that the recipe "
            "names.",
        ),
    ] = None,
    detector: DetectorFile = None,
    reid: ReIDFile = None,
    results: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Score the <sequence>.txt files in this folder instead of a model "
            "(tracking recipes only).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write scores and tracks to this folder. Default: the checkpoint's folder, or "
            "runs/RECIPE_PRECISION; of --native-half the folder native in it.",
        ),
    ] = None,
    batch: TestBatch = None,
    precision: PrecisionName = None,
    native_half: NativeHalf = False,
    device: Device = None,
    gpus: Gpus = None,
    trust: Trust = False,
    settings: Settings = None,
) -> None:
    """Score a checkpoint or result files on the validation videos."""
    source = find_recipe(recipe, precision, settings)
    of_model = (checkpoint, detector, reid, batch, precision, native_half, device, gpus, trust)
    if results is not None and any(of_model):
        raise UserError(
            "--results scores files, not a model: leave out --checkpoint, --detector, --reid, "
            "--batch, --precision, --native-half, --device, --gpus and --trust"
        )
    check_parts(checkpoint, detector, reid)
    check_folder("--data-root", data_root)
    check_folder("--results", results)
    check_output(out)
    check_device(device)
    chosen = with_parts(choose_recipe(source, precision, settings), detector, reid)
    chosen = with_native_half(chosen, native_half, precision=precision, device=device)
    chosen = with_classes(chosen, classes, data_root)
    if batch is not None:
        chosen = chosen.with_test_batch(batch)
    if checkpoint is None and results is None and chosen.needs_checkpoint:
        raise UserError(f"--checkpoint is missing: give the weights of {chosen.name} to score")
    if results is None:
        chosen.check_checkpoint(checkpoint)
        chosen.find_test_data(data_root)
    if out is None:
        kind = chosen.precision.name if results is None else "results"
        out = checkpoint.parent if checkpoint else Path("runs") / f"{chosen.name}_{kind}"
        if native_half:  # beside the scores of bf16 as a GPU computes it
            out /= "native"
    check_output(out)
    start_processes(gpus, device)
    evaluation = _evaluation(chosen, data_root, checkpoint, results, device=device, trust=trust)
    if own_rank():  # the first process tells and writes
        return
    from halftrack.recipes import choose_device
    from halftrack.report import published_row, render_table
    from halftrack.report.eval_files import write_evaluation

    arithmetic = None
    if results is None:
        arithmetic = chosen.precision.in_words(choose_device(device))
    memory = None if checkpoint is None else _training_memory(checkpoint)
    row = published_row(chosen, evaluation, memory_mb=memory, checkpoint=checkpoint)
    console.print(render_table([row]))
    for title, rows in evaluation.tables().items():
        console.print(render_table(rows, title=title))
    scores = ", ".join(f"{name} {value:.4g}" for name, value in evaluation.flat().items())
    console.print(scores or "no ground truth, so no scores")
    for line in evaluation.skipped:
        tell(line)
    for line in write_evaluation(
        out, chosen, evaluation, row=row, arithmetic=arithmetic, scored=results
    ):
        tell(line)


def _evaluation(
    recipe: Recipe,
    data_root: Path,
    checkpoint: Path | None,
    results: Path | None,
    *,
    device: str | None,
    trust: bool,
) -> Evaluation:
    """The scores of result files, or else of a model."""
    if results is not None:
        return recipe.score_results(results, data_root=data_root)
    from halftrack.recipes import evaluate as evaluate_recipe

    with progress_bar("scoring") as progress:
        return evaluate_recipe(
            recipe,
            data_root=data_root,
            checkpoint=checkpoint,
            device=device,
            trust=trust,
            progress=progress,
        )


def _training_memory(checkpoint: Path) -> float | None:
    """Peak training memory in MB, if the checkpoint lies beside the log of a run on a GPU."""
    from halftrack.training.files.log_file import read_log

    try:
        rows = read_log(checkpoint.parent / "log.jsonl")
    except (OSError, ValueError):
        return None
    # On a CPU the log has the whole process's memory, which no table compares.
    if any(row.get("device") == "cpu" for row in rows):
        return None
    return max((row["memory"] for row in rows if "memory" in row), default=None)
