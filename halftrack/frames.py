"""Input and output of models: the nouns that every room shares.

Images are RGB ``(3, height, width)`` at network size, not padded and not normalised: that happens
on the device. They are uint8, or float32 (0 to 255) after steps whose fractions matter.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from halftrack.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = [
    "Clip",
    "ClipBatch",
    "CropBatch",
    "Detections",
    "Frame",
    "FrameBatch",
    "FrameTruth",
    "PairBatch",
    "Tracks",
    "batches_of",
    "resized",
]

_NounT = TypeVar("_NounT", "Frame", "CropBatch", "PairBatch", "Detections", "Tracks")


def _empty(dtype: str, *shape: int) -> Tensor:
    import torch

    return torch.zeros(shape, dtype=getattr(torch, dtype), device="cpu")


def _has_no_area(boxes_xyxy: Tensor) -> Tensor:
    """Flags ``(n,)`` of boxes ``(n, 4)`` whose size has no finite logarithm."""
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    return ~((sides > 0) & sides.isfinite()).all(dim=1)


def _with_faults(frames: Sequence[Frame]) -> tuple[str, ...]:
    return tuple(each.sample_id for each in frames if bool(_has_no_area(each.boxes_xyxy).any()))


def _changed(noun: _NounT, change: Callable[[Tensor], Tensor]) -> _NounT:
    """The same noun with each of its tensors changed."""
    import torch

    changed: Any = {k: change(v) for k, v in vars(noun).items() if isinstance(v, torch.Tensor)}
    return replace(noun, **changed)


def resized(image: Tensor, size: tuple[int, int], *, flipped: bool = False) -> Tensor:
    """A uint8 image ``(3, height, width)`` at another size, mirrored left to right if ``flipped``.

    It stays on its device; a GPU's values are at most 1 away from a CPU's.
    """
    if image.shape[-2:] != size:
        from torchvision.transforms.v2 import functional as transforms

        # antialias off is OpenCV's INTER_LINEAR; the uint8 kernel rounds once.
        image = transforms.resize_image(image, list(size), antialias=False)
    return image.flip(-1) if flipped else image


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One image of a video, with its ground truth where training needs it."""

    image: Tensor
    """uint8 or float32 ``(3, height, width)``, RGB, resized to network size, not padded."""
    resize_to: tuple[int, int] | None = None
    """Height and width that ``to`` resizes it to, before it mirrors it; None if that is done."""
    sample_id: str
    """Name of the frame in errors and ledgers, e.g. ``val/ILSVRC2015_val_00000000/000003``."""
    frame_index: int = 0
    """Position in the video, 0-based."""
    scale_xy: tuple[float, float] = (1.0, 1.0)
    """Network pixels per original pixel, horizontally and vertically."""
    flipped: bool = False
    """Image and boxes were mirrored left to right."""
    boxes_xyxy: Tensor = field(default_factory=partial(_empty, "float32", 0, 4))
    """float32 ``(n, 4)`` ground truth in network pixels; empty at test time."""
    labels: Tensor = field(default_factory=partial(_empty, "int64", 0))
    """int64 ``(n,)`` class of each box, 0-based."""
    public_xyxy: Tensor | None = None
    """float32 ``(n, 4)`` boxes of a public detector in network pixels; None without one."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the image in network pixels, padding excluded."""
        return self.resize_to or (int(self.image.shape[-2]), int(self.image.shape[-1]))

    @property
    def pixels(self) -> Tensor:
        """The image, which must have its network size; raises ValueError if it has not."""
        if self.resize_to is not None:
            raise UserError(f"{self.sample_id}: data.resize_on='device' needs frame.to(device)")
        return self.image

    def to(self, device: torch.device | str) -> Frame:
        """The same frame with its tensors on ``device``, the image at network size."""
        frame = _changed(self, lambda tensor: tensor.to(device, non_blocking=True))
        if frame.resize_to is None:
            return frame
        image = resized(frame.image, frame.resize_to, flipped=frame.flipped)
        return replace(frame, image=image, resize_to=None)

    def pin_memory(self) -> Frame:
        """The same frame in page-locked memory (called by a pinning DataLoader)."""
        return _changed(self, lambda tensor: tensor.pin_memory())


@dataclass(frozen=True, kw_only=True)
class Clip:
    """Training batch of video detection: one key frame and its reference frames."""

    key: Frame
    """Frame whose objects are learned."""
    references: tuple[Frame, ...]
    """Frames of the same video whose features are added to the key frame's."""

    @property
    def size(self) -> tuple[int, int]:
        """Greatest height and width of its images."""
        sizes = [frame.size for frame in (self.key, *self.references)]
        return max(height for height, _ in sizes), max(width for _, width in sizes)

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Names of all frames, the key frame first."""
        return (self.key.sample_id, *(frame.sample_id for frame in self.references))

    def faulty_targets(self) -> tuple[str, ...]:
        """The key frame's name if one of its boxes has no area or is not finite (host sync)."""
        return _with_faults([self.key])

    def to(self, device: torch.device | str) -> Clip:
        """The same clip with its tensors on ``device``."""
        references = tuple(frame.to(device) for frame in self.references)
        return Clip(key=self.key.to(device), references=references)

    def pin_memory(self) -> Clip:
        """The same clip in page-locked memory (called by a pinning DataLoader)."""
        references = tuple(frame.pin_memory() for frame in self.references)
        return Clip(key=self.key.pin_memory(), references=references)


