"""Settings of the trackers and of the camera motion between frames, with their bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from halftrack.bounds import Bounds, Share, check_bounds
from halftrack.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["BLURS", "EccMotion", "MotionModel", "SiameseConfig", "TracktorConfig"]

MotionModel = Literal["translation", "euclidean", "affine", "homography"]
"""Families of camera motion."""
BLURS = {1: (1.0,), 3: (0.25, 0.5, 0.25), 5: (0.0625, 0.25, 0.375, 0.25, 0.0625)}
"""Weights of the Gaussian that smooths images, by its side in pixels."""


@dataclass(frozen=True, kw_only=True)
class TracktorConfig:
    """Thresholds for continuing, starting and ending tracks. The defaults are the published ones.

    Raises:
        ValueError: for a value out of its range.
    """

    detection_score: Share = 0.5
    """Score that a detection must exceed to be used."""
    regression_score: Share = 0.5
    """Score that a regressed box must exceed for its track to continue in this frame."""
    regression_nms_iou: Share = 0.6
    """IoU above which the lower-scored one of two regressed boxes of a class is removed."""
    new_track_iou: Share = 0.3
    """IoU with every regressed box below which a detection is new."""
    reid_num_samples: Annotated[int, Bounds(least=1, most=100_000)] = 10
    """Number of last embeddings of a lost track whose mean is compared with a detection's."""
    reid_distance: Annotated[float, Bounds(least=0, most=1e6)] = 2.0
    """Largest distance of embeddings at which a detection can be a lost track."""
    reid_iou: Share = 0.2
    """Smallest IoU with the last box of a lost track at which a detection can be that track."""
    linear_motion: Annotated[int, Bounds(least=0, most=100_000)] = 0
    """Number of last steps whose mean a track is expected to repeat, in addition to the camera's
    motion (constant velocity, Bergmann et al. 2019, section 2.3); 0 expects no own motion."""
    box_momentum: Annotated[float | None, Bounds(above=0, most=1)] = None
    """Share of the new box in a track's running mean of boxes; None keeps the new box alone."""
    embedding_momentum: Annotated[float | None, Bounds(above=0, most=1)] = None
    """Share of the new embedding in a running mean; None keeps the last ``reid_num_samples``."""
    num_frames_retain: Annotated[int, Bounds(least=1, most=1_000_000)] = 10
    """Number of frames without a box after which a track ends."""
    compatible: bool = False
    """Repeat what MMTracking does, as its published numbers need it.

    Camera motion, estimated in network pixels, moves boxes in original pixels as if both were the
    same (a defect), and a recipe estimates it on normalised images instead of the images as read.
    """

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class SiameseConfig:
    """Penalties and smoothing of the tracker. The defaults are those published for LaSOT.

    ===================== ========= ==== ================
    published for         penalty_k lr   window_influence
    ===================== ========= ==== ================
    LaSOT and TrackingNet 0.05      0.38 0.42
    OTB100                0.4       0.4  0.5
    UAV123                0.1       0.5  0.1
    VOT2018               0.04      0.33 0.44
    ===================== ========= ==== ================

    Raises:
        ValueError: for a value out of its range.
    """

    penalty_k: Annotated[float, Bounds(least=0, most=1000)] = 0.05
    """Strength of the penalty on the score of an anchor that changes size or shape."""
    lr: Share = 0.38
    """Largest share of the new size in the smoothed size of the box."""
    window_influence: Share = 0.42
    """Share of the Hanning window in an anchor's rank; the window prefers small motion."""

    def __post_init__(self) -> None:
        check_bounds(self)


@dataclass(frozen=True, kw_only=True)
class EccMotion:
    """Estimates the camera motion between two frames by maximising their correlation.

    The defaults are MMTracking 0.14's Tracktor: ``cv2.findTransformECC(first, second, identity,
    cv2.MOTION_EUCLIDEAN, (EPS | COUNT, 100, 1e-5), None, 1)``.

    Raises:
        ValueError: for a setting out of its range.
    """

    model: MotionModel = "euclidean"
    """``translation``, ``euclidean``, ``affine`` or ``homography``."""
    iterations: Annotated[int, Bounds(least=1, most=100_000)] = 100
    """Largest number of steps on each level of the pyramid."""
    tolerance: Annotated[float, Bounds(least=0, most=1)] = 1e-5
    """Change of the correlation below which a level is finished.

    With several levels, a level is also finished when a step moves every corner by less than 1/32
    of the distance between compared pixels: the next step, a tenth of that, would be noise.
    """
    blur: Annotated[int, Bounds(least=1, most=5)] = 1
    """Side in pixels of the Gaussian that smooths both grey images: 1 (no smoothing), 3 or 5."""
    levels: Annotated[int, Bounds(least=1, most=16)] = 1
    """Levels of the image pyramid, each half as large; 1 uses the full size alone, as OpenCV does.

    At 1080p, 4 levels are as exact as OpenCV and take between a fifteenth and nine tenths of its
    time (benchmarks/ecc.md).
    """
    stride: Annotated[int, Bounds(least=1, most=1024)] = 1
    """Distance between compared pixels of the first frame along x and y, at full size.

    2 saves a third of the time at 1080p; small or noisy frames need 1 (2 costs 0.2 px at 320x192).
    """

    def __post_init__(self) -> None:
        check_bounds(self)
        if self.model not in get_args(MotionModel):
            raise UserError(
                f"motion model {self.model!r} is not one of {', '.join(get_args(MotionModel))}"
            )
        if self.blur not in BLURS:
            raise UserError(f"blur {self.blur!r} is not one of {', '.join(map(str, BLURS))}")

    def __call__(self, first_chw: Tensor, second_chw: Tensor) -> Tensor:
        """Estimate the warp from pixels of the first frame to pixels of the second.

        Args:
            first_chw: ``(3, height, width)`` RGB or ``(1, height, width)`` grey. Brightness and
                contrast may be anything: they do not change the correlation.
            second_chw: an image of the same shape on the same device.

        Returns:
            float32 ``(2, 3)``, or ``(3, 3)`` for a homography, on the device of the frames.

        Raises:
            UncorrelatedFramesError: if no motion aligns the frames.
            ValueError: if the frames have different shapes or are no such images.

        Source: MMTracking 0.14, CameraMotionCompensation.get_warp_matrix.
        """
        from halftrack.tracking.camera_motion import estimate_motion

        return estimate_motion(self, first_chw, second_chw)
