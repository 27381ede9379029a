"""The training loop, in sight: one function from the first batch to the last checkpoint.

It knows no task: a module that returns losses, a source of batches, an evaluation to call.
"""

from __future__ import annotations

import hashlib
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from halftrack.frames import batches_of
from halftrack.precision import NonFiniteGradientError, Precision
from halftrack.training.batches import BatchSource
from halftrack.training.compilation import check_compilation
from halftrack.training.config import TrainingConfig
from halftrack.training.continuation import Continuation
from halftrack.training.files.checkpoint import NewestCheckpoint
from halftrack.training.passes import Pass, passes
from halftrack.training.placement import placed
from halftrack.training.processes.sharded_learner import new_learner
from halftrack.training.ranks import ALONE, Ranks
from halftrack.training.run import Run, TrainingResult
from halftrack.training.same_run import ALL_FIXED, DataFacts, FreeFields

__all__ = ["batch_seed", "steps", "train"]

_SAVE = 0.5


def train(
    *,
    model: nn.Module,
    batches: BatchSource,
    config: TrainingConfig,
    precision: Precision,
    out: Path,
    device: torch.device,
    seed: int = 0,
    evaluate: Callable[[nn.Module], dict[str, float]] | None = None,
    recipe: Mapping[str, Any] | None = None,
    free: FreeFields = ALL_FIXED,
    init: str = "none",
    data: DataFacts | None = None,
    resume: bool | NewestCheckpoint = False,
    data_changed: bool = False,
    start: Continuation | None = None,
    ranks: Ranks = ALONE,
) -> TrainingResult:
    """Train ``model`` and leave ``log.jsonl``, ``step_N.pth`` and ``best.pth`` in ``out``.

    Steps and epochs count attempts; the schedule and the weight average count taken steps. A
    batch's randomness is a function of (seed, epoch, index), so a resumed run equals an unbroken
    one bit for bit on a CPU.

    Args:
        model: with the weights to start from.
        batches: what is learned from.
        config: the recipe's training settings.
        precision: what it computes in.
        out: the folder of its log and checkpoints.
        device: where it computes.
        seed: the origin of all randomness.
        evaluate: scores a model in evaluation mode; None for a run without scores.
        recipe: plain values that say what is run; a resume must bring the same.
        free: fields among them that a resume may change.
        init: the file or the word that the weights came from, for the log.
        data: what is learned from, by data set; a resume must bring the same.
        resume: continue the run in ``out`` from its newest intact checkpoint, or from this one,
            which is then emptied.
        data_changed: resume with other data too, from the start of the epoch.
        start: another program's run that this one goes on from.
        ranks: processes that share every step; the first one alone writes.

    Raises:
        NonFiniteGradientError: a gradient that no smaller loss scale can mend.
        UnsavedWeightsError: the last or the best weights could not be written.
        FileNotFoundError: ``resume`` without a checkpoint.
        ValueError: ``resume`` with a checkpoint of another recipe, seed or other data, or a folder
            in use.
    """
    check_compilation(config, precision, device)
    model = placed(model, config, precision, device)
    learner = new_learner(ranks, model, config, precision, device, len(batches))
    run = Run(
        learner, config=config, out=out, seed=seed, recipe=recipe, free=free, init=init, data=data
    )
    with run, _signals() as received:
        run.begin(resume=resume, data_changed=data_changed, start=start)
        result = run.result
        for epoch in range(result.epochs_finished, config.epochs):
            learner.begin_epoch(epoch)
            for step in _steps(batches, run, seed=seed, epoch=epoch, device=device):
                for batch, drawn in step:
                    losses = learner.gradients(batch, drawn)
                    run.log.batch(losses, batch.sample_ids, batches=batches_of(batch))
                run.batches_done += config.accumulate
                lr = learner.schedule.lr
                try:
                    report = learner.step()
                except NonFiniteGradientError as error:
                    run.explain_stop(error, step, epoch=epoch)
                    raise
                result.steps += 1
                result.skipped += report.skipped
                result.loss_scale = learner.loss_scale.value
                run.log.record(
                    report,
                    lr=lr,
                    epoch=epoch + 1,
                    iteration=run.batches_done // config.accumulate
                    - epoch * learner.steps_per_epoch,
                    step=result.steps,
                    why=run.explain(report, step, epoch=epoch) if report.skipped else None,
                )
                step.clear()
                if wish := learner.greatest(_wish(received, run)):
                    if wish != _SAVE:
                        return run.stop(int(wish))
                    run.save()
            run.finish_epoch(evaluate)
    return result


def _wish(received: Sequence[int], run: Run) -> float:
    """The number of a signal to stop at, a smaller one if a checkpoint is due, else 0.

    One message tells the greatest to all processes: minutes are those of the one that writes.
    """
    if received:
        return received[0]
    every, files = run.config.checkpoint_every, run.files
    is_due = every is not None and run.result.steps % every == 0
    return _SAVE if is_due or files.clock() >= files.due_at else 0


def _steps(
    source: BatchSource, run: Run, *, seed: int, epoch: int, device: torch.device
) -> Iterator[list[Pass]]:
    """The rest of an epoch's steps, or this process's part of each."""
    rest = _batches(source, run, seed=seed, epoch=epoch, device=device)
    return steps(rest, run.config, processes=run.learner.ranks.size)


def _batches(
    source: BatchSource, run: Run, *, seed: int, epoch: int, device: torch.device
) -> Iterator[Pass]:
    """Each batch, on the device, with its seed."""
    first = run.batches_done - epoch * run.batches_per_epoch
    together = run.config.accumulate
    places = run.learner.ranks.places(range(first, run.batches_per_epoch), together=together)
    loader = source.batches(
        seed=seed,
        epoch=epoch,
        places=places,
        workers=run.config.workers,
        pin=device.type == "cuda",
    )
    for place, batch in zip(places, run.log.timed(loader), strict=True):
        yield batch.to(device), batch_seed(seed, epoch, place)


def steps(
    batches: Iterable[Pass], config: TrainingConfig, *, processes: int = 1
) -> Iterator[list[Pass]]:
    """The whole steps that batches make up, each as its passes.

    Args:
        batches: in their order, with their seeds.
        config: says how many a step holds and a pass takes.
        processes: how many share a step; the batches are one's part of them.
    """
    source, together = iter(batches), config.clips_per_pass
    share = config.accumulate // processes
    while len(step := list(islice(source, share))) == share:
        yield passes(step, together) if together > 1 else step


def batch_seed(seed: int, epoch: int, index: int) -> int:
    """63 bits that depend on the run's seed, the epoch and the batch's place in it."""
    digest = hashlib.sha256(f"{seed}:{epoch}:{index}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect SIGINT, SIGTERM and SIGHUP so that the step can end first; a second acts at once.

    Outside the main thread Python cannot handle signals, and nothing is collected.
    """
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return

    def collect(number: int, _: FrameType | None) -> None:
        received.append(number)
        signal.signal(number, before[number])

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before: dict[int, Any] = {number: signal.getsignal(number) for number in numbers}
    if before[signal.SIGHUP] is signal.SIG_IGN:  # nohup
        del before[signal.SIGHUP]
    try:
        for number in before:
            signal.signal(number, collect)
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
