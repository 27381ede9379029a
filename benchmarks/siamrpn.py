"""What SiamRPN++ R50 costs: a tracking step, and training steps before and after the thaw.

    python benchmarks/siamrpn.py [--rounds 10]

Times in cal_inf (torchvision's ResNet-50 forward at 1x3x608x1008) and cal_train (its forward and
backward at 3x3x320x512), interleaved. The reference takes 0.85 cal_inf for a step on a 255x255
search region, and 1.86 (backbone frozen) and 5.0 cal_train (unfrozen) for 4 pairs.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from measure import (
    calibration_inference,
    calibration_training,
    golden_siamrpn,
    golden_video,
    learner,
    machine,
    paired,
    spread,
)

from halftrack.frames import PairBatch
from halftrack.recipes import load_recipe
from halftrack.tracking import SiameseConfig, SiameseTracker
from halftrack.training import TrainingConfig


def pairs(count: int) -> PairBatch:
    """Pairs of noise, one negative."""
    return PairBatch(
        templates=torch.rand(count, 3, 127, 127) * 255,
        searches=torch.rand(count, 3, 255, 255) * 255,
        boxes_xyxy=torch.tensor([[90.0, 80.0, 160.0, 170.0]]).repeat(count, 1),
        positive=torch.arange(count) > 0,
        sample_ids=("pair",) * count,
    )


def training(config: TrainingConfig, epoch: int) -> Callable[[], None]:
    """Forward and backward in an epoch of the published recipe."""
    model, batch = golden_siamrpn(), pairs(4)
    taught = learner(model, phases=config.phases)
    taught.begin_epoch(epoch)

    def step() -> None:
        model.zero_grad(set_to_none=True)
        taught.gradients(batch, seed=0)

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    print(machine())
    model = golden_siamrpn().eval()
    tracker = SiameseTracker(model=model, config=SiameseConfig(), geometry=model.config.geometry)
    first, second = golden_video(2, 480, 640)
    tracker.start(first.image, first.boxes_xyxy[0])
    rows = paired([lambda: tracker.step(second.image), calibration_inference()], rounds=rounds)
    print(f"tracking step: {spread([a / b for a, b in rows])} cal_inf")
    config = load_recipe("siamese_rpn_r50_20e_lasot").training
    works = [training(config, 0), training(config, 10), calibration_training()]
    rows = paired(works, rounds=rounds)
    print(f"4 pairs, backbone frozen: {spread([a / c for a, _, c in rows])} cal_train")
    print(f"4 pairs, unfrozen: {spread([b / c for _, b, c in rows])} cal_train")


if __name__ == "__main__":
    main()
