"""Paired timings, the calibration work, R50 models with known weights, and a learner of them."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torchvision
from torch import nn

from halftrack.frames import Clip, Frame
from halftrack.layers import ResNetConfig
from halftrack.models import (
    SELSA,
    FasterRCNN,
    FasterRCNNConfig,
    ReID,
    ReIDConfig,
    SelsaConfig,
    SiamRPN,
    SiamRPNConfig,
)
from halftrack.precision import Precision
from halftrack.recipes import load_recipe
from halftrack.training import Learner
from halftrack.training.placement import placed

__all__ = [
    "calibration_inference",
    "calibration_training",
    "golden_detector",
    "golden_reid",
    "golden_selsa",
    "golden_siamrpn",
    "golden_video",
    "learner",
    "machine",
    "paired",
    "spread",
    "training_clip",
]

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
Work = Callable[[], object]


def paired(
    works: Sequence[Work],
    *,
    rounds: int,
    warm_up: int = 1,
    clock: Callable[[], float] = time.perf_counter,
) -> list[list[float]]:
    """Seconds of each piece of work, a row a round; rounds are interleaved, so drift cancels."""
    rows = []
    for number in range(warm_up + rounds):
        row = []
        for work in works:
            start = clock()
            work()
            row.append(clock() - start)
        if number >= warm_up:
            rows.append(row)
    return rows


def spread(ratios: Sequence[float]) -> str:
    """Median, least and greatest of paired ratios, as the notes quote them."""
    return (
        f"{statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}, "
        f"{len(ratios)} pairs)"
    )


def machine() -> str:
    """What a figure was measured on."""
    return (
        f"{os.cpu_count()} {platform.machine()} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, Python {platform.python_version()}"
    )


def calibration_inference() -> Work:
    """cal_inf: torchvision's ResNet-50, forward in eval mode, no gradient, fp32, 1x3x608x1008."""
    model = torchvision.models.resnet50(weights=None).eval()
    image = torch.rand(1, 3, 608, 1008)

    def forward() -> None:
        with torch.no_grad():
            model(image)

    return forward


def calibration_training() -> Work:
    """cal_train: the same model's forward and backward in train mode, 3x3x320x512."""
    model = torchvision.models.resnet50(weights=None).train()
    images = torch.rand(3, 3, 320, 512)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        model(images).sum().backward()

    return step


def golden_module() -> ModuleType:
    """The numpy functions that make deterministic weights and images."""
    spec = importlib.util.spec_from_file_location("golden_recipe", GOLDEN / "golden_recipe.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def golden_weights(model: nn.Module, file: str, name: str, *, seed: int = 1) -> None:
    """Fill a model with the deterministic weights of the golden values."""
    entries = json.loads((GOLDEN / file).read_text())
    weights = golden_module().fill_state_dict(entries, seed, name)
    model.load_state_dict({key: torch.from_numpy(np.asarray(v)) for key, v in weights.items()})


def golden_selsa(*, recompute: tuple[int, ...] = (), seed: int = 1) -> SELSA:
    """SELSA R50-DC5 with the deterministic weights of the golden values."""
    model = SelsaConfig(backbone=ResNetConfig(recompute=recompute)).build()
    golden_weights(model, "selsa_state_dict.json", "vid", seed=seed)
    return model


def golden_detector() -> FasterRCNN:
    """Tracktor's Faster R-CNN R50-FPN, likewise."""
    model = FasterRCNNConfig().build()
    golden_weights(model, "faster_rcnn_fpn_state_dict.json", "det")
    return model


def golden_reid() -> ReID:
    """Tracktor's ReID R50, likewise."""
    model = ReIDConfig(num_identities=380).build()
    golden_weights(model, "reid_r50_state_dict.json", "reid")
    return model


def golden_siamrpn() -> SiamRPN:
    """SiamRPN++ R50, likewise."""
    model = SiamRPNConfig().build()
    golden_weights(model, "siamrpn_state_dict.json", "sot")
    return model


def golden_video(count: int, height: int, width: int) -> list[Frame]:
    """Frames of one deterministic video, with four objects each."""
    images, boxes = golden_module().make_clip("benchmark", count, height, width, pan=(3.0, 1.0))
    return [
        Frame(
            image=torch.from_numpy(image[:, :, ::-1].copy()).permute(2, 0, 1),
            sample_id=f"benchmark/{index:06d}",
            frame_index=index,
            boxes_xyxy=torch.from_numpy(np.asarray(boxes[index], dtype=np.float32)),
            labels=torch.arange(len(boxes[index])),
        )
        for index, image in enumerate(images)
    ]


def learner(
    model: nn.Module,
    precision: Precision | None = None,
    *,
    device: torch.device | str = "cpu",
    **settings: Any,
) -> Learner:
    """Training's own step of a model, at a rate of 0: its weights stay as they are.

    Args:
        model: any; it is put on the device.
        precision: what it computes in; fp32 if left out.
        device: where it computes.
        settings: fields of ``TrainingConfig`` that are not those of the published SELSA recipe.
    """
    published = load_recipe("selsa_faster_rcnn_r50_dc5_1x_imagenetvid").training
    config = replace(published, **({"lr": 0.0, "accumulate": 1} | settings))
    device = torch.device(device)
    precision = precision or Precision()
    model = placed(model, config, precision, device)
    return Learner(model, config, precision, device=device, batches_per_epoch=1)


def training_clip(height: int, width: int) -> Clip:
    """A key frame and two references."""
    first, key, last = golden_video(3, height, width)
    return Clip(key=key, references=(first, last))
