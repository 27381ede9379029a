"""The second stage learns from what its sampler chooses."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from halftrack.frames import Frame, FrameBatch
from halftrack.models import FasterRCNNConfig
from halftrack.models.matching import Draws
from halftrack.models.roi_head import SampledRoIs


@dataclass(frozen=True)
class Background:
    """Chooses one proposal a frame, as background, and fails without any."""

    label: int

    def __call__(
        self, proposals_xyxy: Sequence[Tensor], frames: Sequence[Frame], draws: Draws = None
    ) -> SampledRoIs:
        boxes = torch.cat([each[:1] for each in proposals_xyxy])
        labels, nothing = torch.full((len(boxes),), self.label), torch.zeros(0, dtype=torch.int64)
        one, none = (1,) * len(frames), (0,) * len(frames)
        return SampledRoIs(boxes, one, none, labels, nothing, boxes[:0])


def test_a_detector_learns_the_rois_that_its_sampler_chooses() -> None:
    config = FasterRCNNConfig()
    backbone = replace(config.backbone, depth=18, base_channels=16)
    head = replace(config.roi_head, fc_out_channels=64)
    model = replace(config, backbone=backbone, neck_channels=32, roi_head=head).build().train()
    boxes, labels = torch.tensor([[10.0, 12.0, 60.0, 70.0]]), torch.zeros(1, dtype=torch.int64)
    image = torch.zeros((3, 96, 128), dtype=torch.uint8)
    frame = Frame(image=image, sample_id="a", boxes_xyxy=boxes, labels=labels)
    keys = list(model.state_dict())
    assert model(FrameBatch(frames=(frame,)))["loss_bbox"] > 0
    model.roi_head.sampler = Background(model.roi_head.bbox_head.fc_cls.out_features - 1)
    losses = copy.deepcopy(model)(FrameBatch(frames=(frame,)))
    assert losses["loss_bbox"] == 0
    assert losses["loss_cls"] > 0
    assert list(model.state_dict()) == keys
