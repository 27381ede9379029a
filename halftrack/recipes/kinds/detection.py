"""Recipes of detectors: SELSA in video and Faster R-CNN in single frames."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from halftrack.data.mot.config import MotDetectionConfig
from halftrack.data.vid.config import IMAGENET_VID_CLASSES, VidDataConfig
from halftrack.errors import UserError
from halftrack.evaluation.detection import DETECTION_SCORES
from halftrack.frames import Clip, ClipBatch, Frame, FrameBatch
from halftrack.models import FasterRCNNConfig, SelsaConfig
from halftrack.recipes.kinds.backbone import BackboneRecipe
from halftrack.recipes.kinds.recipe import Box
from halftrack.recipes.kinds.settings import check_classes, check_names, named_classes
from halftrack.recipes.kinds.trained import Sharing, TrainingSource, spread_boxes
from halftrack.synthetic import SYNTHETIC_CLASSES, Layout

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from halftrack.data import Progress, VideoSource
    from halftrack.data.check import DataReport
    from halftrack.data.own.layouts import OwnData
    from halftrack.data.own.settings import Use
    from halftrack.recipes.scoring.evaluation import DetectionEvaluation
    from halftrack.recipes.scoring.on_video import VideoTracker
    from halftrack.training import Batch

__all__ = ["DetectionRecipe", "FrameDetectionRecipe", "VideoDetectionRecipe"]


@dataclass(frozen=True, kw_only=True)
class DetectionRecipe(BackboneRecipe):
    """A recipe whose model is a detector."""

    any_image_size: ClassVar[bool] = True
    measured: ClassVar[tuple[str, ...]] = DETECTION_SCORES
    model: SelsaConfig | FasterRCNNConfig
    data: VidDataConfig | MotDetectionConfig

    def check_before_data(self) -> None:
        """As of any recipe; and the model must tell apart as many classes as the data name."""
        super().check_before_data()
        check_classes(self.model.roi_head.num_classes, self.data.class_names)

    def video_tracker(
        self, init_box_xyxy: Box | None
    ) -> Callable[[nn.Module, torch.device, VideoSource], VideoTracker]:
        """The detections in each frame of a video; without ids, as nothing is followed."""
        if init_box_xyxy is not None:
            raise UserError(f"{self.name} finds its objects itself: leave out the first box")

        def tracker(model: nn.Module, device: torch.device, source: VideoSource) -> VideoTracker:
            from halftrack.recipes.scoring.on_video import DetectorOnVideo

            return DetectorOnVideo(self, model, device, source)

        return tracker

    def video_source(self, source: VideoSource) -> VideoSource:
        """The video with its frames resized as test data are, if no size was asked for."""
        return source.at_test_size(self.data.image_scale, batch=self.data.test_batch)


@dataclass(frozen=True, kw_only=True)
class VideoDetectionRecipe(DetectionRecipe):
    """SELSA on ImageNet VID."""

    method: ClassVar[str] = "SELSA"
    text_format: ClassVar[str] = "vid"
    backbone_path: ClassVar[str] = "detector.backbone"
    batch_types: ClassVar[tuple[type, ...]] = (Clip, ClipBatch, Frame)
    synthetic_layout: ClassVar[Layout | None] = "vid"
    model: SelsaConfig
    """Architecture and its loss, sampling and test settings."""
    data: VidDataConfig
    """The data sets' configuration: what is read and how it is sampled."""

    def use_of(self, data: OwnData, report: DataReport) -> Use | None:
        """Trains on a tree in ImageNet's layout; one without training videos is scored on."""
        from halftrack.data.own.settings import vid_use

        return vid_use(data, report, self.data.class_names)

    def with_classes(self, names: Sequence[str], data_root: str | Path | None = None) -> Self:
        """Classes by their name, as the annotations or ImageNet have it."""
        if names or data_root is None:
            wnids = dict(IMAGENET_VID_CLASSES)
            classes = tuple((name, wnids.get(name, name)) for name in names)
        else:
            from halftrack.data.vid.indexes import found_classes

            classes = found_classes(self.data, data_root)
        check_names([name for name, _ in classes])
        head = replace(self.model.roi_head, num_classes=len(classes))
        model = replace(self.model, roi_head=head)
        return replace(self, data=replace(self.data, classes=classes), model=model)

    def find_training_data(self, data_root: str | Path) -> None:
        """Looks for the folder of the training sets."""
        from halftrack.data.vid.indexes import find_training_sets

        find_training_sets(self.data, data_root)

    def find_test_data(self, data_root: str | Path) -> None:
        """Looks for the folder of the validation set."""
        from halftrack.data.vid.indexes import find_test_set

        find_test_set(self.data, data_root)

    def training_source(
        self, data_root: str | Path, *, progress: Progress | None = None
    ) -> TrainingSource:
        """Clips of the training videos."""
        from halftrack.data.vid import TrainingClips

        return TrainingClips.open(self.data, data_root, progress=progress)

    def scorer(
        self, data_root: str | Path, device: torch.device, *, progress: Progress | None = None
    ) -> Callable[[nn.Module], DetectionEvaluation]:
        """Streams every validation video through the model, references once a video."""
        from halftrack.recipes.scoring.detection import video_scorer

        return video_scorer(self, data_root, device, progress)

    def video_source(self, source: VideoSource) -> VideoSource:
        """As of any detector; refuses a live one."""
        if source.live:
            raise UserError(
                f"{self.name} looks at frames spread over a whole video, and {source.name} is "
                "live: take a file or a folder"
            )
        return super().video_source(source)

    def check_data(
        self, data_root: str | Path, *, decode: bool = False, progress: Progress | None = None
    ) -> DataReport:
        """Read every annotation of the training sets and of VID's validation set."""
        from halftrack.data.vid.imagenet_vid import find_ilsvrc

        find_ilsvrc(data_root, holding=("Data",))  # before what looks at images is imported
        from halftrack.data.check import check

        return check(data_root, self.data, decode=decode, progress=progress)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width, in pixels, of the largest image that it trains on."""
        short, long = sorted(self.data.image_scale)
        jitter = self.data.scale_jitter[1]
        return round(short * jitter), round(long * jitter)

    def image_fields(self, size: tuple[int, int]) -> list[str]:
        """The assignments with which images have this height and width, without jitter."""
        jitters = self.data.scale_jitter != (1.0, 1.0)
        scale = max(size), min(size)
        return [f"data.image_scale={scale}", *["data.scale_jitter=(1.0, 1.0)"] * jitters]

    @property
    def test_references(self) -> int:
        """Number of reference frames, spread over a video."""
        return self.data.test_references

    def sharing(self) -> tuple[Sharing, ...]:
        """Numbers of reference frames, on both sides of the key frame, and of clips in a pass."""
        data, training = self.data, self.training
        return (
            Sharing("data.num_references", data.num_references, 2, 2 * data.frame_range),
            Sharing("training.clips_per_pass", training.clips_per_pass, step=training.accumulate),
        )

    def planned_batch(
        self, *, objects: int, forget: Callable[[Tensor], Tensor] = lambda x: x
    ) -> Batch:
        """Clips of the recipe's largest size, black, with so many boxes in each frame."""
        import torch

        frame = _planned_frame(self.image_size, torch.uint8, objects, forget)
        clip = Clip(key=frame, references=(frame,) * self.data.num_references)
        together = self.training.clips_per_pass
        if together == 1:
            return clip
        return ClipBatch(clips=(clip,) * together, seeds=(0,) * together)

    def reading_synthetic(self) -> Self:
        """The recipe with synthetic video in the place of its data sets.

        Raises:
            ValueError: if its model tells fewer classes apart than the synthetic video has.
        """
        classes, known = self.model.roi_head.num_classes, len(SYNTHETIC_CLASSES)
        if classes < known:
            raise UserError(
                f"model.roi_head.num_classes={classes}: synthetic video has {known} classes"
            )
        sets = {"training_sets": ("vid",), "training_json": (), "test_json": ""}
        return replace(self, data=replace(self.data, classes=SYNTHETIC_CLASSES, **sets))  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class FrameDetectionRecipe(DetectionRecipe):
    """Faster R-CNN on the frames of MOTChallenge sequences: Tracktor's detector."""

    method: ClassVar[str] = "Faster R-CNN FPN"
    text_format: ClassVar[str] = "det"
    batch_types: ClassVar[tuple[type, ...]] = (FrameBatch, Frame)
    batch_size_field: ClassVar[str] = "data.images_per_batch"
    synthetic_layout: ClassVar[Layout | None] = "mot"
    model: FasterRCNNConfig
    """Architecture and its loss, sampling and test settings."""
    data: MotDetectionConfig
    """The data set's configuration: what is read and how it is augmented."""

    def use_of(self, data: OwnData, report: DataReport) -> Use | None:
        """Trains on sequences in MOTChallenge's layout."""
        from halftrack.data.own.settings import mot_use

        return mot_use("train", data, report)

    def with_classes(self, names: Sequence[str], data_root: str | Path | None = None) -> Self:
        """Classes by their name in MOTChallenge or in the data, or by their number."""
        names = named_classes(names, self.data, data_root)
        head = replace(self.model.roi_head, num_classes=len(names))
        model = replace(self.model, roi_head=head)
        return replace(self, data=replace(self.data, classes=names), model=model)

    def find_training_data(self, data_root: str | Path) -> None:
        """Looks for the folder of the training sequences."""
        from halftrack.data.mot.mot_challenge import find_split

        find_split(data_root, self.data.training_split, benchmark=self.data.benchmark)

    def find_test_data(self, data_root: str | Path) -> None:
        """Looks for the folder of the test sequences."""
        from halftrack.data.mot.mot_challenge import find_split

        find_split(data_root, self.data.test_split, benchmark=self.data.benchmark)

    def training_source(
        self, data_root: str | Path, *, progress: Progress | None = None
    ) -> TrainingSource:
        """Batches of the training frames."""
        from halftrack.data.mot import FrameBatches

        return FrameBatches.open(self.data, data_root)

    def scorer(
        self, data_root: str | Path, device: torch.device, *, progress: Progress | None = None
    ) -> Callable[[nn.Module], DetectionEvaluation]:
        """Detects in every frame of the validation sequences; scored on the rows that train."""
        from halftrack.recipes.scoring.detection import frame_scorer

        return frame_scorer(self, data_root, device, progress)

    def check_data(
        self, data_root: str | Path, *, decode: bool = False, progress: Progress | None = None
    ) -> DataReport:
        """Read every annotation of the training and test sequences."""
        self.find_training_data(data_root)  # before what looks at images is imported
        self.find_test_data(data_root)
        from halftrack.data.check import check

        return check(data_root, self.data, decode=decode, progress=progress)

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width, in pixels, of the largest image that it trains on."""
        limits = [round(side * self.data.ratio_range[1]) for side in sorted(self.data.image_scale)]
        height, width = (min(pair) for pair in zip(self.data.crop_size, limits, strict=True))
        return height, width

    def image_fields(self, size: tuple[int, int]) -> list[str]:
        """The assignments with which images and crops have this height and width."""
        return [f"data.image_scale={(max(size), min(size))}", f"data.crop_size={size}"]

    def planned_batch(
        self, *, objects: int, forget: Callable[[Tensor], Tensor] = lambda x: x
    ) -> Batch:
        """A batch of the recipe's largest size, black, with so many boxes in each frame."""
        import torch

        frame = _planned_frame(self.image_size, torch.float32, objects, forget)
        return FrameBatch(frames=(frame,) * self.data.images_per_batch)

    def reading_synthetic(self) -> Self:
        """The recipe with synthetic video in the place of its benchmark."""
        return replace(self, data=replace(self.data, benchmark="MOT17", detectors="all"))


def _planned_frame(
    size: tuple[int, int], dtype: torch.dtype, objects: int, forget: Callable[[Tensor], Tensor]
) -> Frame:
    """A black frame with boxes of all sizes."""
    import torch

    return Frame(
        image=forget(torch.zeros((3, *size), dtype=dtype)),
        sample_id="planned",
        boxes_xyxy=forget(spread_boxes(objects, size)),
        labels=forget(torch.zeros((objects,), dtype=torch.int64)),
    )
