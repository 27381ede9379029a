"""A task that halftrack does not know, image classification, works in one file without its help."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from rich.console import Console
from torch import Tensor, nn
from torch.nn import functional as F

from halftrack.data import SkipLedger
from halftrack.precision import Precision
from halftrack.recipes import Evaluation, TrainedRecipe, evaluate, override, replay, train
from halftrack.rehearsing.answers import answers
from halftrack.report import published_row
from halftrack.studies.memory.plan import plan_memory
from halftrack.studies.parity import run_parity
from halftrack.studies.rehearsal.rehearse import rehearse
from halftrack.training import TrainingConfig, read_log


@dataclass(frozen=True, kw_only=True)
class ShapeBatch:
    images: Tensor  # float32 (n, 1, 16, 16)
    labels: Tensor  # int64 (n,): 0 a bar across, 1 a bar upright, 2 a disc
    sample_ids: tuple[str, ...]

    def to(self, device: torch.device | str) -> ShapeBatch:
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


@dataclass(frozen=True, kw_only=True)
class ShapeData:
    images_per_batch: int = 8
    batches: int = 12
    glare_at: int = -1  # the first image of this batch is brighter than fp16 can hold


def drawn(data: ShapeData, seed: int, epoch: int, index: int) -> ShapeBatch:
    """A batch that is a function of (seed, epoch, index) alone."""
    draw, count = torch.Generator().manual_seed(hash((seed, epoch, index))), data.images_per_batch
    labels = torch.randint(3, (count,), generator=draw)
    side = torch.arange(16)
    y, x = torch.randint(4, 12, (2, count, 1, 1), generator=draw)
    dy, dx = side[:, None] - y, side - x
    across, upright = (dy.abs() < 2) & (dx.abs() < 5), (dx.abs() < 2) & (dy.abs() < 5)
    shapes = torch.stack([across, upright, dy**2 + dx**2 < 10], dim=1).float()
    images = shapes[torch.arange(count), labels][:, None]
    images[0] *= 1e6 if index == data.glare_at else 1
    names = tuple(f"{epoch}/{index}/{number}" for number in range(count))
    return ShapeBatch(images=images, labels=labels, sample_ids=names)


@dataclass(frozen=True)
class Shapes:
    data: ShapeData
    skipped: SkipLedger
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.data.batches

    def batches(self, *, seed: int, epoch: int, places: Any, **_: Any) -> Any:
        for index in places:
            yield drawn(self.data, seed, epoch, index)


class ShapeNet(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, channels, 5, padding=2)
        self.norm = nn.BatchNorm2d(channels)
        self.head = nn.Linear(channels, 3)

    def forward(self, batch: ShapeBatch) -> dict[str, Tensor] | Tensor:
        logits = self.head(F.relu(self.norm(self.conv(batch.images))).amax((2, 3))).float()
        return {"loss_cls": F.cross_entropy(logits, batch.labels)} if self.training else logits


@dataclass(frozen=True, kw_only=True)
class ShapeNetConfig:
    channels: int = 16

    def build(self) -> nn.Module:
        return ShapeNet(self.channels)


@dataclass(frozen=True, kw_only=True)
class ShapeEvaluation(Evaluation):
    accuracy: float

    def flat(self) -> dict[str, float]:
        return {"accuracy": self.accuracy}


@dataclass(frozen=True, kw_only=True)
class ShapeRecipe(TrainedRecipe):
    batch_types: ClassVar[tuple[type, ...]] = (ShapeBatch,)
    batch_size_field: ClassVar[str] = "data.images_per_batch"
    image_size: ClassVar[tuple[int, int]] = (16, 16)
    model: ShapeNetConfig = ShapeNetConfig()
    data: ShapeData = ShapeData()

    def training_source(self, data_root: Any, *, progress: Any = None) -> Shapes:
        return Shapes(self.data, SkipLedger())

    def scorer(self, data_root: Any, device: torch.device, *, progress: Any = None) -> Any:
        batch = drawn(ShapeData(images_per_batch=100), -1, 0, 0).to(device)

        def score(model: nn.Module) -> ShapeEvaluation:
            with self.precision.inference(device):
                right = model(batch).argmax(1) == batch.labels
            return ShapeEvaluation(accuracy=float(right.float().mean()), frames=100, seconds=0.1)

        return score

    def planned_batch(self, *, objects: int, forget: Any = lambda x: x) -> ShapeBatch:
        batch = drawn(self.data, 0, 0, 0)
        return replace(batch, images=forget(batch.images), labels=forget(batch.labels))


SCHEDULE = {"epochs": 3, "lr": 0.05, "warmup_steps": 4, "warmup_ratio": 0.3, "momentum": 0.9}
OTHERS = {"weight_decay": 1e-4, "published_batches_per_step": 1, "best_metric": "accuracy"}
RECIPE = ShapeRecipe(
    name="shapes",
    summary="bars and discs",
    precision=Precision("fp16", 512.0),
    training=TrainingConfig(**SCHEDULE, **OTHERS, workers=0, log_every=1),
)


def test_it_trains_and_resumes_bit_for_bit(tmp_path: Path) -> None:
    result = train(RECIPE, data_root=tmp_path, out=tmp_path / "whole")
    assert result.metrics["accuracy"] > 0.9
    train(RECIPE, data_root=tmp_path, out=tmp_path / "cut")
    (tmp_path / "cut/step_36.pth").unlink()
    train(RECIPE, data_root=tmp_path, out=tmp_path / "cut")
    whole, cut = (torch.load(tmp_path / run / "step_36.pth") for run in ("whole", "cut"))
    assert all(torch.equal(cut["state_dict"][k], v) for k, v in whole["state_dict"].items())
    best = evaluate(RECIPE, data_root=tmp_path, checkpoint=tmp_path / "whole/best.pth")
    assert published_row(RECIPE, best, memory_mb=None, checkpoint=None)["accuracy"] > "0.9"


def test_a_skipped_step_names_its_culprit_and_is_replayed(tmp_path: Path) -> None:
    glaring = override(RECIPE, ["data.glare_at=5", "training.epochs=1"])
    train(glaring, data_root=tmp_path, out=tmp_path)
    skips = [line for line in read_log(tmp_path / "log.jsonl") if line.get("skipped") is True]
    assert skips[-1]["culprit"]["bad_samples"] == ["0/5/0"]
    answer = replay(tmp_path / "skipped/step_6")
    assert (answer.same, answer.found.where) == (True, "conv")


def test_it_is_rehearsed_and_its_memory_planned(tmp_path: Path) -> None:
    found = rehearse(RECIPE, data_root=tmp_path, out=tmp_path, steps=4, every=2, islands=True)
    assert all(answer.words for answer in answers(found))
    with pytest.raises(ValueError, match="no synthetic video for shapes: give --data-root"):
        rehearse(RECIPE, data_root=None, out=tmp_path)
    plan = plan_memory(RECIPE, gpu_memory=2**31)
    assert [each.peak for each in found.memory] == [s.peak for s in plan.steps if not s.accumulates]
    assert plan.largest[0].settings[0].startswith("data.images_per_batch=")


def test_its_precisions_are_compared(tmp_path: Path) -> None:
    quiet = Console(quiet=True)
    pairs = {"seeds": 2, "precision": "fp16", "margin": 5.0}
    found = run_parity(RECIPE, data_root=tmp_path, out=tmp_path, **pairs, console=quiet)
    assert found.equivalence is not None
