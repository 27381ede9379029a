"""ReID R50 against the reference implementation: embeddings, losses, gradients, BN statistics."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from golden import GOLDEN, assert_close, assert_gradients, keys_and_shapes, load, weights

from halftrack.frames import CropBatch
from halftrack.models import ReID, ReIDConfig


@pytest.fixture(scope="module")
def golden() -> Any:
    return load("reid_r50_A.npz")


@pytest.fixture(scope="module")
def entries() -> Any:
    return json.loads((GOLDEN / "reid_r50_state_dict.json").read_text())


@pytest.fixture
def model(entries: Any) -> ReID:
    model = ReIDConfig(num_identities=380).build()
    model.load_state_dict(weights(entries, "reid"))
    return model.eval()


@pytest.fixture(scope="module")
def crops(golden: Any) -> CropBatch:
    images = torch.from_numpy(golden["crops_bgr"][..., ::-1].copy()).permute(0, 3, 1, 2).float()
    labels = torch.from_numpy(golden["labels"]).long()
    return CropBatch(images=images, labels=labels, sample_ids=tuple("abcdefgh"))


def test_state_dict_keys_and_shapes_equal_the_references(model: ReID, entries: Any) -> None:
    assert keys_and_shapes(model) == [[key, shape] for key, shape, _ in entries]


@torch.no_grad()
def test_embeddings_equal_the_references(model: ReID, golden: Any, crops: CropBatch) -> None:
    embeddings = model(crops)
    assert_close(embeddings, golden["embeds"])
    assert_close(torch.cdist(embeddings, embeddings), golden["dists"], share=1e-3)
    assert_close(model.head.classifier(model.head.bn(embeddings)), golden["cls_score_eval"])


def test_losses_gradients_and_statistics_equal_the_references(
    model: ReID, golden: Any, crops: CropBatch
) -> None:
    losses = model.train()(crops)
    triplet, cross_entropy, total = (float(value) for value in golden["train_losses"])
    assert losses["loss_triplet"].item() == pytest.approx(triplet, rel=1e-4)
    assert losses["loss_cls"].item() == pytest.approx(cross_entropy, rel=1e-4)
    loss = losses["loss_triplet"] + losses["loss_cls"]
    assert loss.item() == pytest.approx(total, rel=1e-4)
    loss.backward()
    assert_gradients(model, "reid_r50_A_train_grads.json")
    assert_close(model.head.bn.running_mean, golden["bn_running_mean_after_head_bn"])
    assert_close(model.head.bn.running_var, golden["bn_running_var_after_head_bn"])
    assert_close(model.backbone.bn1.running_mean, golden["backbone_bn1_running_mean_after"])
    assert_close(model.backbone.bn1.running_var, golden["backbone_bn1_running_var_after"])
