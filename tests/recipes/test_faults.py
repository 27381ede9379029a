"""Fifty faults in the models of the three tasks: each is named right, and replays from its bundle.

Faults lie where training puts them: in weights, statistics, batches and the loss scale. Those that
lie in code are in tests/precision/test_culprit.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from halftrack.frames import Clip, CropBatch, Frame, FrameBatch, PairBatch
from halftrack.layers import SiameseGeometry
from halftrack.precision import Culprit, Precision
from halftrack.recipes import TrainedRecipe, load_recipe, replay
from halftrack.training.files.bundle import ReplayBundle, write_bundle
from halftrack.training.skipped import explain

pytestmark = pytest.mark.slow

SEED = 7
FP16, FP32, BF16 = Precision("fp16", "dynamic"), Precision(), Precision("bf16")
THE_MODEL = "the model itself"
Fault = Callable[[nn.Module, object], object]
"""Spoils a model or gives another batch."""


def frame(name: str) -> Frame:
    image = torch.rand(3, 64, 96) * 255
    boxes = torch.tensor([[10.0, 12.0, 42.0, 44.0], [50.0, 20.0, 78.0, 50.0]])
    return Frame(image=image, sample_id=name, boxes_xyxy=boxes, labels=torch.tensor([0, 0]))


def clip() -> Clip:
    return Clip(key=frame("key"), references=(frame("ref1"), frame("ref2")))


def frames() -> FrameBatch:
    return FrameBatch(frames=(frame("one"), frame("two")))


def crops() -> CropBatch:
    names = tuple(f"crop{index}" for index in range(6))
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    return CropBatch(images=torch.rand(6, 3, 64, 64) * 255, labels=labels, sample_ids=names)


def pairs() -> PairBatch:
    return PairBatch(
        templates=torch.rand(2, 3, 127, 127) * 255,
        searches=torch.rand(2, 3, 255, 255) * 255,
        boxes_xyxy=torch.tensor([[96.0, 96.0, 160.0, 160.0], [90.0, 100.0, 150.0, 170.0]]),
        positive=torch.tensor([True, False]),
        sample_ids=("pair1", "pair2"),
    )


def reid_recipe() -> TrainedRecipe:
    recipe = load_recipe("reid_tiny_sample")
    return replace(recipe, model=replace(recipe.model, num_identities=3))


def frozen_recipe() -> TrainedRecipe:
    """SELSA with its batch norms folded into the convolutions, as published."""
    recipe = load_recipe("selsa_tiny_sample")
    backbone = replace(recipe.model.backbone, frozen_bn=True)
    return replace(recipe, model=replace(recipe.model, backbone=backbone))


def siamrpn_recipe() -> TrainedRecipe:
    """SiamRPN++ whose norms keep random features in range without any training."""
    recipe = load_recipe("siamese_rpn_tiny_sample")
    backbone = replace(recipe.model.backbone, base_channels=16, norm="group")
    model = replace(
        recipe.model, backbone=backbone, norm="group", geometry=SiameseGeometry(), num_negatives=16
    )
    matching = replace(model.matching, num_samples=64, positive_fraction=0.25)
    return replace(recipe, model=replace(model, matching=matching))


RECIPES: dict[str, tuple[Callable[[], TrainedRecipe], Callable[[], object]]] = {
    "selsa": (partial(load_recipe, "selsa_tiny_sample"), clip),
    "frozen": (frozen_recipe, clip),
    "faster-rcnn": (partial(load_recipe, "faster-rcnn_tiny_sample"), frames),
    "reid": (reid_recipe, crops),
    "siamrpn": (siamrpn_recipe, pairs),
}


def changed(name: str, how: Callable[[Tensor], object]) -> Fault:
    """Parameters and buffers whose names match a pattern."""

    @torch.no_grad()
    def fault(model: nn.Module, batch: object) -> object:
        tensors = dict([*model.named_parameters(), *model.named_buffers()])
        matching = [key for key in tensors if fnmatchcase(key, name)]
        assert matching, name
        for key in matching:
            how(tensors[key])
        return batch

    return fault


def grown(name: str, factor: float) -> Fault:
    return changed(name, lambda tensor: tensor.mul_(factor))


def filled(name: str, value: float) -> Fault:
    return changed(name, lambda tensor: tensor.fill_(value))


def holed(name: str, value: float) -> Fault:
    """One value of it."""
    return changed(name, lambda tensor: tensor.view(-1)[:1].fill_(value))


def with_hole(tensor: Tensor, value: float, row: int = 0) -> Tensor:
    tensor = tensor.clone()
    tensor[row].view(-1)[0] = value
    return tensor


def in_frame(number: int, change: Callable[[Frame], Frame]) -> Fault:
    """One frame of a clip (the key frame is 0) or of a batch."""

    def fault(_: nn.Module, batch: object) -> object:
        if isinstance(batch, Clip):
            parts = [batch.key, *batch.references]
            parts[number] = change(parts[number])
            return Clip(key=parts[0], references=tuple(parts[1:]))
        assert isinstance(batch, FrameBatch)
        parts = list(batch.frames)
        parts[number] = change(parts[number])
        return FrameBatch(frames=tuple(parts))

    return fault


def pixel(value: float) -> Callable[[Frame], Frame]:
    return lambda frame: replace(frame, image=with_hole(frame.image, value))


def flat_box(frame: Frame) -> Frame:
    """A box without width: its logarithm and the shift by its size are not finite."""
    boxes = frame.boxes_xyxy.clone()
    boxes[0, 2] = boxes[0, 0]
    return replace(frame, boxes_xyxy=boxes)


def in_row(field: str, value: float, row: int) -> Fault:
    return lambda _, batch: replace(batch, **{field: with_hole(getattr(batch, field), value, row)})


def nothing(_: nn.Module, batch: object) -> object:
    return batch


@dataclass(frozen=True)
class Story:
    """A fault and the culprit it must be blamed on."""

    model: str
    fault: Fault
    where: str
    operation: str
    direction: str | None
    kind: str
    term: str | None = None
    samples: tuple[str, ...] = ()
    precision: Precision = FP16
    loss_scale: float = 512.0


S, B = "detector.", "detector.roi_head.bbox_head."
OVERFLOW, BACK = ("forward", "overflow"), ("backward", "overflow")
ALL_FRAMES = ("key", "ref1", "ref2")
STORIES: dict[str, Story] = {
    "selsa: a backbone weight outgrows half": Story(
        "selsa",
        grown(f"{S}backbone.layer1.0.conv1.weight", 1e6),
        f"{S}backbone.layer1.0.conv1",
        "cast",
        *OVERFLOW,
    ),
    "selsa: a batch norm's gain outgrows half": Story(
        "selsa",
        filled(f"{S}backbone.layer2.0.bn1.weight", 1e6),
        f"{S}backbone.layer2.0.bn1",
        "batch_norm",
        *OVERFLOW,
        samples=ALL_FRAMES,
    ),
    "selsa: the neck's sums overflow": Story(
        "selsa",
        grown(f"{S}neck.convs.0.conv.weight", 1e5),
        f"{S}neck.convs.0.conv",
        "convolution",
        *OVERFLOW,
        samples=ALL_FRAMES,
    ),
    "selsa: the rpn's sums overflow": Story(
        "selsa",
        grown(f"{S}rpn_head.rpn_conv.weight", 1e6),
        f"{S}rpn_head.rpn_conv",
        "convolution",
        *OVERFLOW,
    ),
    "selsa: the same where the scale can go no lower": Story(
        "selsa",
        grown(f"{S}rpn_head.rpn_conv.weight", 1e6),
        f"{S}rpn_head.rpn_conv",
        "convolution",
        *OVERFLOW,
        loss_scale=1.0,
    ),
    "selsa: a weight of the rpn's scores": Story(
        "selsa",
        grown(f"{S}rpn_head.rpn_cls.weight", 3e6),
        f"{S}rpn_head.rpn_cls",
        "cast",
        *OVERFLOW,
        "loss_rpn_cls",
    ),
    "selsa: a weight of the rpn's boxes": Story(
        "selsa",
        grown(f"{S}rpn_head.rpn_reg.weight", 3e6),
        f"{S}rpn_head.rpn_reg",
        "cast",
        *OVERFLOW,
        "loss_rpn_bbox",
    ),
    "selsa: the first shared FC's sums overflow": Story(
        "selsa",
        grown(f"{B}shared_fcs.0.weight", 1e5),
        f"{B}shared_fcs.0",
        "addmm",
        *OVERFLOW,
    ),
    "selsa: a weight of the scores": Story(
        "selsa",
        grown(f"{B}fc_cls.weight", 3e6),
        f"{B}fc_cls",
        "cast",
        *OVERFLOW,
        "loss_cls",
    ),
    "selsa: the boxes' sums overflow": Story(
        "selsa",
        grown(f"{B}fc_reg.weight", 1e7),
        f"{B}fc_reg",
        "addmm",
        *OVERFLOW,
        "loss_bbox",
    ),
    "selsa: the attention's product overflows": Story(
        "selsa",
        grown(f"{B}aggregator.0.*fc_embed.weight", 5e3),
        f"{B}aggregator.0",
        "bmm",
        *OVERFLOW,
    ),
    "selsa: what the attention gathered overflows": Story(
        "selsa",
        grown(f"{B}aggregator.1.fc.weight", 1e5),
        f"{B}aggregator.1.fc",
        "addmm",
        *OVERFLOW,
    ),
    "selsa: a weight is NaN": Story(
        "selsa",
        holed(f"{B}aggregator.0.ref_fc.weight", math.nan),
        f"{B}aggregator.0.ref_fc.weight",
        "parameter",
        None,
        "NaN",
    ),
    "selsa: a bias of the rpn's scores is NaN": Story(
        "selsa",
        holed(f"{S}rpn_head.rpn_cls.bias", math.nan),
        f"{S}rpn_head.rpn_cls.bias",
        "parameter",
        None,
        "NaN",
        "loss_rpn_cls",
    ),
    "selsa: the same in bf16": Story(
        "selsa",
        holed(f"{S}rpn_head.rpn_cls.bias", math.nan),
        f"{S}rpn_head.rpn_cls.bias",
        "parameter",
        None,
        "NaN",
        "loss_rpn_cls",
        precision=BF16,
        loss_scale=1.0,
    ),
    "selsa: a weight is infinite": Story(
        "selsa",
        holed(f"{S}backbone.conv1.weight", math.inf),
        f"{S}backbone.conv1.weight",
        "parameter",
        None,
        "infinity",
    ),
    "selsa: a pixel of the key frame is NaN": Story(
        "selsa",
        in_frame(0, pixel(math.nan)),
        "key.image",
        "batch",
        None,
        "NaN",
        samples=("key",),
    ),
    "selsa: a pixel of a reference is infinite": Story(
        "selsa",
        in_frame(1, pixel(math.inf)),
        "references[0].image",
        "batch",
        None,
        "infinity",
        samples=("ref1",),
    ),
    "selsa: a pixel of another reference is NaN in fp32": Story(
        "selsa",
        in_frame(2, pixel(math.nan)),
        "references[1].image",
        "batch",
        None,
        "NaN",
        samples=("ref2",),
        precision=FP32,
        loss_scale=1.0,
    ),
    "selsa: a box has no width": Story(
        "selsa",
        in_frame(0, flat_box),
        THE_MODEL,
        "target",
        None,
        "NaN",
        "loss_bbox",
        samples=("key",),
    ),
    "selsa: the first loss scale of a run": Story(
        "selsa",
        nothing,
        f"{B}fc_cls",
        "addmm",
        *BACK,
        "loss_cls",
        loss_scale=65536.0,
    ),
    "frozen: a variance is negative": Story(
        "frozen",
        holed(f"{S}backbone.layer1.0.bn1.running_var", -1.0),
        f"{S}backbone.layer1.0.bn1",
        "rsqrt",
        "forward",
        "NaN",
    ),
    "frozen: a variance is NaN": Story(
        "frozen",
        holed(f"{S}backbone.layer2.1.bn2.running_var", math.nan),
        f"{S}backbone.layer2.1.bn2.running_var",
        "buffer",
        None,
        "NaN",
    ),
    "frozen: a folded weight outgrows half": Story(
        "frozen",
        grown(f"{S}backbone.layer3.0.conv2.weight", 1e6),
        f"{S}backbone.layer3.0.conv2",
        "cast",
        *OVERFLOW,
    ),
    "faster-rcnn: a backbone weight outgrows half": Story(
        "faster-rcnn",
        grown("backbone.layer3.1.conv2.weight", 1e6),
        "backbone.layer3.1.conv2",
        "cast",
        *OVERFLOW,
    ),
    "faster-rcnn: a lateral weight": Story(
        "faster-rcnn",
        grown("neck.lateral_convs.2.conv.weight", 1e6),
        "neck.lateral_convs.2.conv",
        "cast",
        *OVERFLOW,
    ),
    "faster-rcnn: the pyramid's sums overflow": Story(
        "faster-rcnn",
        grown("neck.fpn_convs.0.conv.weight", 5e5),
        "neck.fpn_convs.0.conv",
        "convolution",
        *OVERFLOW,
        samples=("one", "two"),
    ),
    "faster-rcnn: a weight of the rpn": Story(
        "faster-rcnn",
        grown("rpn_head.rpn_conv.weight", 1e7),
        "rpn_head.rpn_conv",
        "cast",
        *OVERFLOW,
    ),
    "faster-rcnn: a weight of the second stage": Story(
        "faster-rcnn",
        grown("roi_head.bbox_head.shared_fcs.1.weight", 1e6),
        "roi_head.bbox_head.shared_fcs.1",
        "cast",
        *OVERFLOW,
    ),
    "faster-rcnn: a group norm's shift is NaN": Story(
        "faster-rcnn",
        holed("backbone.layer4.0.bn2.bias", math.nan),
        "backbone.layer4.0.bn2.bias",
        "parameter",
        None,
        "NaN",
    ),
    "faster-rcnn: a pixel is NaN": Story(
        "faster-rcnn",
        in_frame(1, pixel(math.nan)),
        "frames[1].image",
        "batch",
        None,
        "NaN",
        samples=("two",),
    ),
    "faster-rcnn: a box has no width": Story(
        "faster-rcnn",
        in_frame(1, flat_box),
        THE_MODEL,
        "target",
        None,
        "NaN",
        "loss_bbox",
        samples=("two",),
    ),
    "faster-rcnn: the first loss scale of a run": Story(
        "faster-rcnn",
        nothing,
        "roi_head.bbox_head.fc_cls",
        "addmm",
        *BACK,
        "loss_cls",
        loss_scale=65536.0,
    ),
    "faster-rcnn: the highest loss scale there is": Story(
        "faster-rcnn",
        nothing,
        THE_MODEL,
        "cast",
        *BACK,
        "loss_bbox",
        loss_scale=2.0**24,
    ),
    "reid: a weight of the hidden FC": Story(
        "reid",
        grown("head.fcs.0.fc.weight", 1e7),
        "head.fcs.0.fc",
        "cast",
        *OVERFLOW,
    ),
    "reid: a weight of the embedding": Story(
        "reid",
        grown("head.fc_out.weight", 1e7),
        "head.fc_out",
        "cast",
        *OVERFLOW,
    ),
    "reid: a weight of the classifier": Story(
        "reid",
        grown("head.classifier.weight", 3e7),
        "head.classifier",
        "cast",
        *OVERFLOW,
        "loss_cls",
    ),
    "reid: the classifier is NaN": Story(
        "reid",
        holed("head.classifier.weight", math.nan),
        "head.classifier.weight",
        "parameter",
        None,
        "NaN",
        "loss_cls",
    ),
    "reid: a crop is NaN": Story(
        "reid",
        in_row("images", math.nan, 3),
        "images",
        "batch",
        None,
        "NaN",
        samples=("crop3",),
    ),
    "reid: a crop is infinite in bf16": Story(
        "reid",
        in_row("images", math.inf, 1),
        "images",
        "batch",
        None,
        "infinity",
        samples=("crop1",),
        precision=BF16,
        loss_scale=1.0,
    ),
    "reid: the first loss scale of a run": Story(
        "reid",
        nothing,
        "head.fcs.0.fc",
        "addmm",
        *BACK,
        "loss_triplet",
        loss_scale=65536.0,
    ),
    "reid: gradients whose squares overflow fp32": Story(
        "reid",
        grown("head.classifier.weight", 1e24),
        "head.fcs.0.fc.weight",
        "norm",
        None,
        "overflow",
        precision=FP32,
        loss_scale=1.0,
    ),
    "siamrpn: a backbone weight outgrows half": Story(
        "siamrpn",
        grown("backbone.layer1.0.conv1.weight", 1e6),
        "backbone.layer1.0.conv1",
        "cast",
        *OVERFLOW,
    ),
    "siamrpn: the correlation overflows fp32": Story(
        "siamrpn",
        grown("head.cls_heads.1.*_convs.bn.weight", 1e19),
        "head",
        "convolution",
        *OVERFLOW,
        "loss_rpn_cls",
    ),
    "siamrpn: the box branches overflow fp32": Story(
        "siamrpn",
        grown("head.reg_heads.*.head_convs.1.conv.weight", 1e38),
        "head.reg_heads.0.head_convs.1.conv",
        "convolution",
        *OVERFLOW,
        "loss_rpn_bbox",
    ),
    "siamrpn: the weight of a level is NaN": Story(
        "siamrpn",
        holed("head.cls_weight", math.nan),
        "head.cls_weight",
        "parameter",
        None,
        "NaN",
        "loss_rpn_cls",
    ),
    "siamrpn: the weights of all levels are infinite": Story(
        "siamrpn",
        filled("head.reg_weight", math.inf),
        "head.reg_weight",
        "parameter",
        None,
        "infinity",
        "loss_rpn_bbox",
    ),
    "siamrpn: a template is NaN": Story(
        "siamrpn",
        in_row("templates", math.nan, 1),
        "templates",
        "batch",
        None,
        "NaN",
        samples=("pair2",),
    ),
    "siamrpn: a search region is infinite": Story(
        "siamrpn",
        in_row("searches", math.inf, 0),
        "searches",
        "batch",
        None,
        "infinity",
        samples=("pair1",),
    ),
    "siamrpn: a pixel beyond any image": Story(
        "siamrpn",
        in_row("searches", 1e6, 1),
        "backbone.conv1",
        "cast",
        *OVERFLOW,
        samples=("pair2",),
    ),
    "siamrpn: a pixel far below black": Story(
        "siamrpn",
        in_row("templates", -1e6, 0),
        "backbone.conv1",
        "cast",
        *OVERFLOW,
        samples=("pair1",),
    ),
    "siamrpn: the first loss scale of a run": Story(
        "siamrpn",
        nothing,
        "backbone.conv1",
        "convolution",
        *BACK,
        "loss_rpn_bbox",
        loss_scale=65536.0,
    ),
}


def step_of(story: Story, device: torch.device) -> tuple[TrainedRecipe, nn.Module, object]:
    make_recipe, make_batch = RECIPES[story.model]
    recipe = make_recipe()
    model = recipe.build_model(seed=0).train()
    story.precision.keep_in_fp32(model)
    torch.manual_seed(1)
    batch = story.fault(model, make_batch())
    return recipe, model.to(device), batch.to(device)


def culprit_of(
    story: Story, model: nn.Module, batch: object, device: torch.device
) -> Culprit | None:
    return explain(
        model,
        [batch],
        [SEED],
        precision=story.precision,
        loss_scale=story.loss_scale,
        device=device,
    )


@pytest.mark.parametrize("name", STORIES)
def test_the_fault_is_named_and_replays_from_its_bundle(
    name: str, device: torch.device, tmp_path: Path
) -> None:
    story = STORIES[name]
    recipe, model, batch = step_of(story, device)
    found = culprit_of(story, model, batch, device)
    assert found is not None
    assert (found.where, found.operation) == (story.where, story.operation), str(found)
    assert (found.direction, found.kind) == (story.direction, story.kind), str(found)
    assert (found.loss_term, found.bad_samples) == (story.term, story.samples), str(found)
    # A smaller scale is offered where one helps, and nowhere else.
    assert (found.fits_at is not None) == (story.direction == "backward")
    bundle = ReplayBundle(
        recipe=recipe.to_dict(),
        precision=story.precision,
        loss_scale=story.loss_scale,
        step=1,
        epoch=0,
        batches=(batch,),
        seeds=(SEED,),
        weights=model.state_dict(),
        device=device.type,
        culprit=found,
        versions={},
    )
    write_bundle(bundle, tmp_path / "step_1")
    again = replay(tmp_path / "step_1")
    assert again.same, again.lines()
    if device.type == "cpu":  # elsewhere sums come out in any order
        assert again.found.to_dict() == found.to_dict()


@pytest.mark.parametrize("precision", [FP32, BF16, FP16], ids=lambda precision: precision.name)
def test_white_pairs_have_no_culprit(precision: Precision, device: torch.device) -> None:
    def whiten(_: nn.Module, batch: object) -> object:
        assert isinstance(batch, PairBatch)
        white = {
            part: torch.full_like(getattr(batch, part), 255) for part in ("templates", "searches")
        }
        return replace(batch, **white)

    story = Story("siamrpn", whiten, "", "", None, "NaN", precision=precision)
    _, model, batch = step_of(story, device)
    assert culprit_of(story, model, batch, device) is None


@pytest.mark.parametrize("model", RECIPES)
@pytest.mark.parametrize("precision", [FP32, BF16, FP16], ids=lambda precision: precision.name)
def test_a_healthy_step_has_no_culprit(
    model: str, precision: Precision, device: torch.device
) -> None:
    story = Story(model, nothing, "", "", None, "NaN", precision=precision, loss_scale=1.0)
    _, module, batch = step_of(story, device)
    assert culprit_of(story, module, batch, device) is None


def test_the_module_named_computes_in_fp32_once_it_is_kept_there(device: torch.device) -> None:
    story = STORIES["selsa: the boxes' sums overflow"]
    kept = replace(story, precision=Precision("fp16", "dynamic", (story.where,)), loss_scale=1.0)
    _, model, batch = step_of(kept, device)
    found = culprit_of(kept, model, batch, device)
    assert found is None or found.where != story.where
