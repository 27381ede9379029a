"""Re-identification: who is who by looks, as an embedding that few pixels of distance separate.

MMTracking 0.14's BaseReID with LinearReIDHead, with its state-dict keys; hard triplets of Hermans
et al. 2017 (arXiv 1703.07737). Shapes: crops ``(n, 3, h, w)``, embeddings ``(n, d)``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from halftrack.frames import CropBatch, Frame
from halftrack.layers import ResNet, normalise_and_pad
from halftrack.layers.compilable import Compilable, fixed_shapes
from halftrack.layers.norms import BatchNorm1d, counted_together
from halftrack.models.tracker_config import ReIDConfig
from halftrack.precision import fp32_island

__all__ = ["ReID"]


class ReID(Compilable):
    """In training a batch of crops gives losses; in evaluation it gives their embeddings."""

    def __init__(self, config: ReIDConfig) -> None:
        super().__init__()
        self.config = config
        self.backbone = ResNet(config.backbone)
        self.head = _Head(config)

    @counted_together()
    def forward(self, crops: CropBatch) -> dict[str, Tensor] | Tensor:
        """Losses in training mode, embeddings ``(n, d)`` in evaluation mode."""
        embeddings = self.embed_images(normalise_and_pad(list(crops.images), divisor=1))
        return self.head.losses(embeddings, crops.labels) if self.training else embeddings

    @fixed_shapes
    def embed_images(self, images_bchw: Tensor) -> Tensor:
        """Embeddings ``(n, d)`` of normalised crops, before BN, not normalised."""
        # fp32: half precision would round a mean of many cells to three digits.
        pooled = self.backbone(images_bchw)[-1].float().mean(dim=(2, 3))
        embeddings: Tensor = self.head(pooled)
        return embeddings

    def tensor_calls(self) -> tuple[nn.Module, dict[str, tuple[Tensor, ...]]]:
        """The model as ``embed_images`` of tensors alone, with inputs of their kind."""
        return self, {"embed_images": (torch.rand(2, 3, *self.config.crop_size),)}

    @torch.no_grad()
    def embed(self, frame: Frame, boxes_xyxy: Tensor) -> Tensor:
        """Embeddings ``(n, d)`` of what boxes ``(n, 4)``, in original pixels, show of a frame.

        Source: MMTracking 0.14, BaseTracker.crop_imgs.
        """
        image = normalise_and_pad([frame.pixels], divisor=1)
        height, width = frame.size
        scale = boxes_xyxy.new_tensor(frame.scale_xy * 2)
        limit = boxes_xyxy.new_tensor([width, height, width, height])
        corners = (boxes_xyxy * scale).clamp(min=0).minimum(limit).int().tolist()  # host sync
        crops = []
        for x1, y1, x2, y2 in corners:
            # A box beyond the border or thinner than a pixel still shows the pixel next to it.
            left, top = min(x1, width - 1), min(y1, height - 1)
            crop = image[:, :, top : max(y2, top + 1), left : max(x2, left + 1)]
            size = self.config.crop_size
            crops.append(F.interpolate(crop, size=size, mode="bilinear", align_corners=False))
        return self.embed_images(torch.cat(crops))


class _FC(nn.Module):
    """A linear layer, BN and ReLU under the keys ``fc`` and ``bn``."""

    def __init__(self, inp: int, out: int) -> None:
        super().__init__()
        self.fc = nn.Linear(inp, out)
        self.bn = BatchNorm1d(out)
        nn.init.normal_(self.fc.weight, std=0.01)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.bn(self.fc(x))
        return normed.relu_()


class _Head(nn.Module):
    """The embedding, and the classifier that trains it."""

    def __init__(self, config: ReIDConfig) -> None:
        super().__init__()
        if config.num_identities is None:
            raise ValueError("model.num_identities is None: settle it by the data or a checkpoint")
        self.margin = config.margin
        self.fcs = nn.ModuleList([_FC(config.backbone.out_channels[-1], config.hidden_channels)])
        self.fc_out = nn.Linear(config.hidden_channels, config.out_channels)
        self.bn = BatchNorm1d(config.out_channels)
        self.classifier = nn.Linear(config.out_channels, config.num_identities)
        for layer in (self.fc_out, self.classifier):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)

    def forward(self, pooled: Tensor) -> Tensor:
        """Embeddings of pooled features."""
        for layer in self.fcs:
            pooled = layer(pooled)
        embeddings: Tensor = self.fc_out(pooled)
        return embeddings

    def losses(self, embeddings: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Triplet and cross-entropy loss, and the share ``acc`` (percent) of right identities."""
        logits = self.classifier(self.bn(embeddings)).float()
        correct = (logits.argmax(dim=1) == labels).sum()
        return {
            "loss_triplet": _hard_triplet_loss(embeddings, labels, self.margin),
            "loss_cls": F.cross_entropy(logits, labels),
            "acc": correct * (100.0 / max(len(labels), 1)),
        }


# fp32: squared distances of embeddings of some hundreds overflow in fp16, and the nearest of two
# close ones is decided by digits that bf16 has not.
@fp32_island
def _hard_triplet_loss(embeddings: Tensor, labels: Tensor, margin: float) -> Tensor:
    """Mean over crops of how far the margin between their hardest pair of others is missed."""
    apart = torch.cdist(embeddings, embeddings, compute_mode="donot_use_mm_for_euclid_dist")
    same = labels[:, None] == labels[None, :]
    farthest = apart.masked_fill(~same, 0.0).max(dim=1).values
    # Without another individual in the batch there is nothing to push away.
    nearest = apart.masked_fill(same, torch.inf).min(dim=1).values
    return (farthest - nearest + margin).relu().mean()
