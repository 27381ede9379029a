"""Training of a recipe and scoring of a checkpoint: the place where the parts meet."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from torch import nn

from halftrack.bounds import shown
from halftrack.data import PrintedProgress, Progress, SkipLedger
from halftrack.errors import UserError
from halftrack.recipes.kinds.recipe import Recipe
from halftrack.recipes.kinds.trained import TrainedRecipe
from halftrack.recipes.names import load_recipe
from halftrack.recipes.resumed import held_run, take_folder
from halftrack.recipes.scoring.evaluation import Evaluation
from halftrack.recipes.scoring.scorer import Scorer, left_out
from halftrack.training import Learner, TrainingResult, load_weights
from halftrack.training import train as run_training
from halftrack.training.compilation import check_compilation, compiled
from halftrack.training.continuation import Continuation
from halftrack.training.files.checkpoint import NewestCheckpoint
from halftrack.training.files.run_folder import asking_option
from halftrack.training.optimiser import apply_phases
from halftrack.training.ranks import Ranks, own_device, together
from halftrack.training.same_run import SCORED, free_fields

__all__ = [
    "choose_device",
    "evaluate",
    "open_model",
    "prepare_model",
    "score_results",
    "train",
]


def choose_device(wanted: torch.device | str | None) -> torch.device:
    """The device asked for, or else the accelerator, where there is one, or else the CPU.

    Raises:
        ValueError: if this machine has no such device; lists those it has.
    """
    accelerator = None
    if torch.accelerator.is_available():
        accelerator = torch.accelerator.current_accelerator()
    if wanted is None:
        return accelerator or torch.device("cpu")
    here = ["cpu"]
    if accelerator is not None:
        count = torch.accelerator.device_count()
        here += [accelerator.type, *(f"{accelerator.type}:{index}" for index in range(count))]
    if str(wanted) not in (*here, "cpu:0"):
        raise UserError(
            f"no device {shown(str(wanted))} here (--device); there are {', '.join(here)}"
        )
    return torch.device(wanted)


def prepare_model(
    recipe: TrainedRecipe,
    *,
    seed: int = 0,
    init: str | Path | None = None,
    trust: bool = False,
    say: Callable[[str], None] = print,
) -> nn.Module:
    """The recipe's model with the weights it starts from.

    Args:
        recipe: what is built.
        seed: of the random weights.
        init: a checkpoint (halftrack, MMTracking, torchvision) to start from, or the word ``none``;
            without it the recipe decides.
        trust: unpickle arbitrary objects in ``init``.
        say: told which weights were loaded and which were not.

    Raises:
        ValueError: if the weights do not fit.
        RuntimeError: if ImageNet weights are wanted and cannot be had.
    """
    model = recipe.build_model(seed=seed)
    if init is not None and str(init) != "none":
        report = load_weights(model, init, trust=trust)
        for line in (f"weights from {init}: {report}", *report.table()):
            say(line)
    elif init is None:
        recipe.load_start_weights(model, say=say)
    return model


def train(
    recipe: Recipe | str,
    *,
    data_root: str | Path | None,
    out: str | Path,
    seed: int = 0,
    init: str | Path | None = None,
    device: torch.device | str | None = None,
    resume: str = "auto",
    data_changed: bool = False,
    trust: bool = False,
    start: Continuation | None = None,
) -> TrainingResult:
    """Train a recipe; checkpoints, ``best.pth`` and ``log.jsonl`` go to ``out``.

    A run that ``out`` holds already goes on from its newest intact checkpoint, where it is of the
    same recipe, seed, first weights and data; a finished one is left as it is.

    What can be wrong without the data is found before they are read; what their index can tell,
    before the first step. The folder is this process's until the run ends.

    Args:
        recipe: what is trained, or its name.
        data_root: the folder that holds the data sets as downloaded; a finished run needs none.
        out: the folder of the run.
        seed: the origin of all randomness.
        init: a checkpoint to start from, or the word ``none``; without it the recipe decides.
        device: where it computes; None chooses.
        resume: with ``auto`` a run begins where ``out`` holds none; with ``must`` that is an error.
        data_changed: go on with other data than the run in ``out`` began with, from the epoch's
            start.
        trust: unpickle arbitrary objects in ``init``.
        start: another program's run that this new one goes on from, as ``halftrack.interop``
            reads it.

    Raises:
        DataError: if the data are not there or not readable.
        DataWorkerError: if a process that prepares data dies.
        NonFiniteGradientError: a gradient that no smaller loss scale can mend.
        FileNotFoundError: nothing to resume where there must be something.
        ValueError: a recipe that is not trained, or a folder that holds another run or is in use.
    """
    trained, out = load_recipe(recipe).for_training(), Path(out)
    device = own_device(choose_device(device))
    if resume not in ("auto", "must"):
        raise UserError(f"resume={shown(resume)}: expected 'auto' or 'must'")
    if start is not None and init is not None:
        raise UserError(f"a run that goes on from {start.file} has its weights: leave out init")
    check_compilation(trained.training, trained.precision, device)
    with together(device) as ranks, ExitStack() as stack:
        accumulate = trained.training.accumulate
        ranks.first_does(lambda: ranks.share(accumulate, of="training.accumulate"))
        asked = asking_option(resume, data_changed=data_changed)
        may_begin = data_root is not None or asked is not None
        refused = ranks.first_does(lambda: take_folder(out, may_begin=may_begin, until=stack))
        first_weights = init if start is None else start.file
        held = held_run(trained, out, seed=seed, init=first_weights, asked=asked, ranks=ranks)
        if held is not None:
            start, result = None, TrainingResult.of_checkpoint(held.path, held.state)
            if result.epochs_finished >= trained.training.epochs and not data_changed:
                ranks.say(result.nothing_left())
                return result
        if refused is not None:
            raise refused
        if data_root is None:
            raise UserError(f"the run in {out} is not finished and needs its data: --data-root")
        # The checkpoint, or the other program's run, has the weights.
        init = "none" if held is not None or start is not None else init
        _check_model(trained, init=init, trust=trust, start=start)
        return _train(
            trained,
            data_root=data_root,
            out=out,
            seed=seed,
            init=init,
            device=device,
            held=held,
            data_changed=data_changed,
            trust=trust,
            start=start,
            ranks=ranks,
        )


def _train(
    trained: TrainedRecipe,
    *,
    data_root: str | Path,
    out: Path,
    seed: int,
    init: str | Path | None,
    device: torch.device,
    held: NewestCheckpoint | None,
    data_changed: bool,
    trust: bool,
    start: Continuation | None,
    ranks: Ranks,
) -> TrainingResult:
    """Read the data and train, all that can be known without them being right."""
    with ranks.first_goes_first():  # which leaves an index for the others
        progress = PrintedProgress("training annotations") if ranks.is_first else None
        told, trained = trained, trained.settled(data_root)
        if start is not None and trained != told:  # the data have told the sizes of its model
            _check_model(trained, init=init, trust=trust, start=start)
        source = trained.training_source(data_root, progress=progress)
        for line in source.notes:
            ranks.say(line)
        score = trained.validator(data_root, device)
    opened = source.skipped.times.copy()  # found by every process alike
    if score is None:
        ranks.say(
            f"{trained.name} is not scored while it trains, its test set has no ground truth here: "
            "there will be no best.pth, take the last step_N.pth"
        )
    model = prepare_model(trained, seed=seed, init=init, trust=trust, say=ranks.say)
    # Of a task that halftrack does not know, neither may tell facts.
    facts = dict(getattr(source, "facts", dict)())
    for name, told in getattr(score, "facts", {}).items():
        facts[f"{SCORED}{name}"] = told

    def validate(model: nn.Module, score: Callable[[nn.Module], Evaluation]) -> dict[str, float]:
        evaluation = _scores(score, model, ranks)
        since = ranks.gathered(source.skipped.times - opened)
        ledger = SkipLedger(sum(since, opened))
        for line in (*evaluation.skipped, *left_out(ledger)):
            ranks.say(line)
        return ranks.of_first(evaluation.flat())

    return run_training(
        model=model,
        batches=source,
        config=trained.training,
        precision=trained.precision,
        out=out,
        device=device,
        seed=seed,
        evaluate=None if score is None else partial(validate, score=score),
        recipe=trained.to_dict(),
        free=free_fields(trained),
        init=trained.start_weights if init is None else str(init if start is None else start.file),
        data=facts,
        resume=held or False,
        data_changed=data_changed,
        start=start,
        ranks=ranks,
    )


def _check_model(
    recipe: TrainedRecipe, *, init: str | Path | None, trust: bool, start: Continuation | None
) -> None:
    """Make sure that weights fit, patterns match something, and the best metric is measured."""
    recipe.check_before_data()
    settled, recipe = recipe.without_data() == recipe, recipe.without_data()
    model = prepare_model(recipe, init=init, trust=trust, say=lambda _: None)
    if start is not None:
        start.check_names(model)
    model = compiled(model, recipe.training)
    config, cpu = replace(recipe.training, ema_decay=None), torch.device("cpu")
    for phase in config.phases:
        apply_phases(model, config.phases, phase.first_epoch)
    learner = Learner(model, config, recipe.precision, device=cpu, batches_per_epoch=1)
    if settled and start is not None:
        start.fill(learner, config)


def evaluate(
    recipe: Recipe | str,
    *,
    data_root: str | Path,
    checkpoint: str | Path | None,
    seed: int = 0,
    device: torch.device | str | None = None,
    trust: bool = False,
    progress: Progress | None = None,
) -> Evaluation:
    """Score a checkpoint, or with ``None`` the untrained model, on the validation videos.

    A tracker without a checkpoint takes its parts from the files its recipe names. Several
    processes share the videos, and each gets the scores of all. ``recipe`` may be a name.

    Raises:
        DataError: if the data are not there or not readable.
        ValueError, FileNotFoundError: if the checkpoint is missing or does not fit.
    """
    recipe, device = load_recipe(recipe), own_device(choose_device(device))
    with together(device) as ranks:
        model = open_model(recipe, checkpoint, device, seed=seed, trust=trust)
        with ranks.first_goes_first():
            score = recipe.scorer(data_root, device, progress=progress)
        return _scores(score, model, ranks)


def _scores(score: Callable[[nn.Module], Evaluation], model: nn.Module, ranks: Ranks) -> Evaluation:
    """Scores that processes find together, or, of a task that halftrack does not know, each."""
    return score.shared(model, ranks) if isinstance(score, Scorer) else score(model)


def score_results(recipe: Recipe, folder: str | Path, *, data_root: str | Path) -> Evaluation:
    """Score a folder of ``<sequence>.txt`` on the validation videos of a recipe that tracks.

    Raises:
        DataError: if the data are not there or not readable.
        ValueError: for a recipe that does not track, videos without ground truth, and files that
            are missing, empty or malformed.
    """
    return recipe.score_results(folder, data_root=data_root)


def open_model(
    recipe: Recipe,
    checkpoint: str | Path | None,
    device: torch.device,
    *,
    seed: int = 0,
    trust: bool = False,
) -> nn.Module:
    """The recipe's model ready to run: loaded, on the device, in evaluation mode."""
    model = recipe.load_model(checkpoint, seed=seed, trust=trust)
    recipe.precision.keep_in_fp32(model)
    return model.to(device).eval()
