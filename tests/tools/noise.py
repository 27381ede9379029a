"""Noise in the place of a planned batch's black images, of which nothing could be learned."""

from __future__ import annotations

import torch

from halftrack.frames import Clip, CropBatch, FrameBatch, PairBatch
from halftrack.training import Batch


def noisy(batch: Batch) -> Batch:
    """The batch with the same noise in its images at every call."""
    match batch:
        case Clip():
            images = [frame.image for frame in (batch.key, *batch.references)]
        case FrameBatch():
            images = [frame.image for frame in batch.frames]
        case PairBatch():
            images = [batch.templates, batch.searches]
        case CropBatch():
            images = [batch.images]
    source = torch.Generator().manual_seed(0)
    for image in images:
        image.random_(0, 256, generator=source)
    return batch
