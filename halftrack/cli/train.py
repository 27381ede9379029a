"""``halftrack train`` and ``halftrack replay``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from halftrack.cli.checks import (
    check_device,
    check_folder,
    check_run_folder,
    check_weights,
    number,
    one_of,
)
from halftrack.cli.console import tell
from halftrack.cli.exits import BAD_VERDICT, end_interrupted
from halftrack.cli.options import (
    ClassNames,
    Device,
    Gpus,
    Init,
    PrecisionName,
    RecipeName,
    Seed,
    Settings,
    Trust,
)
from halftrack.cli.processes import start_processes
from halftrack.cli.recipe import choose_trained, find_recipe, start_weights, with_classes
from halftrack.errors import UserError
from halftrack.precision.loss_scale import scale_words
from halftrack.training.files.run_folder import asking_option, holds_asked_run

__all__ = ["replay", "train"]


def train(
    recipe: RecipeName,
    data_root: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Folder that contains the data sets (ILSVRC/, MOT17/, ...) as downloaded. Only a "
            "finished run needs none.",
        ),
    ] = None,
    classes: ClassNames = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write checkpoints and the log to this folder; a run of the same recipe and data "
            "that it holds goes on. Default: runs/RECIPE_PRECISION, and _seedN behind it for other "
            "seeds than 0.",
        ),
    ] = None,
    precision: PrecisionName = None,
    init: Init = None,
    seed: Seed = 0,
    device: Device = None,
    gpus: Gpus = None,
    max_restarts: Annotated[
        int,
        typer.Option(
            metavar="N",
            parser=number(int, 0, 1000),
            help="With --gpus: if a process fails or is killed, start all of them again, up to N "
            "times; the run goes on from its last checkpoint.",
        ),
    ] = 0,
    resume: Annotated[
        str,
        typer.Option(
            metavar="auto|must",
            parser=one_of("auto", "must"),
            help="auto continues the run that --out holds, and begins one where there is none; "
            "must refuses to begin one.",
        ),
    ] = "auto",
    data_changed: Annotated[
        bool,
        typer.Option(
            "--data-changed",
            help="Continue a run with other data than it began with, from the start of the epoch. "
            "Without it such a run is refused.",
        ),
    ] = False,
    resume_from: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Go on from a training checkpoint of MMTracking: its weights, momentum, learning "
            "rate, epoch and loss scale.",
        ),
    ] = None,
    trust: Trust = False,
    settings: Settings = None,
) -> None:
    """Train a recipe: writes checkpoints, best.pth and a log.

    Ctrl-C saves a checkpoint first; the same command continues from it.
    """
    source = find_recipe(recipe, precision, settings)
    check_device(device)
    if resume_from is not None and init is not None:
        raise UserError(
            f"--resume-from {resume_from} with --init: each says where the weights come from; "
            "leave one of them out"
        )
    check_weights("--resume-from", resume_from)
    chosen = choose_trained(source, precision, settings)
    seeded = f"_seed{seed}" if seed else ""
    out = out or Path("runs") / f"{chosen.name}_{chosen.precision.name}{seeded}"
    begins = not check_run_folder(out)
    wants_data = begins or data_changed or _has_steps_left(out)
    if wants_data or classes == "from-data":
        check_folder("--data-root", data_root)
    chosen = with_classes(chosen, classes, data_root)
    if resume_from is None:
        # A run that goes on has its weights: only their name is compared.
        init = start_weights(source, init) if begins else (init or source.init)
    if begins and data_root is None:  # one that is there may be finished, and then needs no data
        raise UserError("Missing option '--data-root': name the folder of the data sets")
    if wants_data and data_root is not None:
        chosen.find_training_data(data_root)
        chosen.find_test_data(data_root)
    if begins:
        holds_asked_run(out, asking_option(resume, data_changed=data_changed))
    if gpus is not None:
        from halftrack.training.ranks import Ranks

        Ranks(size=gpus).share(chosen.training.accumulate, of="training.accumulate")
    start_processes(gpus, device, restarts=max_restarts)
    from halftrack.recipes import train as train_recipe

    start = None
    if resume_from is not None:
        from halftrack.interop.checkpoints.resume import read_continuation

        start = read_continuation(resume_from, trust=trust)
    for line in source.notes:
        tell(line)
    result = train_recipe(
        chosen,
        data_root=data_root,
        out=out,
        seed=seed,
        init=init,
        device=device,
        resume=resume,
        data_changed=data_changed,
        trust=trust,
        start=start,
    )
    end_interrupted(result.interrupted)
    scale = scale_words(result.loss_scale)
    tell(f"{result.steps} steps, {result.skipped} skipped, loss scale {scale}; results in {out}")


def _has_steps_left(out: Path) -> bool:
    """True of a run whose log tells so; without a log that can be read its checkpoint has to."""
    from halftrack.studies.following.run import read_run

    try:
        run = read_run(out)
    except (OSError, UserError):
        return False
    return run.total is not None and run.step < run.total


def replay(
    bundle: Annotated[
        Path,
        typer.Argument(
            metavar="FOLDER", help="A step that a run kept, e.g. runs/NAME/skipped/step_120."
        ),
    ],
    device: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Run on cpu, cuda, cuda:1, ... Default: the run's device."
        ),
    ] = None,
) -> None:
    """Run a skipped training step again to find its cause.

    Exit code 3 means that the cause differs from the recorded one.
    """
    check_folder("FOLDER", bundle)
    check_device(device)
    from halftrack.recipes import replay as replay_step

    answer = replay_step(bundle, device=device)
    for line in answer.lines():
        tell(line)
    if not answer.same:
        raise typer.Exit(BAD_VERDICT)
