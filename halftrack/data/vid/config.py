"""A recipe's configuration of video detection data: ImageNet VID and DET, fields and bounds."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from halftrack.bounds import Bounds, Share, check_bounds
from halftrack.data.index import Classes
from halftrack.data.problems import OnBadSample
from halftrack.errors import UserError

__all__ = ["IMAGENET_VID_CLASSES", "KeyFrames", "ResizeOn", "VidDataConfig"]

KeyFrames = Literal["listed", "all"]
"""The frames that are trained on: those of ``VID_train_15frames.txt``, or every frame."""
ResizeOn = Literal["cpu", "device"]
"""The place where frames are resized: by the workers, or where the model computes."""

IMAGENET_VID_CLASSES: Classes = (
    ("airplane", "n02691156"),
    ("antelope", "n02419796"),
    ("bear", "n02131653"),
    ("bicycle", "n02834778"),
    ("bird", "n01503061"),
    ("bus", "n02924116"),
    ("car", "n02958343"),
    ("cattle", "n02402425"),
    ("dog", "n02084071"),
    ("domestic_cat", "n02121808"),
    ("elephant", "n02503517"),
    ("fox", "n02118333"),
    ("giant_panda", "n02510455"),
    ("hamster", "n02342885"),
    ("horse", "n02374451"),
    ("lion", "n02129165"),
    ("lizard", "n01674464"),
    ("monkey", "n02484322"),
    ("motorcycle", "n03790512"),
    ("rabbit", "n02324045"),
    ("red_panda", "n02509815"),
    ("sheep", "n02411705"),
    ("snake", "n01726692"),
    ("squirrel", "n02355227"),
    ("tiger", "n02129604"),
    ("train", "n04468005"),
    ("turtle", "n01662784"),
    ("watercraft", "n04530566"),
    ("whale", "n02062744"),
    ("zebra", "n02391049"),
)
"""The 30 classes in label order, each as (name, wnid)."""


@dataclass(frozen=True, kw_only=True)
class VidDataConfig:
    """ImageNet VID (and DET) for video detection; the defaults are SELSA's published recipe."""

    classes: Classes = IMAGENET_VID_CLASSES
    """The classes in label order, each as (name, wnid)."""
    training_sets: tuple[Literal["vid", "det"], ...] = ("vid", "det")
    """The sets that are trained on: videos, and the stills of DET."""
    key_frames: KeyFrames = "listed"
    """``listed``: those of ``VID_train_15frames.txt``; ``all``: every frame of the snippets."""
    training_json: tuple[str, ...] = ()
    """CocoVID files below ILSVRC to read instead of the training XML, one for each training set."""
    test_json: str = ""
    """A CocoVID file below ILSVRC to read instead of the validation XML."""
    image_scale: Annotated[tuple[int, int], Bounds(least=1, most=16_384)] = (1000, 600)
    """Greatest long and short side at network size, in pixels."""
    resize_on: ResizeOn = "cpu"
    """``cpu``: the workers resize and mirror frames; ``device``: they only decode them, and a GPU
    does the rest, values at most 1 of 255 away."""
    num_references: Annotated[int, Bounds(least=2, most=1000)] = 2
    """Reference frames of a training clip, half from each side of the key frame."""
    frame_range: Annotated[int, Bounds(least=1, most=100_000)] = 9
    """Largest distance of a training reference from its key frame, in frames."""
    test_references: Annotated[int, Bounds(least=2, most=10_000)] = 14
    """Reference frames of a test video, spread over all of it."""
    flip_probability: Share = 0.5
    """Chance that all frames of a training clip are mirrored."""
    scale_jitter: Annotated[tuple[float, float], Bounds(above=0, most=100)] = (1.0, 1.0)
    """In training, ``image_scale`` is multiplied by a number from this range, one a clip."""
    min_size: Annotated[int, Bounds(least=1, most=16_384)] = 32
    """Images with a smaller side are not trained on."""
    test_batch: Annotated[int, Bounds(least=1, most=1000)] = field(
        default=1, metadata={"free": True}
    )
    """Test frames of a video that share a pass; detections stay the same but for rounding, and the
    memory needed grows with it."""
    on_bad_sample: OnBadSample = field(default="error", metadata={"free": True})
    """``error`` stops at a file that cannot be used; ``skip`` leaves it out and lists it. Free to
    change when a run is resumed, for a run that a bad file stopped."""

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.on_bad_sample not in ("error", "skip"):
            raise UserError(f"on_bad_sample={self.on_bad_sample!r}: expected 'error' or 'skip'")
        if self.resize_on not in ("cpu", "device"):
            raise UserError(f"resize_on={self.resize_on!r}: expected 'cpu' or 'device'")
        if self.scale_jitter[0] > self.scale_jitter[1]:
            raise UserError(f"scale_jitter={self.scale_jitter!r}: expected low <= high")
        if self.num_references % 2:
            raise UserError(
                f"num_references={self.num_references!r}: expected an even number, half from each "
                "side of the key frame"
            )
        if self.frame_range < self.num_references // 2:
            raise UserError(
                f"frame_range={self.frame_range!r}: expected at least half of "
                f"num_references={self.num_references!r}"
            )
        if not set(self.training_sets) <= {"vid", "det"}:
            raise UserError(f"training_sets={self.training_sets!r}: expected 'vid' and 'det'")
        if self.training_json and len(self.training_json) != len(self.training_sets):
            raise UserError(
                f"training_json={self.training_json!r}: one file for each of "
                f"training_sets={self.training_sets!r}, or none"
            )

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names in label order."""
        return tuple(name for name, _ in self.classes)