@dataclass(frozen=True, kw_only=True)
class ClipBatch:
    """Clips that share a training pass, each with the seed of its own random draws."""

    clips: tuple[Clip, ...]
    """The clips; padding changes none of them where their images are equally large."""
    seeds: tuple[int, ...]
    """Seed of what is drawn for each clip: it learns from what it would alone."""

    @property
    def frames(self) -> tuple[Frame, ...]:
        """The key frames of all clips, then their reference frames, clip after clip."""
        references = [frame for clip in self.clips for frame in clip.references]
        return (*(clip.key for clip in self.clips), *references)

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Names of all frames, in the order of ``frames``."""
        return tuple(frame.sample_id for frame in self.frames)

    def faulty_targets(self) -> tuple[str, ...]:
        """Names of the key frames of which a box has no area or is not finite (host sync)."""
        return _with_faults([clip.key for clip in self.clips])

    def to(self, device: torch.device | str) -> ClipBatch:
        """The same clips with their tensors on ``device``."""
        return replace(self, clips=tuple(clip.to(device) for clip in self.clips))


def batches_of(batch: object) -> int:
    """The number of a step's batches that a pass takes: its clips, or 1."""
    return len(batch.clips) if isinstance(batch, ClipBatch) else 1


@dataclass(frozen=True, kw_only=True)
class FrameBatch:
    """Training batch of a detector: frames of any sizes that share a pass."""

    frames: tuple[Frame, ...]
    """The frames, each with its ground truth."""

    @property
    def sample_ids(self) -> tuple[str, ...]:
        """Names of all frames."""
        return tuple(frame.sample_id for frame in self.frames)

    def faulty_targets(self) -> tuple[str, ...]:
        """Names of the frames of which a box has no area or is not finite (host sync)."""
        return _with_faults(self.frames)

    def to(self, device: torch.device | str) -> FrameBatch:
        """The same batch with its tensors on ``device``."""
        return FrameBatch(frames=tuple(frame.to(device) for frame in self.frames))

    def pin_memory(self) -> FrameBatch:
        """The same batch in page-locked memory (called by a pinning DataLoader)."""
        return FrameBatch(frames=tuple(frame.pin_memory() for frame in self.frames))


@dataclass(frozen=True, kw_only=True)
class CropBatch:
    """Training batch of re-identification: crops of individuals, all of one size."""

    images: Tensor
    """float32 ``(n, 3, height, width)`` RGB, 0 to 255."""
    labels: Tensor
    """int64 ``(n,)`` individual that each crop shows, 0-based."""
    sample_ids: tuple[str, ...]
    """Name of each crop: image and box."""

    def to(self, device: torch.device | str) -> CropBatch:
        """The same batch with its tensors on ``device``."""
        return _changed(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> CropBatch:
        """The same batch in page-locked memory (called by a pinning DataLoader)."""
        return _changed(self, lambda tensor: tensor.pin_memory())


@dataclass(frozen=True, kw_only=True)
class PairBatch:
    """Training batch of single-object tracking: pairs of a template and a search region."""

    templates: Tensor
    """float32 ``(n, 3, 127, 127)`` RGB, 0 to 255."""
    searches: Tensor
    """float32 ``(n, 3, 255, 255)`` RGB, 0 to 255."""
    boxes_xyxy: Tensor
    """float32 ``(n, 4)`` the object in each search region; in a negative pair another object."""
    positive: Tensor
    """bool ``(n,)`` pairs that show the same object twice."""
    sample_ids: tuple[str, ...]
    """Name of each pair: its two images."""

    def faulty_targets(self) -> tuple[str, ...]:
        """Names of the pairs whose box has no area or is not finite (host sync)."""
        faulty = _has_no_area(self.boxes_xyxy).tolist()
        return tuple(name for name, bad in zip(self.sample_ids, faulty, strict=True) if bad)

    def to(self, device: torch.device | str) -> PairBatch:
        """The same batch with its tensors on ``device``."""
        return _changed(self, lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> PairBatch:
        """The same batch in page-locked memory (called by a pinning DataLoader)."""
        return _changed(self, lambda tensor: tensor.pin_memory())


@dataclass(frozen=True, kw_only=True)
class FrameTruth:
    """Ground truth of one frame, as arrays: the objects that a detector should find."""

    video: str
    """Name of the video; frames of one video follow each other."""
    boxes_xyxy: NDArray[np.float64]
    """``(n, 4)`` in original pixels, without +1."""
    labels: NDArray[np.int64]
    """``(n,)`` class of each box, 0-based."""
    track_ids: NDArray[np.int64]
    """``(n,)`` individual within the video; tells how fast an object moves."""
    ignored: NDArray[np.bool_] | None = None
    """``(n,)`` boxes left out: neither finding one nor missing it counts. None: no such boxes."""


@dataclass(frozen=True, kw_only=True)
class Detections:
    """Boxes that a detector found in one frame, best score first within each class."""

    boxes_xyxy: Tensor
    """float32 ``(n, 4)`` in original pixels."""
    scores: Tensor
    """float32 ``(n,)`` in [0, 1]."""
    labels: Tensor
    """int64 ``(n,)``, 0-based."""

    def __len__(self) -> int:
        return len(self.scores)

    def to(self, device: torch.device | str) -> Detections:
        """The same detections on ``device``."""
        return _changed(self, lambda tensor: tensor.to(device))


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """The tracks seen in one frame of a video, in the tracker's order."""

    ids: Tensor
    """int64 ``(n,)``, counted from 0 in a video; never cast to half: 2049 is 2048 in fp16."""
    boxes_xyxy: Tensor
    """float32 ``(n, 4)`` in original pixels."""
    scores: Tensor
    """float32 ``(n,)`` in [0, 1]."""
    labels: Tensor
    """int64 ``(n,)``, 0-based."""

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Tracks:
        """The same tracks on ``device``."""
        return _changed(self, lambda tensor: tensor.to(device))
