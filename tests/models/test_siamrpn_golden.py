"""SiamRPN++ R50 against the reference: features, head, targets, losses, gradients."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from golden import GOLDEN, assert_close, assert_gradients, keys_and_shapes, load, weights

from halftrack.frames import PairBatch
from halftrack.models import SiamRPN, SiamRPNConfig
from halftrack.training import Phase
from halftrack.training.optimiser import apply_phases

THAWED = tuple(f"backbone.layer{stage}.*" for stage in (2, 3, 4))


@pytest.fixture(scope="module")
def golden() -> Any:
    return load("siamrpn_A.npz")


@pytest.fixture(scope="module")
def entries() -> Any:
    return json.loads((GOLDEN / "siamrpn_state_dict.json").read_text())


@pytest.fixture
def model(entries: Any) -> SiamRPN:
    model = SiamRPNConfig().build()
    model.load_state_dict(weights(entries, "sot"))
    return model.eval()


@pytest.fixture(scope="module")
def crops(golden: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Templates and search regions, RGB."""
    rgb = torch.from_numpy(golden["crops_bgr"][..., ::-1].copy()).permute(0, 3, 1, 2).float()
    return rgb[:, :, 64:191, 64:191], rgb[torch.from_numpy(golden["search_order"]).long()]


def test_state_dict_keys_and_shapes_equal_the_references(model: SiamRPN, entries: Any) -> None:
    assert keys_and_shapes(model) == [[key, shape] for key, shape, _ in entries]


@torch.no_grad()
def test_every_stage_equals_the_reference(model: SiamRPN, golden: Any, crops: Any) -> None:
    both = []
    for name, images, step in (("z", crops[0][:2], 2), ("x", crops[1][:2], 4)):
        maps = model.backbone(images.flip(1))
        mapped = model.neck(maps)
        for level in range(3):
            kept = maps[level][:, ::64, ::step, ::step]
            assert_close(kept, golden[f"{name}_backbone{level}_slice"])
            kept = mapped[level][:, ::16, ::step, ::step]
            assert_close(kept, golden[f"{name}_neck{level}_slice"])
        both.append(mapped)
    templates, searches = model._centres(both[0]), both[1]
    branch = model.head.cls_heads[0]
    first = branch.compare(branch.embed(templates[0]), searches[0])
    assert_close(first[:, :, ::4, ::4], golden["cls_head0_slice"])
    logits, deltas = model.head(templates, searches)
    assert_close(logits, golden["cls_score"])
    assert_close(deltas, golden["bbox_pred"])


@torch.no_grad()
def test_comparing_embedded_templates_equals_the_whole_head(
    model: SiamRPN, golden: Any, crops: Any
) -> None:
    for pair in (0, 1):
        scores, deltas = model.compare(model.embed(crops[0][pair]), crops[1][pair])
        logits = torch.from_numpy(golden["cls_score"][pair]).reshape(2, 5, 25, 25)
        expected = logits.softmax(dim=0)[1].permute(1, 2, 0).flatten()
        assert_close(scores, expected.numpy())
        boxes = golden["bbox_pred"][pair].reshape(4, 5, 25, 25).transpose(2, 3, 1, 0)
        assert_close(deltas, boxes.reshape(-1, 4))


def test_anchors_equal_the_references(model: SiamRPN, golden: Any) -> None:
    ours = model.anchors(25, 25, torch.device("cpu")) - 127
    assert_close(ours, golden["anchors"], share=0)


def test_targets_equal_the_references(model: SiamRPN, golden: Any, mode: str) -> None:
    torch.manual_seed(0)
    boxes = torch.from_numpy(golden["target_gts"]).float()
    kinds = torch.from_numpy(golden["target_is_positive"].astype(bool))
    found = model.assign(boxes, kinds, ("pair",) * len(boxes))
    order = found.sampled.argsort()
    sampled = [list(divmod(anchor, 25 * 25 * 5)) for anchor in found.sampled[order].tolist()]
    positive = [list(divmod(anchor, 25 * 25 * 5)) for anchor in found.positive.tolist()]
    weights_at = found.weights[order].numpy()
    assert positive == golden[f"target_{mode}_pos"].tolist()
    assert sampled == golden[f"target_{mode}_sampled"].tolist()
    expected = golden[f"target_{mode}_label_weights_at_sampled"]
    # Theirs are divided by the number of pairs already.
    np.testing.assert_allclose(weights_at / len(boxes), expected, rtol=1e-6)
    assert_close(found.deltas, golden[f"target_{mode}_bbox_targets_at_pos"], share=1e-5)


@pytest.fixture(
    params=[
        "first_n",
        *(pytest.param(name, marks=pytest.mark.slow) for name in ("seeded", "first_n_unfrozen")),
    ]
)
def step(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A recorded training step, by its sampler and whether the backbone trains."""
    if request.param.startswith("first_n"):
        monkeypatch.setattr(torch, "randperm", lambda n, **_: torch.arange(n))
    return request.param


def test_losses_and_gradients_equal_the_references(
    model: SiamRPN, golden: Any, crops: Any, step: str
) -> None:
    model.train()
    if step.endswith("unfrozen"):
        phase = Phase(
            first_epoch=10, trainable=("neck.*", "head.*", *THAWED), batch_statistics=THAWED
        )
        apply_phases(model, [phase], 10)
    torch.manual_seed(0)
    losses = model(
        PairBatch(
            templates=crops[0],
            searches=crops[1],
            boxes_xyxy=torch.from_numpy(golden["target_gts"][[0, 1, 2, 4]]).float(),
            positive=torch.tensor([True, True, True, False]),
            sample_ids=("a", "b", "c", "d"),
        )
    )
    score, box, total = (float(value) for value in golden[f"train_{step}_losses"])
    assert losses["loss_rpn_cls"].item() == pytest.approx(score, rel=1e-4)
    assert losses["loss_rpn_bbox"].item() == pytest.approx(box, rel=1e-4)
    loss = losses["loss_rpn_cls"] + losses["loss_rpn_bbox"]
    assert loss.item() == pytest.approx(total, rel=1e-4)
    loss.backward()
    # Through thawed batch norms fp32 loses digits: against the same step in fp64 the recorded norms
    # of scales and shifts are off by up to 2.5e-3 (20 of them by more than 1e-3), losses by 1e-7.
    norms = r".*(bn\d?|downsample\.1)\.(weight|bias)" if step.endswith("unfrozen") else ""
    assert_gradients(model, f"siamrpn_A_train_{step}_grads.json", noisy=norms, noise=4e-3)
    stored = json.loads((GOLDEN / f"siamrpn_A_train_{step}_grads.json").read_text())
    for key, norm in stored["running_mean_norm_after"].items():
        assert model.state_dict()[key].norm().item() == pytest.approx(norm, rel=1e-4)
    training = {n for n, m in model.named_modules() if isinstance(m, torch.nn.BatchNorm2d)}
    training = {n for n in training if model.get_submodule(n).training}
    assert training == set(stored["bn_in_train_mode"])
