"""Each module's result has the dtype that PyTorch's own autocast gives it on a GPU.

The GPU is one of fake tensors, which have a device, shape and dtype and no values: PyTorch's own
CUDA autocast decides, and no GPU is needed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models import segmentation, video

from halftrack.precision import Precision
from halftrack.recipes import load_recipe
from halftrack.rehearsing.gpu_dtypes import dtypes_by_module

Inputs = Callable[[Callable[[Tensor], Tensor]], tuple[Any, ...]]


def images(
    *shape: int, count: int = 1
) -> Callable[[Callable[[Tensor], Tensor]], tuple[Tensor, ...]]:
    return lambda forget: tuple(forget(torch.zeros(shape)) for _ in range(count))


def reid() -> tuple[Callable[[], nn.Module], Inputs]:
    recipe = load_recipe("reid_tiny_sample")
    recipe = replace(recipe, model=replace(recipe.model, num_identities=8))

    def batch(forget: Callable[[Tensor], Tensor]) -> tuple[Any]:
        planned = recipe.planned_batch(objects=2, forget=forget)
        return (replace(planned, labels=forget(planned.labels)),)

    return recipe.build_model, batch


def part_of(name: str, path: str) -> Callable[[], nn.Module]:
    return lambda: load_recipe(name).build_model().get_submodule(path)


def padded(forget: Callable[[Tensor], Tensor]) -> tuple[Tensor, None, Tensor]:
    return forget(torch.zeros(2, 5, 16)), None, forget(torch.zeros(2, 5, dtype=torch.bool))


def chain() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4), nn.PReLU(), nn.ConvTranspose2d(4, 4, 2)),
        *(nn.InstanceNorm2d(4), nn.Upsample(scale_factor=2, mode="bilinear"), nn.AvgPool2d(2)),
        *(nn.SiLU(), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Softplus(), nn.Linear(16, 4)),
        *(nn.LayerNorm(4), nn.GELU(), nn.Softmax(1), nn.Linear(4, 4), nn.LogSoftmax(1)),
    )


_SMALL = images(2, 3, 64, 64)
_WORDS = images(5, 2, 16, count=2)
_UNTRAINED = {"weights": None, "weights_backbone": None}
MODELS: dict[str, tuple[Callable[[], nn.Module], Inputs]] = {
    "resnet18": (models.resnet18, _SMALL),
    "vit_b_16": (partial(models.vit_b_16, image_size=64), _SMALL),
    "swin_t": (models.swin_t, _SMALL),
    "swin_v2_t": (models.swin_v2_t, _SMALL),
    "convnext_tiny": (models.convnext_tiny, _SMALL),
    "mobilenet_v3_small": (models.mobilenet_v3_small, _SMALL),
    "shufflenet_v2_x0_5": (models.shufflenet_v2_x0_5, _SMALL),
    "squeezenet1_1": (models.squeezenet1_1, _SMALL),
    "lraspp": (partial(segmentation.lraspp_mobilenet_v3_large, **_UNTRAINED), _SMALL),
    "r3d_18": (video.r3d_18, images(1, 3, 4, 32, 32)),
    "layers": (chain, images(2, 3, 16, 16)),
    "Transformer": (partial(nn.Transformer, 16, 2, 1, 1, 32), _WORDS),
    "TransformerEncoderLayer": (
        partial(nn.TransformerEncoderLayer, 16, 2, 32, batch_first=True),
        padded,
    ),
    "MultiheadAttention": (partial(nn.MultiheadAttention, 16, 2), images(5, 2, 16, count=3)),
    "ReID": reid(),
    "SELSA's backbone": (part_of("selsa_tiny_sample", "detector.backbone"), _SMALL),
    "Faster R-CNN's backbone": (part_of("faster-rcnn_tiny_sample", "backbone"), _SMALL),
    "SiamRPN++'s backbone": (part_of("siamese_rpn_tiny_sample", "backbone"), _SMALL),
}


# Torch says so of its own layers.
@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")
@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
@pytest.mark.parametrize("name", MODELS)
def test_every_module_of_a_model_gives_the_dtype_that_it_gives_on_a_gpu(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It asks for values, which these weights do not have.
    monkeypatch.setattr(nn.init, "trunc_normal_", lambda tensor, **_: tensor)
    build, inputs = MODELS[name]
    with torch.device("meta"):
        model = build()
    rehearsed, on_a_gpu = (
        dtypes_by_module(
            lambda model, inputs: model(*inputs(lambda tensor: tensor)),
            inputs,
            model=model,
            precision=Precision.named("fp16"),
            device=device,
        )
        for device in ("cpu", "cuda")
    )
    assert rehearsed
    assert rehearsed == on_a_gpu
