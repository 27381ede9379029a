"""SELSA R50 against the reference implementation, stage by stage, on deterministic weights."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from golden import (
    GOLDEN,
    assert_close,
    assert_gradients,
    keys_and_shapes,
    load,
    same_proposals,
    weights,
)

from halftrack.frames import Clip, Frame
from halftrack.layers import normalise_and_pad, roi_align
from halftrack.models import SELSA, SelsaConfig


@pytest.fixture(scope="module")
def golden() -> Any:
    return load("selsa_A.npz")


@pytest.fixture(scope="module")
def entries() -> Any:
    return json.loads((GOLDEN / "selsa_state_dict.json").read_text())


@pytest.fixture(scope="module")
def model(entries: Any) -> SELSA:
    model = SelsaConfig().build()
    model.load_state_dict(weights(entries, "vid"))
    return model.eval()


@pytest.fixture
def frame(golden: Any) -> Any:
    def make(index: int) -> Frame:
        image = torch.from_numpy(golden["frames_bgr"][index][:, :, ::-1].copy()).permute(2, 0, 1)
        return Frame(
            image=image,
            sample_id=str(index),
            scale_xy=(2.0, 2.0),
            boxes_xyxy=torch.from_numpy(golden["gt_bboxes"][index]),
            labels=torch.from_numpy(golden["gt_labels"]).long(),
        )

    return make


def test_state_dict_keys_and_shapes_equal_the_references(model: SELSA, entries: Any) -> None:
    assert keys_and_shapes(model) == [[key, shape] for key, shape, _ in entries]


@torch.no_grad()
def test_every_stage_equals_the_reference(model: SELSA, golden: Any, frame: Any) -> None:
    images = normalise_and_pad([frame(i).image for i in range(3)], divisor=16)
    (c5,) = model.detector.backbone(images)
    assert_close(c5[:2, ::64, ::2, ::2], golden["backbone_c5_slice"])
    features = model.detector.neck(c5)
    for maps, name in ((c5[:2], "backbone_c5_stats"), (features[:2], "neck_stats")):
        assert_close(torch.stack([maps.mean(), maps.std(), maps.abs().max()]), golden[name])
    assert_close(features[:2, ::16, ::2, ::2], golden["neck_slice"])
    rpn = model.detector.rpn_head
    (logits,), (deltas,) = rpn([features])
    assert_close(logits[:2, :, ::2, ::2], golden["rpn_cls_slice"])
    assert_close(deltas[:2, :, ::2, ::2], golden["rpn_reg_slice"])
    (anchors,) = rpn.anchors([logits])
    assert len(anchors) == golden["num_anchors"]
    assert_close(anchors[:36], golden["anchors_first_cells"], share=0)
    frames = [frame(0), frame(1)]
    found = rpn.proposals([logits[:2]], [deltas[:2]], frames, learned=False)
    for index, proposals in enumerate(found):
        same_proposals(proposals, golden[f"rpn_proposals_{index}"])
    pooled = roi_align(features[:1], torch.from_numpy(golden["head_rois"]), stride=16)
    assert_close(pooled[:8, ::32], golden["roi_feats_slice"])
    lent = roi_align(features[1:], torch.from_numpy(golden["head_ref_rois"]), stride=16)
    head = model.bbox_head
    scores, boxes = head.aggregate(head.embed(pooled), head.remember(head.embed(lent)))
    assert_close(scores, golden["head_cls_score"])
    assert_close(boxes[:, ::3], golden["head_bbox_pred"])


def test_streaming_detects_what_the_reference_detects(
    model: SELSA, golden: Any, frame: Any
) -> None:
    model.eval().start([frame(int(i)) for i in golden["test_ref_frame_ids"]])
    for index in range(5):
        expected = golden[f"test{index}_dets"]
        found = model(frame(index))
        order = torch.argsort(found.labels, stable=True)
        assert (found.labels[order].numpy() == expected[:, 0]).all()
        assert np.abs(found.boxes_xyxy[order].numpy() - expected[:, 1:5]).max() < 4e-3
        assert np.abs(found.scores[order].numpy() - expected[:, 5]).max() < 1e-4


@torch.no_grad()
def test_proposals_and_logits_of_test_frames_equal_the_references(
    model: SELSA, golden: Any, frame: Any
) -> None:
    references = [frame(int(i)) for i in golden["test_ref_frame_ids"]]
    rpn, head = model.eval().detector.rpn_head, model.bbox_head
    lent = []
    for reference in references:
        features = model.features([reference])
        lent.append(model.embed(features, model.propose(features, [reference])))
    for index in range(5):
        key, stored = frame(index), golden[f"test{index}_proposals"]
        features = model.features([key])
        (proposals,) = rpn.proposals(*rpn([features]), [key], learned=False)
        same_proposals(proposals, stored)
        own = model.embed(features, [torch.from_numpy(stored[:, :4])])
        counts = [len(part) for part in (*lent, own)]
        assert counts == golden[f"test{index}_ref_proposals_count"].tolist()
        if index in (0, 4):
            memory = head.remember(torch.cat([*lent, own]))
            scores, moves = head.aggregate(own, memory)
            assert_close(scores, golden[f"test{index}_cls_score"])
            assert_close(moves[::4, ::5], golden[f"test{index}_bbox_pred_slice"])


def test_streaming_equals_the_uncached_computation(model: SELSA, frame: Any) -> None:
    model.eval()
    references, key = [frame(i) for i in (0, 1, 1)], frame(2)
    model.start(references)
    model(frame(3))
    streamed = model(key)
    with torch.no_grad():
        frames = [*references, key]
        features = model.features(frames)
        proposals = model.propose(features, frames)
        head = model.detector.roi_head
        memory = model.bbox_head.remember(model.embed(features, proposals))
        answers = model.bbox_head.aggregate(model.embed(features[3:], proposals[3:]), memory)
        plain = head.detect(*answers, proposals[3], key)
    assert torch.allclose(streamed.boxes_xyxy, plain.boxes_xyxy, atol=4e-3)
    assert torch.allclose(streamed.scores, plain.scores, atol=1e-4)
    assert (streamed.labels == plain.labels).all()


def test_losses_and_gradients_equal_the_references(
    model: SELSA, golden: Any, frame: Any, mode: str
) -> None:
    torch.manual_seed(0)
    model.train().zero_grad()
    losses = model(Clip(key=frame(2), references=(frame(0), frame(5))))
    names = ("loss_rpn_cls", "loss_rpn_bbox", "loss_cls", "loss_bbox")
    for name, expected in zip(names, golden[f"train_{mode}_losses"], strict=False):
        assert losses[name].item() == pytest.approx(float(expected), rel=1e-4)
    assert losses["acc"].item() == pytest.approx(float(golden[f"train_{mode}_losses"][4]))
    sum(losses[name] for name in names).backward()

    assert_gradients(model, f"selsa_A_train_{mode}_grads.json")


def test_the_second_stage_on_the_stored_proposals_equals_the_references(
    model: SELSA, golden: Any, frame: Any, mode: str
) -> None:
    stored = {
        key.removeprefix(f"train_{mode}_"): value
        for key, value in golden.items()
        if key.startswith(f"train_{mode}_")
    }
    model.train()
    key, references = frame(2), (frame(0), frame(5))
    features = model.features((key, *references))
    rpn, head = model.detector.rpn_head, model.detector.roi_head
    torch.manual_seed(0)
    # Draws its own random numbers first, as in training.
    rpn.losses(*rpn([features[:1]]), [key])
    rois = head.sampler([torch.from_numpy(stored["proposals"][:, :4])], [key])
    assert_close(rois.boxes_xyxy, stored["rois"][:, 1:], share=0)
    assert (rois.labels.numpy() == stored["rcnn_labels"]).all()
    assert_close(rois.targets, stored["rcnn_bbox_targets_pos"])
    lent = [torch.from_numpy(stored[f"ref_proposals_{i}"][:, :4]) for i in (0, 1)]
    memory = model.bbox_head.remember(model.embed(features[1:], lent))
    scores, moves = model.bbox_head.aggregate(model.embed(features[:1], [rois.boxes_xyxy]), memory)
    assert_close(scores, stored["cls_score"])
    assert_close(moves[:, ::7], stored["bbox_pred_slice"])
    losses = head.losses(scores, moves, rois)
    for name, expected in (("loss_cls", 2), ("loss_bbox", 3)):
        assert losses[name].item() == pytest.approx(float(stored["losses"][expected]), rel=1e-4)


def test_folded_batch_norm_equals_batch_norm(model: SELSA) -> None:
    block = model.eval().detector.backbone.stages[1][0]
    x = torch.randn(1, 256, 9, 9, generator=torch.Generator().manual_seed(0))
    plain = block.bn1(block.conv1(x)).relu()
    plain = block.bn2(block.conv2(plain)).relu()
    plain = block.bn3(block.conv3(plain)) + block.downsample(x)
    assert_close(block(x), plain.relu().detach().numpy(), share=1e-5)
