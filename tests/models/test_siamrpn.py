"""SiamRPN++'s behaviour at its edges, on a narrow model."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from device_guard import DeviceGuard

from halftrack.errors import UserError
from halftrack.frames import PairBatch
from halftrack.layers import depthwise_correlation
from halftrack.models import SiamRPN, SiamRPNConfig
from halftrack.precision import Precision, optimizer_step
from halftrack.training import Phase
from halftrack.training.optimiser import apply_phases

TERMS = ("loss_rpn_cls", "loss_rpn_bbox")


@pytest.fixture
def model() -> SiamRPN:
    torch.manual_seed(0)
    config = SiamRPNConfig()
    backbone = replace(config.backbone, depth=18, base_channels=16)
    return replace(config, backbone=backbone, neck_channels=32).build()


def pairs(*positive: bool) -> PairBatch:
    generator = torch.Generator(device="cpu").manual_seed(0)
    count = len(positive)
    boxes = torch.tensor([[90.0, 80.0, 160.0, 170.0]], device="cpu").repeat(count, 1)
    return PairBatch(
        templates=torch.rand((count, 3, 127, 127), generator=generator, device="cpu") * 255,
        searches=torch.rand((count, 3, 255, 255), generator=generator, device="cpu") * 255,
        boxes_xyxy=boxes,
        positive=torch.tensor(positive, device="cpu"),
        sample_ids=("pair",) * count,
    )


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("positive", [(True, False), (False, False)])
def test_losses_are_finite_fp32_scalars_with_gradients(
    model: SiamRPN, name: str, positive: tuple[bool, ...]
) -> None:
    precision = Precision.named(name)
    with precision.arithmetic("cpu"):
        with precision.autocast("cpu"):
            losses = model.train()(pairs(*positive))
        (512.0 * (losses[TERMS[0]] + losses[TERMS[1]])).backward()
    for term in TERMS:
        assert losses[term].dtype == torch.float32
        assert torch.isfinite(losses[term])
    trained = [p for p in model.parameters() if p.requires_grad]
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in trained)
    assert not any(p.requires_grad for p in model.backbone.parameters())


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "box",
    [(90, 80, 90, 170), (90, 170, 160, 170), (160, 80, 90, 170), (90, 80, NAN, 170),
     (90, 80, INF, 170), (-INF, 80, INF, 170), (0, 0, 0, 0)],
)  # fmt: skip
@pytest.mark.parametrize("positive", [True, False])
def test_a_target_without_area_is_refused_with_its_sample(
    model: SiamRPN, box: tuple[float, ...], positive: bool
) -> None:
    batch = pairs(True, positive)
    boxes = torch.stack([batch.boxes_xyxy[0], torch.tensor(box, device="cpu")])
    with pytest.raises(UserError, match=r"the target of bad, .* has no area or is not finite"):
        model.train()(replace(batch, boxes_xyxy=boxes, sample_ids=("good", "bad")))


@pytest.mark.parametrize("name", ["fp32", "fp16"])
@pytest.mark.parametrize("box", [(90, 80, 90.001, 170), (-1e6, -1e6, 1e6, 1e6), (0, 0, 1, 255)])
def test_every_target_with_area_gives_finite_losses(
    model: SiamRPN, name: str, box: tuple[float, ...]
) -> None:
    batch = pairs(True, False)
    boxes = torch.tensor([box, box], device="cpu")
    precision = Precision.named(name)
    with precision.arithmetic("cpu"), precision.autocast("cpu"):
        losses = model.train()(replace(batch, boxes_xyxy=boxes))
    assert all(bool(torch.isfinite(losses[term])) for term in TERMS)


@pytest.mark.parametrize("name", ["fp32", "bf16", "fp16"])
@pytest.mark.parametrize("colour", [0.0, 127.0, 255.0])
@pytest.mark.parametrize("seed", range(2, 5))
def test_pairs_of_one_colour_give_finite_losses_before_any_training(
    name: str, colour: float, seed: int
) -> None:
    torch.manual_seed(seed)
    config = SiamRPNConfig()
    backbone = replace(config.backbone, base_channels=16)
    model = replace(config, backbone=backbone, neck_channels=32).build()
    batch = pairs(True, False)
    same = {
        part: torch.full_like(getattr(batch, part), colour) for part in ("templates", "searches")
    }
    precision = Precision.named(name)
    with precision.arithmetic("cpu"), precision.autocast("cpu"):
        losses = model.train()(replace(batch, **same))
    assert all(bool(torch.isfinite(losses[term])) for term in TERMS)


def test_a_batch_of_negative_pairs_has_no_box_loss(model: SiamRPN) -> None:
    assert model.train()(pairs(False, False))["loss_rpn_bbox"].item() == 0.0


def test_an_object_outside_the_response_map_draws_what_cells_there_are(model: SiamRPN) -> None:
    far, corner = (900.0, 900.0, 950.0, 950.0), (-10.0, -10.0, 30.0, 30.0)
    boxes = torch.tensor([far, far, corner])
    targets = model.assign(boxes, torch.tensor([True, False, False]), ("far", "far", "corner"))
    assert len(targets.positive) == 0
    assert (targets.sampled // (25 * 25 * 5)).bincount(minlength=3).tolist() == [48, 0, 16]


@pytest.mark.parametrize("place", [127.0, 130.99999, 131.0, 131.00002, 134.9, 135.1, 57.3])
def test_a_negative_pair_draws_from_the_cells_around_its_box(model: SiamRPN, place: float) -> None:
    box = torch.tensor([[place - 20, 100.0, place + 20, 140.0]])
    near = model._around(box, model.anchors(25, 25, box.device)).reshape(25, 25, 5)
    centre = ((box[0, :2] + box[0, 2:]) * 0.5 - 127).tolist()
    column, row = (math.ceil(v / 8 + 0.5) + 12 for v in centre)
    expected = torch.zeros(25, 25, 5, dtype=torch.bool)
    expected[max(row - 3, 0) : row + 4, max(column - 3, 0) : column + 4] = True
    assert torch.equal(near, expected)


def test_sums_that_overflow_fp16_correlate_to_finite_scores_equal_to_fp32(model: SiamRPN) -> None:
    generator = torch.Generator().manual_seed(0)
    template = 300 * torch.rand((1, 32, 5, 5), generator=generator)
    search = 300 * torch.rand((1, 32, 29, 29), generator=generator)
    plain = F.conv2d(search.half().float(), template.half().float().transpose(0, 1), groups=32)
    assert torch.isinf(plain.half()).all()
    branch = model.eval().head.cls_heads[0]
    half = Precision("fp16", 512.0)
    with torch.no_grad():
        expected = branch._judge(template, search)
        with half.arithmetic("cpu"), half.autocast("cpu"):
            found = branch._judge(template.half(), search.half())
    assert found.dtype == torch.float32
    assert torch.isfinite(found).all()
    assert (found - expected).abs().max() < 1e-2 * expected.abs().max()


def test_one_template_serves_many_searches() -> None:
    template, searches = torch.rand(1, 4, 3, 3), torch.rand(2, 4, 7, 7)
    together = depthwise_correlation(searches, template)
    alone = [depthwise_correlation(searches[i : i + 1], template) for i in (0, 1)]
    assert torch.allclose(together, torch.cat(alone), atol=1e-6)
    by_hand = (searches[1, 2, 1:4, 2:5] * template[0, 2]).sum()
    assert together[1, 2, 1, 2].item() == pytest.approx(by_hand.item(), rel=1e-5)


def test_thawing_trains_stages_and_their_statistics_until_the_next_train(model: SiamRPN) -> None:
    thawed = ("backbone.layer3.*",)
    phase = Phase(first_epoch=1, trainable=("neck.*", "head.*", *thawed), batch_statistics=thawed)
    apply_phases(model.train(), [phase], 0)
    assert not model.backbone.layer3[0].bn1.training
    apply_phases(model, [phase], 1)
    assert model.backbone.layer3[0].bn1.training
    assert model.backbone.layer3[0].conv1.weight.requires_grad
    assert not model.backbone.layer2[0].bn1.training
    model.train()
    assert not model.backbone.layer3[0].bn1.training
    wrong = replace(phase, batch_statistics=("backbone.layer9.*",))
    with pytest.raises(ValueError, match=r"'backbone\.layer9\.\*' matches no batch norm"):
        apply_phases(model, [wrong], 1)


def test_a_backbone_that_learns_its_norms_trains_channels_last_to_the_same_values(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = SiamRPNConfig()
    backbone = replace(
        config.backbone, depth=18, base_channels=8, frozen_stages=-1, frozen_bn=False
    )
    torch.manual_seed(0)
    model = replace(config, backbone=backbone, neck_channels=16, norm="group").build().train()
    layouts = []
    model.backbone.register_forward_pre_hook(lambda _, given: layouts.append(given[0].stride(1)))

    def gradients() -> tuple[torch.Tensor, ...]:
        torch.manual_seed(0)  # of the anchors that are drawn
        losses = model(pairs(True, False))
        return torch.autograd.grad(losses[TERMS[0]] + losses[TERMS[1]], [*model.parameters()])

    last = gradients()
    assert layouts == [1, 1]
    assert all(maps.is_contiguous() for maps in model.features(pairs(True, False).templates))
    monkeypatch.setattr(SiamRPN, "backbone_channels_last", False)
    for here, there in zip(last, gradients(), strict=True):
        torch.testing.assert_close(here, there, rtol=0, atol=1e-4 * float(there.abs().max()))


def test_evaluation_mode_says_what_to_call(model: SiamRPN) -> None:
    with pytest.raises(TypeError, match=r"call embed\(\) and compare\(\), got a PairBatch"):
        model.eval()(pairs(True))


@pytest.mark.parametrize("name", ["fp32", "fp16"])
def test_no_tensor_is_made_without_naming_its_device(model: SiamRPN, name: str) -> None:
    precision = Precision.named(name)
    optimizer = torch.optim.SGD(model.named_parameters(), lr=0.01, momentum=0.9)
    scale, batch = precision.new_loss_scale(), pairs(True, False)
    with DeviceGuard():
        model.train()
        with precision.arithmetic("cpu"):
            with precision.autocast("cpu"):
                losses = model(batch)
            scale.scale(torch.stack([losses[term] for term in TERMS]).sum()).backward()
        optimizer_step([optimizer], scale, max_grad_norm=10.0)
        with precision.arithmetic("cpu"), precision.autocast("cpu"):
            model.eval().compare(model.embed(batch.templates[0]), batch.searches[0])
