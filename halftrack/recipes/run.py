"""Where the parts meet: train a recipe, score a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torchvision
from torch import nn

from halftrack.data import SkipLedger, TestVideos
from halftrack.evaluation import DetectionMetrics, FrameDetections, FrameTruth, score_detections
from halftrack.frames import Detections
from halftrack.models import SELSA
from halftrack.recipes.recipe import Recipe
from halftrack.training import TrainingResult, load_weights
from halftrack.training import train as run_training

__all__ = ["Evaluation", "evaluate", "prepare_model", "train"]

_IMAGENET = {
    (18, 1): torchvision.models.ResNet18_Weights.IMAGENET1K_V1,
    (50, 1): torchvision.models.ResNet50_Weights.IMAGENET1K_V1,
    (101, 1): torchvision.models.ResNet101_Weights.IMAGENET1K_V1,
    (101, 64): torchvision.models.ResNeXt101_64X4D_Weights.IMAGENET1K_V1,
}


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """How a model did on the validation videos."""

    metrics: DetectionMetrics
    """The scores."""
    frames: int
    """Frames scored."""
    seconds: float
    """Time spent in the model, references included, reading and scoring not."""
    detections: tuple[Detections, ...]
    """What was found in each frame, in the order of the videos, on the CPU."""
    skipped: tuple[str, ...] = ()
    """Frames that could not be read and were left out, as lines of text; empty if none."""

    @property
    def frames_per_second(self) -> float:
        """Speed of the model alone."""
        return self.frames / self.seconds if self.seconds else 0.0


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
    kinds = ["cpu"] if accelerator is None else ["cpu", accelerator.type]
    kind = str(wanted).partition(":")[0]
    if kind not in kinds:
        raise ValueError(f"no device {str(wanted)!r} here; there are {', '.join(kinds)}")
    return torch.device(wanted)


def prepare_model(
    recipe: Recipe,
    *,
    seed: int = 0,
    init: str | Path | None = None,
    trust: bool = False,
    say: Callable[[str], None] = print,
) -> SELSA:
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
        say(f"weights from {init}: {load_weights(model, init, trust=trust)}")
    elif init is None and recipe.backbone_weights == "imagenet":
        backbone = recipe.model.backbone
        weights = _IMAGENET.get((backbone.depth, backbone.groups))
        if weights is None:
            raise ValueError(
                f"torchvision has no ImageNet weights for {backbone.display_name}: give a file "
                "with --init, or --init none for random weights"
            )
        try:
            state = weights.get_state_dict(progress=False, check_hash=True)
        except OSError as error:
            raise RuntimeError(
                f"cannot fetch {weights}: {error}. "
                "Give a file with --init, or --init none for random weights."
            ) from error
        answer = model.detector.backbone.load_state_dict(state, strict=False)
        if answer.missing_keys:
            raise RuntimeError(f"{weights} lacks {answer.missing_keys[:5]}")
        say(f"backbone from {weights}; not used: {', '.join(answer.unexpected_keys)}")
    return model


def train(
    recipe: Recipe,
    *,
    data_root: str | Path,
    out: str | Path,
    seed: int = 0,
    init: str | Path | None = None,
    device: torch.device | str | None = None,
    resume: bool = False,
    trust: bool = False,
) -> TrainingResult:
    """Train a recipe; checkpoints, ``best.pth`` and ``log.jsonl`` go to ``out``.

    Raises:
        DataError: if the data are not there or not readable.
        NonFiniteGradientError: a gradient that no smaller loss scale can mend.
        ValueError, FileNotFoundError: a resume that cannot be.
    """
    device = choose_device(device)
    clips = recipe.data.training_clips(data_root, progress=_Told("training annotations"))
    videos = recipe.data.test_videos(data_root, progress=_Told("validation annotations"))
    # A resumed run gets its weights from the checkpoint.
    model = prepare_model(recipe, seed=seed, init="none" if resume else init, trust=trust)

    def validate(model: nn.Module) -> dict[str, float]:
        evaluation = _score(model, recipe, videos, device)
        for line in (*evaluation.skipped, *_left_out(clips.skipped)):
            print(line)
        return evaluation.metrics.flat()

    return run_training(
        model=model,
        batches=clips,
        config=recipe.training,
        precision=recipe.precision,
        out=Path(out),
        device=device,
        seed=seed,
        evaluate=validate,
        recipe=recipe.to_dict(),
        resume=resume,
    )


def evaluate(
    recipe: Recipe,
    *,
    data_root: str | Path,
    checkpoint: str | Path | None,
    seed: int = 0,
    device: torch.device | str | None = None,
    trust: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a checkpoint, or with ``None`` the untrained model, on the validation videos.

    Raises:
        DataError: if the data are not there or not readable.
        ValueError: if the checkpoint does not fit the recipe's model.
    """
    device = choose_device(device)
    model = recipe.build_model(seed=seed)
    if checkpoint is not None:
        report = load_weights(model, checkpoint, trust=trust)
        # A larger model's file fills a smaller one and leaves keys over.
        if report.missing or report.mismatched or report.unexpected:
            raise ValueError(f"{checkpoint} does not fit {recipe.name}: {report}")
    recipe.precision.keep_in_fp32(model)
    model = model.to(device).eval()
    return _score(model, recipe, recipe.data.test_videos(data_root), device, progress=progress)


def _score(
    model: nn.Module,
    recipe: Recipe,
    videos: TestVideos,
    device: torch.device,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Stream every video through the model, references once a video."""
    truths: list[FrameTruth] = []
    found: list[Detections] = []
    seconds = 0.0
    precision = recipe.precision
    with torch.no_grad(), precision.arithmetic(device), precision.autocast(device):
        for done, video in enumerate(videos, start=1):
            references = [frame.to(device) for frame in video.references]
            start = time.perf_counter()
            model.start(references)  # type: ignore[operator]
            seconds += time.perf_counter() - start
            for frame in video.frames():
                start = time.perf_counter()
                # The copy to the CPU waits for the device, so the time is the model's.
                found.append(model(frame.to(device)).to("cpu"))
                seconds += time.perf_counter() - start
                truth = video.truth(frame.frame_index)
                truths.append(
                    FrameTruth(
                        video=video.name,
                        boxes_xyxy=truth.boxes_xyxy.astype("float64"),
                        labels=truth.labels,
                        track_ids=truth.track_ids,
                        ignored=truth.ignored,
                    )
                )
            if progress is not None:
                progress(done, len(videos))
    arrays = [
        FrameDetections(
            boxes_xyxy=each.boxes_xyxy.double().numpy(),
            scores=each.scores.double().numpy(),
            labels=each.labels.numpy(),
        )
        for each in found
    ]
    classes = recipe.data.class_names
    return Evaluation(
        metrics=score_detections(truths, arrays, classes=classes),
        frames=len(found),
        seconds=seconds,
        detections=tuple(found),
        skipped=_left_out(videos.skipped),
    )


def _left_out(ledger: SkipLedger) -> tuple[str, ...]:
    return tuple(ledger.lines()) if len(ledger) else ()


class _Told:
    """Says every few seconds how far the reading of annotations has come."""

    def __init__(self, what: str, *, every: float = 5.0) -> None:
        self._what, self._every = what, every
        self._last = time.monotonic()

    def __call__(self, done: int, total: int) -> None:
        if time.monotonic() - self._last > self._every:
            self._last = time.monotonic()
            print(f"reading {self._what}: {done} of {total} videos", flush=True)
