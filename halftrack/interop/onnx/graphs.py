"""The graphs that a model is exported as: inputs and outputs by name, and which axes are free."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.interop.onnx.detectors import Detector, FrameOfVideo, References
from halftrack.models import SELSA, FasterRCNN, ReID, SiamRPN
from halftrack.models.detector_config import RoIHeadConfig

__all__ = ["Graph", "graphs_of"]

Tensors = dict[str, Tensor]
_FOUND = ("boxes", "scores", "labels")


@dataclass(frozen=True, kw_only=True)
class Graph:
    """A part of a model's inference, from tensors to tensors."""

    module: nn.Module
    """The part, in evaluation mode."""
    method: str = "forward"
    """The method of it that computes."""
    examples: Callable[[int], Tensors]
    """Inputs by name, in order: number 0 to trace with, from 1 on of other sizes and values."""
    free_axes: Mapping[str, tuple[int, ...]]
    """Axes of inputs that may have any size."""
    outputs: tuple[str, ...]
    """Names of what comes out; ``boxes`` first where objects are found."""
    defaults: Mapping[str, float] = field(default_factory=dict)
    """Numbers that inputs have where they are left out."""

    @torch.no_grad()
    def __call__(self, inputs: Mapping[str, Tensor]) -> Tensors:
        """PyTorch's answer, by name."""
        answer = getattr(self.module, self.method)(*inputs.values())
        answer = (answer,) if isinstance(answer, Tensor) else answer
        return dict(zip(self.outputs, answer, strict=True))


def graphs_of(model: nn.Module) -> dict[str, Graph]:
    """Graphs by name; of a tracker those of its parts, and of a model of another kind none."""
    match model:
        case FasterRCNN():
            return {"detector": _detector(model)}
        case SELSA():
            return _video_detector(model)
        case ReID():
            return {"reid": _embedder(model)}
        case SiamRPN():
            return _siamese(model)
    parts = [part for part in model.children() if isinstance(part, FasterRCNN | ReID)]
    return {name: graph for part in parts for name, graph in graphs_of(part).items()}


def _detector(model: FasterRCNN) -> Graph:
    return Graph(
        module=Detector(model),
        examples=lambda number: {"image": _frame(number), "score_threshold": torch.tensor(0.0)},
        free_axes={"image": (1, 2)},
        outputs=_FOUND,
        defaults=_defaults(model.config.roi_head),
    )


def _video_detector(model: SELSA) -> dict[str, Graph]:
    memory = ("keys_1", "values_1", "keys_2", "values_2")
    references = Graph(
        module=References(model),
        examples=lambda number: {"image": _frame(number)},
        free_axes={"image": (1, 2)},
        outputs=memory,
    )

    def example(number: int) -> Tensors:
        lent = [references({"image": _frame(number + each)}) for each in range(2 + number)]
        joined = {name: torch.cat([each[name] for each in lent], dim=1) for name in memory}
        return {"image": _frame(number), "score_threshold": torch.tensor(0.0), **joined}

    frame = Graph(
        module=FrameOfVideo(model),
        examples=example,
        free_axes={"image": (1, 2), **dict.fromkeys(memory, (1,))},
        outputs=_FOUND,
        defaults=_defaults(model.config.roi_head),
    )
    return {"references": references, "frame": frame}


def _embedder(model: ReID) -> Graph:
    height, width = model.config.crop_size

    def example(number: int) -> Tensors:
        size = (height + 24 * number, width + 8 * number)
        crops = [_image(each, *size) / 64 - 2 for each in range(2 + 3 * number)]
        return {"crops": torch.stack(crops)}

    return Graph(
        module=model,
        method="embed_images",
        examples=example,
        free_axes={"crops": (0, 2, 3)},
        outputs=("embeddings",),
    )


def _siamese(model: SiamRPN) -> dict[str, Graph]:
    calls, _ = model.tensor_calls()
    geometry, levels = model.config.geometry, range(1, 1 + len(model.config.backbone.outputs))
    kernels = [f"{answer}_kernel_{level}" for level in levels for answer in ("score", "box")]

    def template(number: int) -> Tensors:
        side = geometry.template_size + 16 * number
        return {"template": _image(number, side, side)}

    def search(number: int) -> Tensors:
        side = geometry.search_size
        size = (side + 8 * number, side + 24 * number)
        return {"search": _image(number, *size)} | halves["template"](template(number))

    halves = {
        "template": Graph(
            module=calls,
            method="embed",
            examples=template,
            free_axes={"template": (1, 2)},
            outputs=tuple(kernels),
        ),
        "search": Graph(
            module=calls,
            method="compare",
            examples=search,
            free_axes={"search": (1, 2)},
            outputs=("scores", "deltas"),
        ),
    }
    return halves


def _defaults(head: RoIHeadConfig) -> dict[str, float]:
    return {"score_threshold": head.score_threshold}


def _frame(number: int) -> Tensor:
    return _image(number, 192 + 37 * number, 320 + 53 * number)


def _image(number: int, height: int, width: int) -> Tensor:
    """Clouds of colour ``(3, height, width)``, 0 to 255."""
    source = torch.Generator().manual_seed(number)
    coarse = torch.rand(1, 3, 9, 16, generator=source) * 255
    clouds = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=False)
    return clouds[0].clamp(0, 255)
