"""SELSA's behaviour at its edges, on a tiny model."""

from __future__ import annotations

import pytest
import torch
from device_guard import DeviceGuard

from halftrack.frames import Clip, ClipBatch, Detections, Frame
from halftrack.models import SELSA, RoIHeadConfig
from halftrack.models.selsa import SelsaBBoxHead
from halftrack.precision import Launches, NonFiniteGradientError, Precision, optimizer_step
from halftrack.recipes import load_recipe, override

LOSSES = {"loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox"}


@pytest.fixture
def model() -> SELSA:
    return load_recipe("selsa_tiny_sample").build_model(seed=0)


def frame(seed: int = 0, *, objects: int = 2, size: tuple[int, int] = (90, 120)) -> Frame:
    generator = torch.Generator(device="cpu").manual_seed(seed)
    image = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8, device="cpu")
    boxes = torch.tensor([[10.0, 12.0, 60.0, 70.0], [30.0, 20.0, 100.0, 80.0]], device="cpu")
    labels = torch.tensor([0, 2], device="cpu")
    return Frame(
        image=image, sample_id=f"f{seed}", boxes_xyxy=boxes[:objects], labels=labels[:objects]
    )


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("objects", [0, 2])
def test_losses_are_finite_fp32_scalars_with_gradients(
    model: SELSA, name: str, objects: int
) -> None:
    precision = Precision.named(name)
    model.train()
    clip = Clip(key=frame(0, objects=objects), references=(frame(1), frame(2)))
    with precision.arithmetic("cpu"):
        with precision.autocast("cpu"):
            losses = model(clip)
        total = sum(losses[key] for key in LOSSES)
        (512.0 * total).backward()
    assert set(losses) == LOSSES | {"acc"}
    for key in LOSSES:
        assert losses[key].dtype == torch.float32
        assert losses[key].shape == ()
        assert torch.isfinite(losses[key])
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert gradients
    assert all(g.dtype == torch.float32 and torch.isfinite(g).all() for g in gradients)


def test_a_clip_at_the_end_of_a_video_may_have_one_reference(model: SELSA) -> None:
    losses = model.train()(Clip(key=frame(0), references=(frame(1),)))
    assert all(torch.isfinite(value) for value in losses.values())


def test_detecting_before_start_says_what_to_do(model: SELSA) -> None:
    with pytest.raises(RuntimeError, match=r"model\.start"):
        model.eval()(frame())


