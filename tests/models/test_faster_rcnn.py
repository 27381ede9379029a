"""Faster R-CNN's and ReID's behaviour at their edges, on small models."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from device_guard import DeviceGuard

from halftrack.frames import CropBatch, Frame, FrameBatch
from halftrack.layers import ResNetConfig
from halftrack.models import FasterRCNN, FasterRCNNConfig, ReID, ReIDConfig
from halftrack.precision import Precision, optimizer_step

LOSSES = ("loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox")


@pytest.fixture
def model() -> FasterRCNN:
    torch.manual_seed(0)
    config = FasterRCNNConfig()
    backbone = replace(config.backbone, depth=18, base_channels=16)
    head = replace(config.roi_head, fc_out_channels=64, score_threshold=0.0)
    return replace(config, backbone=backbone, neck_channels=32, roi_head=head).build()


@pytest.fixture
def reid() -> ReID:
    torch.manual_seed(0)
    backbone = ResNetConfig(
        depth=18,
        base_channels=16,
        strides=(1, 2, 2, 2),
        dilations=(1, 1, 1, 1),
        frozen_stages=-1,
        frozen_bn=False,
    )
    return ReIDConfig(
        backbone=backbone, hidden_channels=32, out_channels=16, num_identities=3, crop_size=(64, 32)
    ).build()


def frame(seed: int = 0, *, objects: int = 2, size: tuple[int, int] = (90, 120)) -> Frame:
    generator = torch.Generator(device="cpu").manual_seed(seed)
    image = torch.randint(0, 256, (3, *size), generator=generator, dtype=torch.uint8, device="cpu")
    boxes = torch.tensor([[10.0, 12.0, 60.0, 70.0], [30.0, 20.0, 100.0, 80.0]], device="cpu")
    labels = torch.zeros(objects, dtype=torch.int64, device="cpu")
    return Frame(image=image, sample_id=f"f{seed}", boxes_xyxy=boxes[:objects], labels=labels)


def crops(people: int = 3, each: int = 2) -> CropBatch:
    generator = torch.Generator(device="cpu").manual_seed(0)
    images = torch.rand((people * each, 3, 64, 32), generator=generator, device="cpu") * 255
    labels = torch.arange(people, device="cpu").repeat_interleave(each)
    return CropBatch(images=images, labels=labels, sample_ids=("crop",) * len(labels))


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("objects", [0, 2])
def test_losses_are_finite_fp32_scalars_with_gradients(
    model: FasterRCNN, name: str, objects: int
) -> None:
    precision = Precision.named(name)
    batch = FrameBatch(frames=(frame(0, objects=objects), frame(1, size=(70, 150))))
    with precision.arithmetic("cpu"):
        with precision.autocast("cpu"):
            losses = model.train()(batch)
        (512.0 * sum(losses[key] for key in LOSSES)).backward()
    assert set(losses) == {*LOSSES, "acc"}
    for key in LOSSES:
        assert losses[key].dtype == torch.float32
        assert losses[key].shape == ()
        assert torch.isfinite(losses[key])
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    assert all(g.dtype == torch.float32 and torch.isfinite(g).all() for g in gradients)


def test_mode_and_sample_must_go_together(model: FasterRCNN) -> None:
    with pytest.raises(TypeError, match="takes a FrameBatch in training mode, got a Frame"):
        model.train()(frame())
    with pytest.raises(TypeError, match="takes a Frame in evaluation mode, got a FrameBatch"):
        model.eval()(FrameBatch(frames=(frame(),)))


def test_a_pyramid_needs_a_stride_for_each_map() -> None:
    config = FasterRCNNConfig()
    with pytest.raises(ValueError, match=r"rpn.strides=\(4, 8\).* has 5 maps"):
        replace(config, rpn=replace(config.rpn, strides=(4, 8)))


def test_regressing_uses_the_pyramid_of_the_frame_just_detected(
    model: FasterRCNN, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    original = model.backbone.forward
    monkeypatch.setattr(
        model.backbone, "forward", lambda x: (passes.append(len(x)), original(x))[1]
    )
    seen, other = frame(0), frame(0)
    model.eval().detect(seen)
    boxes, scores = model.regress(seen, frame().boxes_xyxy)
    assert passes == [1]
    assert boxes.shape == (2, 1, 4)
    assert scores.shape == (2, 1)
    again, _ = model.regress(other, frame().boxes_xyxy)
    assert passes == [1, 1]
    assert torch.equal(boxes, again)


@pytest.mark.parametrize("public", [False, True])
def test_frames_of_a_pass_are_detected_and_regressed_as_one_by_one(
    model: FasterRCNN, public: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    boxes = frame().boxes_xyxy
    frames = [frame(seed) for seed in range(3)]
    if public:
        frames = [replace(each, public_xyxy=boxes[:i]) for i, each in enumerate(frames)]
    alone = [(model.eval()(each), model.regress(each, boxes)) for each in frames]
    passes: list[int] = []
    original = model.backbone.forward
    monkeypatch.setattr(
        model.backbone, "forward", lambda x: (passes.append(len(x)), original(x))[1]
    )
    found = model(frames)
    regressed = [model.regress(each, boxes) for each in frames]
    assert passes == [3]
    for (one, again), other, once_more in zip(alone, found, regressed, strict=True):
        assert torch.equal(one.labels, other.labels)
        assert torch.allclose(one.boxes_xyxy, other.boxes_xyxy, rtol=0, atol=1e-4)
        assert torch.allclose(one.scores, other.scores, rtol=0, atol=1e-4)
        for expected, values in zip(again, once_more, strict=True):
            assert torch.allclose(expected, values, rtol=0, atol=1e-4)


def test_boxes_are_regressed_in_original_pixels(model: FasterRCNN) -> None:
    plain, doubled = frame(0), replace(frame(0), scale_xy=(2.0, 2.0))
    boxes = frame().boxes_xyxy
    expected, _ = model.eval().regress(plain, boxes)
    found, _ = model.regress(doubled, boxes / 2)
    assert torch.allclose(found * 2, expected, atol=1e-3)


def test_public_boxes_take_the_place_of_proposals(model: FasterRCNN) -> None:
    public = replace(frame(0), public_xyxy=frame().boxes_xyxy)
    assert len(model.eval()(public)) <= 2
    none = replace(frame(0), public_xyxy=torch.zeros((0, 4)))
    assert len(model(none)) == 0


def test_a_frame_padded_less_than_its_batch_teaches_no_anchor_beyond_its_own_padding(
    model: FasterRCNN,
) -> None:
    maps = model.features([frame(0, size=(60, 60)), frame(1, size=(120, 150))])
    logits, _ = model.rpn_head(maps)
    (first, *_) = anchors = model.rpn_head.anchors(logits)
    (allowed,) = model.rpn_head._may_learn(torch.cat(anchors), [frame(0, size=(60, 60))])
    centres = (first[:, :2] + first[:, 2:]) / 2
    # 60 is padded to 64: the 16 x 16 first cells of a stride-4 map.
    assert allowed[: len(first)].sum() == 16 * 16 * 3
    assert centres[allowed[: len(first)]].max() < 63


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
def test_reid_losses_are_finite_with_gradients_everywhere(reid: ReID, name: str) -> None:
    precision = Precision.named(name)
    with precision.arithmetic("cpu"):
        with precision.autocast("cpu"):
            losses = reid.train()(crops())
        (losses["loss_triplet"] + losses["loss_cls"]).backward()
    assert losses["loss_triplet"].dtype == losses["loss_cls"].dtype == torch.float32
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in reid.parameters())


@pytest.mark.parametrize(
    ("embeddings", "expected"),
    [
        ([[0.0, 0.0], [0.1, 0.0], [5.0, 0.0], [5.1, 0.0]], 0.0),
        # Of each pair the own is 3 away and the other 1 (the outer two: 2): 3 - 1 + 0.3 twice.
        ([[0.0, 0.0], [3.0, 0.0], [1.0, 0.0], [4.0, 0.0]], 2.3),
    ],
    ids=["far apart", "interleaved"],
)
def test_hard_triplets_by_hand(reid: ReID, embeddings: list[list[float]], expected: float) -> None:
    labels = torch.tensor([0, 0, 1, 1])
    losses = reid.head.losses(torch.tensor(embeddings).repeat(1, 8), labels)
    scale = 8**0.5
    wanted = 0.0 if expected == 0.0 else scale * (expected - 0.3) + 0.3
    assert losses["loss_triplet"].item() == pytest.approx(wanted, abs=1e-5)


def test_a_batch_of_one_individual_has_no_triplet_to_push_apart(reid: ReID) -> None:
    losses = reid.train()(crops(people=1, each=4))
    assert losses["loss_triplet"].item() == 0.0


def test_embeddings_of_boxes_beyond_the_border_are_finite(reid: ReID) -> None:
    boxes = torch.tensor(
        [[-50.0, -50.0, -10.0, -5.0], [200.0, 200.0, 260.0, 300.0], [5.0, 5.0, 5.2, 5.1]]
    )
    embeddings = reid.eval().embed(frame(), boxes)
    assert embeddings.shape == (3, 16)
    assert torch.isfinite(embeddings).all()


def test_identities_must_be_settled_before_building() -> None:
    with pytest.raises(ValueError, match=r"model\.num_identities is None"):
        ReIDConfig().build()


@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_no_tensor_is_made_without_naming_its_device(
    model: FasterRCNN, reid: ReID, name: str
) -> None:
    precision = Precision.named(name)
    samples: list[tuple[Any, Any, tuple[str, ...]]] = [
        (model, FrameBatch(frames=(frame(0), frame(1))), LOSSES),
        (reid, crops(), ("loss_triplet", "loss_cls")),
    ]
    seen, boxes = frame(2), frame(2).boxes_xyxy
    with DeviceGuard():
        for module, sample, terms in samples:
            optimizer = torch.optim.SGD(module.named_parameters(), lr=0.01, momentum=0.9)
            scale = precision.new_loss_scale()
            module.train()
            with precision.arithmetic("cpu"):
                with precision.autocast("cpu"):
                    losses = module(sample)
                scale.scale(torch.stack([losses[key] for key in terms]).sum()).backward()
            optimizer_step([optimizer], scale, max_grad_norm=35.0)
        with precision.arithmetic("cpu"), precision.autocast("cpu"):
            model.eval().detect(seen)
            model.regress(seen, boxes)
            reid.eval().embed(seen, boxes)
