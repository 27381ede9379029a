"""What the rehearsal costs and saves: SELSA R50 in fp16 against fp32, ResNet-50 against autocast.

The fp32 step is also held against cal_train, of which the reference implementation takes 3.0.

python benchmarks/rehearsal.py [--rounds 10]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
import torchvision
from measure import (
    calibration_training,
    golden_selsa,
    learner,
    machine,
    paired,
    spread,
    training_clip,
)
from torch import Tensor, nn

from halftrack.frames import Clip
from halftrack.models import SELSA
from halftrack.precision import Precision

FP32, FP16 = Precision(), Precision("fp16", 512.0)


def training_step(model: SELSA, clip: Clip, precision: Precision) -> Callable[[], None]:
    """Forward and backward."""
    taught = learner(model, precision)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        taught.gradients(clip, seed=0)

    return step


def saved_bytes(model: nn.Module, step: Callable[[], None]) -> int:
    """Bytes that the forward pass keeps for the backward pass, weights and their casts apart."""
    # A folded or cast weight has the shape of its weight, which a linear layer keeps transposed.
    shapes = {shape for p in model.parameters() for shape in (p.shape, p.shape[::-1])}
    kept: dict[int, int] = {}
    alive: list[Tensor] = []  # so that no storage's address is given away twice

    def pack(x: Tensor) -> Tensor:
        if x.shape not in shapes:
            kept[x.untyped_storage().data_ptr()] = x.untyped_storage().nbytes()
            alive.append(x)
        return x

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        step()
    return sum(kept.values())


def resnet_step(rehearsed: bool) -> Callable[[], None]:
    """ResNet-50 forward and backward at 2x3x256x256 in fp16."""
    model = torchvision.models.resnet50(weights=None).train()
    images = torch.rand(2, 3, 256, 256)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        if rehearsed:
            with FP16.arithmetic("cpu"):
                with FP16.autocast("cpu"):
                    out = model(images)
                out.float().sum().backward()
        else:
            with torch.autocast("cpu", torch.float16):
                out = model(images)
            out.float().sum().backward()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    model, clip = golden_selsa(), training_clip(320, 512)
    steps = [training_step(model, clip, precision) for precision in (FP16, FP32)]
    half, full = (saved_bytes(model, step) for step in steps)
    print(
        f"SELSA R50, 3x320x512: saved activations {half / 2**20:.0f} MiB in fp16, "
        f"{full / 2**20:.0f} MiB in fp32, ratio {half / full:.3f}"
    )
    rows = paired([*steps, calibration_training()], rounds=rounds)
    print(f"the rehearsed step takes {spread([a / b for a, b, _ in rows])} of its fp32 time")
    print(f"the fp32 step takes {spread([b / c for _, b, c in rows])} cal_train")
    rows = paired([resnet_step(False), resnet_step(True)], rounds=rounds)
    print(
        f"torch.autocast('cpu', float16) takes {spread([a / b for a, b in rows])} times as long "
        "for ResNet-50, forward and backward at 2x3x256x256"
    )
    print(machine())


if __name__ == "__main__":
    main()