def test_frames_of_a_pass_are_detected_as_one_by_one(
    model: SELSA, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = [frame(seed) for seed in range(3)]
    model.eval().start([frame(8), frame(9)])
    alone = [model(each) for each in frames]
    passes: list[int] = []
    original = model.detector.backbone.forward
    monkeypatch.setattr(
        model.detector.backbone, "forward", lambda x: (passes.append(len(x)), original(x))[1]
    )
    together = model(frames)
    assert passes == [3]
    for one, other in zip(alone, together, strict=True):
        assert len(one) > 0
        assert torch.equal(one.labels, other.labels)
        assert torch.allclose(one.boxes_xyxy, other.boxes_xyxy, rtol=0, atol=1e-4)
        assert torch.allclose(one.scores, other.scores, rtol=0, atol=1e-4)


def test_a_frame_of_a_pass_of_four_launches_less_than_half_as_much(model: SELSA) -> None:
    frames = [frame(seed) for seed in range(4)]
    counts = []
    with torch.inference_mode():
        model.eval().start(frames[:2])
        for each in (frames[:1], frames):
            with Launches() as launches:
                model(each)
            counts.append(launches)
    alone, together = counts
    assert together.kernels < 2 * alone.kernels
    assert together.waits < 4 * alone.waits


def test_mode_and_sample_must_go_together(model: SELSA) -> None:
    with pytest.raises(TypeError, match="takes a Clip or ClipBatch in training mode, got a Frame"):
        model.train()(frame())


def test_a_repeated_reference_counts_twice_and_is_computed_once(
    model: SELSA, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    original = model.features
    monkeypatch.setattr(
        model, "features", lambda frames: (calls.append(len(frames)), original(frames))[1]
    )
    model.eval().start([frame(0), frame(0), frame(1)])
    assert calls == [1, 1]
    assert isinstance(model(frame(2)), Detections)


def test_the_published_backbone_freezes_bn_stem_and_layer1() -> None:
    backbone = load_recipe("selsa_faster_rcnn_r50_dc5_1x_imagenetvid").model.backbone
    assert backbone.frozen_stages == 1
    assert backbone.frozen_bn


@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_no_tensor_is_made_without_naming_its_device(model: SELSA, name: str) -> None:
    precision = Precision.named(name)
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.01, momentum=0.9)
    scale = precision.new_loss_scale()
    clip, frames = Clip(key=frame(0), references=(frame(1), frame(2))), [frame(3), frame(4)]
    with DeviceGuard():
        model.train()
        with precision.arithmetic("cpu"):
            with precision.autocast("cpu"):
                losses = model(clip)
            scale.scale(torch.stack([losses[key] for key in LOSSES]).sum()).backward()
        optimizer_step([optimizer], scale, max_grad_norm=35.0)
        model.eval()
        with precision.autocast("cpu"):
            model.start(frames)
            model(frames[0])
    with DeviceGuard(), pytest.raises(AssertionError, match="zeros without"):
        torch.zeros(1)


@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_features_that_are_not_finite_are_left_to_the_finite_check(model: SELSA, name: str) -> None:
    precision = Precision.named(name)
    with torch.no_grad():
        model.detector.rpn_head.rpn_reg.bias.fill_(torch.nan)
    clip = Clip(key=frame(0), references=(frame(1), frame(2)))
    optimizer = torch.optim.SGD(model.train().named_parameters(), lr=0.01)
    scale = precision.new_loss_scale()
    with precision.arithmetic("cpu"):
        with precision.autocast("cpu"):
            losses = model(clip)
        scale.scale(torch.stack([losses[key] for key in LOSSES]).sum()).backward()
    if name == "fp16":
        assert optimizer_step([optimizer], scale).skipped
    else:
        with pytest.raises(NonFiniteGradientError, match="holds NaN"):
            optimizer_step([optimizer], scale)
    with torch.no_grad(), precision.autocast("cpu"):
        model.eval().start([frame(1)])
        assert len(model(frame(0))) == 0


@pytest.mark.parametrize(
    "pattern", ["detector", "detector.backbone", "detector.backbone.conv1", "detector.roi_head"]
)
def test_what_is_kept_in_fp32_computes_in_fp32(pattern: str) -> None:
    def losses(precision: Precision) -> list[float]:
        model = load_recipe("selsa_tiny_sample").build_model(seed=0).train()
        precision.keep_in_fp32(model)
        torch.manual_seed(0)
        with precision.autocast("cpu"):
            return [v.item() for v in model(Clip(key=frame(0), references=(frame(1),))).values()]

    kept = losses(Precision("bf16", None, (pattern,)))
    assert kept != losses(Precision("bf16"))
    assert (kept == losses(Precision("fp32"))) == (pattern == "detector")


def test_clips_that_share_a_pass_teach_what_each_teaches_alone() -> None:
    # So few samples that not all are taken: the draws decide.
    few = ("model.rpn.matching.num_samples=16", "model.roi_head.matching.num_samples=8")
    fields = ["model.backbone.frozen_bn=True", *few]
    model = override(load_recipe("selsa_tiny_sample"), fields).build_model(seed=0).train()
    clips = (
        Clip(key=frame(0), references=(frame(1), frame(2))),
        Clip(key=frame(3, objects=0), references=(frame(4),)),
        Clip(key=frame(5, objects=1), references=(frame(6), frame(7))),
    )
    seeds = (11, 7, 5)

    def gradient() -> torch.Tensor:
        found = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
        model.zero_grad()
        return torch.cat(found)

    apart = dict.fromkeys(LOSSES, 0.0)
    for clip, seed in zip(clips, seeds, strict=True):
        torch.manual_seed(seed)
        losses = model(clip)
        (sum(losses[name] for name in LOSSES) / len(clips)).backward()
        for name in LOSSES:
            apart[name] += losses[name].item() / len(clips)
    accumulated = gradient()
    losses = model(ClipBatch(clips=clips, seeds=seeds))
    sum(losses[name] for name in LOSSES).backward()
    for name in LOSSES:
        assert losses[name].item() == pytest.approx(apart[name], rel=1e-4)
    difference = (gradient() - accumulated).norm() / accumulated.norm()
    assert difference < 1e-4
    other = model(ClipBatch(clips=clips, seeds=(1, 2, 3)))
    assert other["loss_rpn_cls"].item() != pytest.approx(apart["loss_rpn_cls"], rel=1e-4)


def test_clips_of_a_pass_attend_to_their_own_references_alone() -> None:
    torch.manual_seed(0)
    counts = (5, 0, 3), (4, 2, 7)
    config = RoIHeadConfig(num_classes=3, fc_out_channels=16, roi_feat_size=1)
    head = SelsaBBoxHead(config, in_channels=8, heads=2)
    own, lent = torch.randn(sum(counts[0]), 16), torch.randn(sum(counts[1]), 16)
    together = head.aggregate(own, head.remember(lent), counts)
    apart = [
        head.aggregate(rois, head.remember(references))
        for rois, references in zip(own.split(counts[0]), lent.split(counts[1]), strict=True)
    ]
    for joined, parts in zip(together, zip(*apart, strict=True), strict=True):
        torch.testing.assert_close(joined, torch.cat(parts))
