"""The backbones against torchvision's, and what their settings promise."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor, nn

from halftrack.layers import ResNet, ResNetConfig

PLAIN = {"strides": (1, 2, 2, 2), "dilations": (1, 1, 1, 1), "frozen_stages": -1}


def images(*size: int) -> Tensor:
    return torch.rand(1, 3, *(size or (64, 96)), generator=torch.Generator().manual_seed(0))


def shake(model: nn.Module) -> None:
    """BN statistics other than 0 and 1."""
    generator = torch.Generator().manual_seed(1)
    for name, buffer in model.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)


@pytest.mark.parametrize(
    ("theirs", "config"),
    [
        ("resnet18", ResNetConfig(depth=18, **PLAIN)),
        ("resnet50", ResNetConfig(depth=50, **PLAIN)),
        ("resnet101", ResNetConfig(depth=101, **PLAIN)),
        (
            "resnext101_64x4d",
            ResNetConfig(depth=101, groups=64, width_per_group=4, **PLAIN),
        ),
    ],
)
@torch.no_grad()
def test_without_dilation_it_is_torchvisions_resnet(theirs: str, config: ResNetConfig) -> None:
    reference = getattr(torchvision.models, theirs)(weights=None).eval()
    shake(reference)
    ours = ResNet(config).eval()
    answer = ours.load_state_dict(reference.state_dict(), strict=False)
    assert answer.missing_keys == []
    assert answer.unexpected_keys == ["fc.weight", "fc.bias"]
    stem = reference.maxpool(reference.relu(reference.bn1(reference.conv1(images()))))
    expected = reference.layer4(reference.layer3(reference.layer2(reference.layer1(stem))))
    (got,) = ours(images())
    assert got.shape == (1, *config.out_channels, 2, 3)
    assert (got - expected).abs().max() <= 1e-4 * expected.abs().max()


def test_dilation_starts_with_the_first_block_of_the_stage() -> None:
    model = ResNet(ResNetConfig())
    assert [block.conv2.dilation for block in model.stages[3]] == [(2, 2)] * 3
    assert model.stages[3][0].conv2.stride == (1, 1)


def test_frozen_stages_do_not_train_and_frozen_bn_keeps_its_statistics() -> None:
    model = ResNet(ResNetConfig(depth=18)).train()
    model(images())[0].sum().backward()
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.grad is not None}
    assert trained == {"layer2", "layer3", "layer4"}
    assert not any(m.training for m in model.modules() if isinstance(m, nn.BatchNorm2d))
    assert model.stages[1][0].bn1.weight.grad is not None
    assert model.stages[1][0].bn1.running_mean.abs().sum() == 0


def test_bn_that_is_not_frozen_learns_its_statistics() -> None:
    model = ResNet(ResNetConfig(depth=18, frozen_stages=-1, frozen_bn=False)).train()
    model(images())
    assert model.bn1.running_mean.abs().sum() > 0


def test_recomputed_stages_give_the_same_gradients_bit_for_bit() -> None:
    gradients = []
    for recompute in ((), (2, 3, 4)):
        torch.manual_seed(0)
        model = ResNet(ResNetConfig(depth=18, recompute=recompute)).train()
        model(images())[0].sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))


def test_an_unknown_depth_is_refused() -> None:
    with pytest.raises(ValueError, match=r"depth=34: expected one of 18, 50, 101"):
        ResNet(ResNetConfig(depth=34))


@pytest.mark.parametrize(
    ("config", "name"),
    [
        (ResNetConfig(), "R-50-DC5"),
        (ResNetConfig(depth=101, groups=64, width_per_group=4), "X-101-64x4d-DC5"),
    ],
)
def test_tables_name_the_backbone(config: ResNetConfig, name: str) -> None:
    assert config.display_name == name


def test_recomputing_a_stage_whose_bn_learns_is_refused() -> None:
    with pytest.raises(ValueError, match="needs frozen_bn"):
        ResNetConfig(frozen_bn=False, recompute=(2,))


def test_group_norm_keeps_no_statistics_and_may_be_recomputed() -> None:
    gradients = []
    for recompute in ((), (1, 3)):
        torch.manual_seed(0)
        config = ResNetConfig(depth=18, norm="group", frozen_bn=False, recompute=recompute)
        model = ResNet(config).train()
        assert not list(model.buffers())
        model(images())[0].sum().backward()
        gradients.append([p.grad for p in model.parameters() if p.grad is not None])
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    alone, beside = images()[:1], torch.cat([images(), torch.zeros_like(images())])
    with torch.no_grad():
        assert torch.allclose(model(alone)[0], model(beside)[0][:1], atol=1e-5)
