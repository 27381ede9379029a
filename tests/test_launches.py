"""A detector's training step launches and waits as little for many images as for one.

The bars hold for published models; the counts depend on no image's content but for the draws that
an image with more candidates than wanted takes.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from halftrack.frames import Clip, ClipBatch, Frame, FrameBatch
from halftrack.precision import Launches, Precision
from halftrack.recipes import load_recipe
from halftrack.training import Learner

pytestmark = pytest.mark.slow

RECIPES = {
    "SELSA": "selsa_faster_rcnn_r50_dc5_1x_imagenetvid",
    "detector": "faster-rcnn_r50_fpn_4e_mot17-half",
}
# Forward and backward together; what the step adds is the optimizer's.
MOST_KERNELS = {"SELSA": 690, "detector": 730}
MOST_WAITS = 6


def frames(count: int, size: tuple[int, int], objects: int) -> list[Frame]:
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand((count, objects, 2), generator=generator) * 40
    boxes = torch.cat([corners, corners + 20 + corners.flip(-1)], dim=-1)
    images = torch.randint(0, 256, (count, 3, *size), generator=generator, dtype=torch.uint8)
    labels = torch.zeros(objects, dtype=torch.int64)
    return [
        Frame(image=image, sample_id=str(i), boxes_xyxy=boxes[i], labels=labels)
        for i, image in enumerate(images)
    ]


@pytest.fixture(scope="module", params=RECIPES)
def trained(request: pytest.FixtureRequest) -> tuple[str, Learner]:
    recipe = load_recipe(RECIPES[request.param])
    config = replace(recipe.training, lr=0.0, accumulate=1)
    device = torch.device("cpu")
    model = recipe.build_model(seed=0)
    return request.param, Learner(model, config, Precision(), device=device, batches_per_epoch=1)


def counted(
    name: str, learner: Learner, images: int, clips: int | None = None, **how: Any
) -> Launches:
    """A step of so many images, or clips of them; one of a clip's is the key frame."""
    given = frames(images, **how)
    clip = Clip(key=given[0], references=tuple(given[1:]))
    batch: Any = clip if name == "SELSA" else FrameBatch(frames=tuple(given))
    if clips is not None:
        batch = ClipBatch(clips=(clip,) * clips, seeds=tuple(range(clips)))
    # The first step lays the anchors of its size, which are kept.
    for _ in range(2):
        with Launches() as launches:
            learner.gradients(batch, seed=0)
            learner.step()
    return launches


def test_a_step_launches_and_waits_alike_whatever_is_in_it(trained: tuple[str, Learner]) -> None:
    name, learner = trained
    images = 3 if name == "SELSA" else 2
    usual = counted(name, learner, images, size=(160, 256), objects=4)
    assert usual.forward.kernels + usual.backward.kernels <= MOST_KERNELS[name]
    assert usual.waits <= MOST_WAITS, [part.waits for part in usual.parts]
    others = {
        "a smaller image": counted(name, learner, images, size=(96, 160), objects=4),
        "twice the images": counted(name, learner, 2 * images, size=(160, 256), objects=4),
        "twice the objects": counted(name, learner, images, size=(160, 256), objects=8),
        "no objects": counted(name, learner, images, size=(96, 160), objects=0),
    }
    if name == "SELSA":
        others["twice the clips"] = counted(name, learner, images, 2, size=(160, 256), objects=4)
    for what, other in others.items():
        assert other.waits == usual.waits, what
        assert other.kernels <= 1.1 * usual.kernels, what
