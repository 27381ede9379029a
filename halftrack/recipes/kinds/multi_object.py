"""Recipes of multi-object tracking: Tracktor, put together from a detector and a ReID model."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from halftrack.bounds import Bounds
from halftrack.data.mot.config import MotDetectionConfig
from halftrack.errors import MissingFileError, UserError
from halftrack.models.detector_config import FasterRCNNConfig
from halftrack.models.tracker_config import ReIDConfig
from halftrack.recipes.kinds.recipe import Box, Recipe
from halftrack.recipes.kinds.reid import identities_in
from halftrack.recipes.kinds.settings import named_classes
from halftrack.recipes.kinds.tuning import Trials, Tuning
from halftrack.recipes.kinds.weights import fill, seeded
from halftrack.tracking.config import EccMotion, TracktorConfig

if TYPE_CHECKING:
    import torch
    from torch import nn

    from halftrack.data import Progress, VideoSource
    from halftrack.data.check import DataReport
    from halftrack.data.own.layouts import OwnData
    from halftrack.data.own.settings import Use
    from halftrack.recipes.kinds.trained import TrainedRecipe
    from halftrack.recipes.scoring.evaluation import TrackingEvaluation
    from halftrack.recipes.scoring.multi_object import TracktorParts
    from halftrack.recipes.scoring.on_video import VideoTracker
    from halftrack.tracking import Tracktor

__all__ = ["TrackingRecipe"]


@dataclass(frozen=True, kw_only=True)
class TrackingRecipe(Recipe):
    """Tracktor: nothing is trained; its parts come from the runs of other recipes."""

    method: ClassVar[str] = "Tracktor"
    needs_checkpoint: ClassVar[bool] = False
    detector: FasterRCNNConfig
    """The detector's architecture."""
    detector_recipe: str
    """The recipe that trains it."""
    detector_checkpoint: str
    """Checkpoint of the detector; published recipes name the file that training leaves."""
    reid: ReIDConfig | None = field(default_factory=ReIDConfig)
    """The embedder's architecture; None to track without."""
    reid_recipe: str = ""
    """The recipe that trains it."""
    reid_checkpoint: str = ""
    """Checkpoint of the ReID model."""
    tracker: TracktorConfig = field(default_factory=TracktorConfig)
    """When tracks go on, start and end."""
    camera_motion: EccMotion | None = field(default_factory=EccMotion)
    """Estimate of the camera's motion; None for a camera that stands still."""
    search: Annotated[
        tuple[tuple[str, tuple[float, ...]], ...], Bounds(least=0, most=1_000_000)
    ] = ()
    """Fields of the recipe, each with the values that a search over them tries."""
    data: MotDetectionConfig
    """The data set's configuration: which sequences are tracked."""

    def build_model(self, *, seed: int = 0) -> TracktorParts:
        """Both parts with random weights, a function of ``seed`` alone, on the CPU."""
        return seeded(self._build, seed)

    def load_model(
        self, checkpoint: str | Path | None, *, seed: int = 0, trust: bool = False
    ) -> nn.Module:
        """Both parts from one file of both, or with ``None`` from the files the recipe names.

        Raises:
            FileNotFoundError: if a file is missing; says which recipe makes it.
            ValueError: if one does not fit.
        """
        self.check_checkpoint(checkpoint)
        files = self._files(checkpoint)
        recipe = self
        if self.reid is not None and self.reid.num_identities is None:
            count = identities_in(files["reid"], trust=trust)
            reid = dataclasses.replace(self.reid, num_identities=count)
            recipe = dataclasses.replace(self, reid=reid)
        model = recipe.build_model(seed=seed)
        for part, file in files.items():
            data = self.data if part == "detector" else None
            what = f"the {part} of {self.name}"
            fill(getattr(model, part), file, what, trust=trust, data=data)
        return model

    def check_checkpoint(self, checkpoint: str | Path | None) -> None:
        """Make sure that the weights of both parts are there.

        Raises:
            FileNotFoundError: if a file is missing; says which recipe makes it.
        """
        for part, file in self._files(checkpoint).items():
            if not file.is_file():
                raise MissingFileError(
                    f"no weights of the {part} at {file}: train {getattr(self, f'{part}_recipe')}, "
                    f"or name a file with --{part} or {part}_checkpoint"
                )

    def _files(self, checkpoint: str | Path | None) -> dict[str, Path]:
        """The file of each part's weights: one of both, or those that the recipe names."""
        files = {"detector": Path(checkpoint or self.detector_checkpoint)}
        if self.reid is not None:
            files["reid"] = Path(checkpoint or self.reid_checkpoint)
        return files

    def _build(self) -> TracktorParts:
        from halftrack.recipes.scoring.multi_object import TracktorParts

        detector = self.detector.build()
        return TracktorParts(detector, None if self.reid is None else self.reid.build())

    def for_training(self) -> TrainedRecipe:
        """Raises ValueError: a tracker has no training step, its parts have one each."""
        parts = " and ".join(filter(None, (self.detector_recipe, self.reid_recipe)))
        raise UserError(
            f"{self.name} has no training step: it is put together from trained parts, {parts}; "
            "take one of those"
        )

    def with_parts(self, *, detector: str | None, reid: str | None) -> Self:
        """The same recipe with other weights for its parts, where a file is given."""
        return dataclasses.replace(
            self,
            detector_checkpoint=detector or self.detector_checkpoint,
            reid_checkpoint=reid or self.reid_checkpoint,
        )

    def use_of(self, data: OwnData, report: DataReport) -> Use | None:
        """Tracks in sequences of MOTChallenge's layout and scores the tracks."""
        from halftrack.data.own.settings import mot_use

        return mot_use("eval", data, report)

    def with_classes(self, names: Sequence[str], data_root: str | Path | None = None) -> Self:
        """Classes that the detector tells apart; a track is of the class that it is likest."""
        names = named_classes(names, self.data, data_root)
        data = dataclasses.replace(self.data, classes=names)
        head = dataclasses.replace(self.detector.roi_head, num_classes=len(names))
        detector = dataclasses.replace(self.detector, roi_head=head)
        return dataclasses.replace(self, data=data, detector=detector)

    def find_test_data(self, data_root: str | Path) -> None:
        """Looks for the folder of the test sequences."""
        from halftrack.data.mot.mot_challenge import find_split

        find_split(data_root, self.data.test_split, benchmark=self.data.benchmark)

    def check_data(
        self, data_root: str | Path, *, decode: bool = False, progress: Progress | None = None
    ) -> DataReport:
        """Read every annotation of its parts' training sequences and of the test sequences."""
        self.find_test_data(data_root)  # before what looks at images is imported
        from halftrack.data.check import check

        return check(data_root, self.data, tracked=True, decode=decode, progress=progress)

    @property
    def test_set(self) -> str:
        """Benchmark and split that it is scored on."""
        return f"{self.data.benchmark} {self.data.test_split}"

    def published_columns(self, *, memory_mb: float | None) -> dict[str, object]:
        """The columns of the published row that say what was run; nothing is trained."""
        return {
            "Method": self.method,
            "Detector": f"{self.detector.backbone.display_name}-FasterRCNN-FPN",
            "ReID": "-" if self.reid is None else self.reid.backbone.display_name,
            "Test Set": self.test_set,
            "Public": "Y" if self.data.public else "N",
        }

    def video_tracker(
        self, init_box_xyxy: Box | None
    ) -> Callable[[nn.Module, torch.device, VideoSource], VideoTracker]:
        """The tracker of all objects in a video, which finds them itself.

        Raises:
            ValueError: for a first box, and for a recipe that takes public detections.
        """
        if init_box_xyxy is not None:
            raise UserError(f"{self.name} finds its objects itself: leave out the first box")
        if self.data.public:
            raise UserError(
                f"{self.name} takes its boxes from a public detector, and a video has none: take "
                "its private twin, --set data.public=False, or --detections FILE"
            )

        def tracker(model: nn.Module, device: torch.device, _: VideoSource) -> VideoTracker:
            from halftrack.recipes.scoring.multi_object import TracktorOnVideo

            return TracktorOnVideo(self, model, device)

        return tracker

    def beside_detections(self) -> Self:
        """The same recipe; it takes the boxes that come with a video's frames as they are there."""
        return dataclasses.replace(self, data=dataclasses.replace(self.data, public=False))

    def video_source(self, source: VideoSource) -> VideoSource:
        """The video with its frames resized as the test sequences are, if no size was asked for."""
        return source.at_test_size(self.data.image_scale, batch=self.data.test_batch)

    def new_tracker(self, model: nn.Module) -> Tracktor:
        """The state machine around a model of this recipe, on the model's device."""
        from halftrack.recipes.scoring.multi_object import new_tracker

        return new_tracker(self, model)

    def scorer(
        self, data_root: str | Path, device: torch.device, *, progress: Progress | None = None
    ) -> Callable[[nn.Module], TrackingEvaluation]:
        """Tracks every validation sequence; TrackEval scores where there is ground truth.

        Raises:
            DataError: if the data are not there or not readable, or if only some have ground truth.
            ValueError: if ground truth cannot be scored.
        """
        from halftrack.recipes.scoring.multi_object import track_scorer

        return track_scorer(self, data_root, device, progress)

    def tuning(self) -> Tuning:
        """Tuning of its tracker: a trial runs the state machine alone, on kept answers."""
        return Tuning(
            metrics=("idf1", "mota", "hota", "motp", "idp", "idr", "deta", "assa", "loca"),
            grid=self.search,
            open=self._open_trials,
            shared="detections, features and embeddings are computed once and kept",
        )

    def _open_trials(self, *given: Any, **named: Any) -> Trials:
        from halftrack.recipes.scoring.tracktor_trials import TracktorTrials

        return TracktorTrials(self, *given, **named)

    def score_results(self, folder: str | Path, *, data_root: str | Path) -> TrackingEvaluation:
        """Score a folder of MOTChallenge result files on the validation sequences.

        Raises:
            DataError: if the data are not there or not readable.
            ValueError: for sequences without ground truth, and files that are missing or malformed;
                a file without rows is a sequence of which nothing was found.
        """
        self.find_test_data(data_root)  # before what scores is imported
        from halftrack.recipes.scoring.multi_object import result_scores

        return result_scores(self, folder, data_root)
