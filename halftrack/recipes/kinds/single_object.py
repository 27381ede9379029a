"""Recipes of single-object tracking: SiamRPN++ trained on pairs, scored by one-pass evaluation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from halftrack.data.sot.config import PairDataConfig, SotBenchmark, SotSplit
from halftrack.errors import UserError
from halftrack.evaluation.ope import OpeRule
from halftrack.frames import PairBatch
from halftrack.models.tracker_config import SiamRPNConfig
from halftrack.recipes.kinds.backbone import BackboneRecipe
from halftrack.recipes.kinds.recipe import Box
from halftrack.recipes.kinds.trained import TrainingSource, spread_boxes
from halftrack.recipes.kinds.tuning import Trials, Tuning
from halftrack.synthetic import Layout
from halftrack.tracking.config import SiameseConfig

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from halftrack.data import Progress, VideoSource
    from halftrack.data.check import DataReport
    from halftrack.data.own.layouts import OwnData
    from halftrack.data.own.settings import Use
    from halftrack.recipes.scoring.evaluation import Evaluation, SingleObjectEvaluation
    from halftrack.recipes.scoring.on_video import VideoTracker
    from halftrack.tracking import SiameseTracker
    from halftrack.training import Batch

__all__ = ["SingleObjectRecipe"]


@dataclass(frozen=True, kw_only=True)
class SingleObjectRecipe(BackboneRecipe):
    """SiamRPN++."""

    method: ClassVar[str] = "SiamRPN++"
    text_format: ClassVar[str] = "sot"
    batch_types: ClassVar[tuple[type, ...]] = (PairBatch,)
    batch_size_field: ClassVar[str] = "data.pairs_per_batch"
    metric_point: ClassVar[float] = 1.0
    measured: ClassVar[tuple[str, ...]] = ("success", "precision", "norm_precision")
    synthetic_layout: ClassVar[Layout | None] = "sot"
    model: SiamRPNConfig
    """Architecture and its loss."""
    data: PairDataConfig
    """The data sets' configuration: which pairs are learned from."""
    tracker: SiameseConfig
    """Penalties and smoothing by which the model's answers become a track."""
    benchmark: SotBenchmark = "LaSOT"
    """Benchmark that the recipe is scored on."""
    split: SotSplit = "test"
    """Split of the benchmark that is scored."""
    attributes: str | None = None
    """A folder of flags, to score by attribute: ``annos/att`` of LaSOT's evaluation kit, as they
    are not in its download. UAV123's are found without it; the other benchmarks have none."""
    infos: str | None = None
    """MMTracking's list of the sequences to score on, such as ``lasot_test_infos.txt``, or a
    CocoVID file with their boxes, ``lasot_test.json``; None for all of the split."""
    rule: OpeRule = "mmtracking"
    """Rule of the one-pass evaluation; the published numbers follow MMTracking's."""

    def use_of(self, data: OwnData, report: DataReport) -> Use | None:
        """Trains on pairs of LaSOT's layout; other benchmarks are tracked in and scored."""
        if data.kind != "sot" or not data.parts:
            return None
        from halftrack.data.own.settings import Use

        split = "test" if "test" in data.parts else data.parts[0]
        scored = {"benchmark": data.benchmark, "split": split}
        if data.benchmark != "LaSOT" or set(data.parts) != {"train", "test"}:
            return Use("eval", scored)
        return Use("train", scored | {"data.training_sets": ("lasot",), "data.set_weights": (1.0,)})

    def find_training_data(self, data_root: str | Path) -> None:
        """Looks for each set that pairs are drawn from."""
        from halftrack.data.sot.pair_sets import find_pair_sets

        find_pair_sets(self.data, data_root)

    def find_test_data(self, data_root: str | Path) -> None:
        """Looks for the folder of the benchmark."""
        from halftrack.data.sot.benchmarks import find_sot

        find_sot(data_root, self.benchmark, self.split)

    def training_source(
        self, data_root: str | Path, *, progress: Progress | None = None
    ) -> TrainingSource:
        """Batches of pairs."""
        from halftrack.data.sot import PairBatches

        geometry = self.model.geometry
        return PairBatches.open(self.data, data_root, geometry=geometry, progress=progress)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.data.check_geometry(self.model.geometry)

    def new_tracker(self, model: nn.Module) -> SiameseTracker:
        """The state machine around a model of this recipe, on the model's device."""
        from halftrack.tracking import SiameseTracker

        return SiameseTracker(
            model=model,  # type: ignore[arg-type]
            config=self.tracker,
            geometry=self.model.geometry,
        )

    def validator(
        self, data_root: str | Path, device: torch.device
    ) -> Callable[[nn.Module], SingleObjectEvaluation] | None:
        """The scorer; None of sequences without ground truth, TrackingNet's and GOT-10k's tests."""
        from halftrack.recipes.scoring.single_object import validation_scorer

        return validation_scorer(self, data_root, device)

    def scorer(
        self, data_root: str | Path, device: torch.device, *, progress: Progress | None = None
    ) -> Callable[[nn.Module], SingleObjectEvaluation]:
        """Tracks every sequence once, from its first box on; scores where there is ground truth.

        Raises:
            DataError: if the data are not there or not readable, or if only some have ground truth.
        """
        from halftrack.recipes.scoring.single_object import target_scorer

        return target_scorer(self, data_root, device, progress)

    def score_results(self, folder: str | Path, *, data_root: str | Path) -> SingleObjectEvaluation:
        """Score a folder of ``<sequence>.txt``, ``x,y,w,h`` a line, on the test sequences.

        Raises:
            DataError: if the data are not there or not readable.
            ValueError: for sequences without ground truth, and files that are missing, empty,
                malformed or of another length than their sequence.
        """
        self.find_test_data(data_root)  # before what scores is imported
        from halftrack.recipes.scoring.single_object import result_scores

        return result_scores(self, folder, data_root)

    def check_data(
        self, data_root: str | Path, *, decode: bool = False, progress: Progress | None = None
    ) -> DataReport:
        """Read every annotation of the training sets, and of the benchmark's split."""
        from halftrack.data.check import check, check_sot

        trained = check(data_root, self.data, decode=decode, progress=progress)
        tested = check_sot(
            data_root,
            self.benchmark,
            self.split,
            attributes=self.attributes,
            infos=self.infos,
            decode=decode,
            progress=progress,
        )
        return trained.with_set(tested)

    def tuning(self) -> Tuning:
        """Tuning of its tracker: a trial runs all of it, on data that are open already."""
        return Tuning(
            metrics=self.measured,
            open=self._open_trials,
            shared="each trial tracks all videos anew: where the network looks depends on the box "
            "that a setting made in the frame before",
        )

    def _open_trials(self, *given: Any, **named: Any) -> Trials:
        from halftrack.recipes.scoring.single_object import SiameseTrials

        return SiameseTrials(self, *given, **named)

    @property
    def test_set(self) -> str:
        """Benchmark and split that it is scored on."""
        return f"{self.benchmark} {self.split}"

    def pack_results(self, out: Path, evaluation: Evaluation) -> list[str]:
        """Write the zip file that the benchmark's server takes, if it has one for the split."""
        from halftrack.recipes.scoring.evaluation import SingleObjectEvaluation
        from halftrack.recipes.scoring.single_object import packed_results

        assert isinstance(evaluation, SingleObjectEvaluation)
        return packed_results(self, out, evaluation)

    def video_tracker(
        self, init_box_xyxy: Box | None
    ) -> Callable[[nn.Module, torch.device, VideoSource], VideoTracker]:
        """The tracker of one object, as the track with id 0.

        Raises:
            ValueError: without the box of the object in the first frame.
        """
        if init_box_xyxy is None:
            raise UserError(f"{self.name} needs the first box of its object (--init-box)")

        def tracker(model: nn.Module, _: torch.device, __: VideoSource) -> VideoTracker:
            from halftrack.recipes.scoring.single_object import SiameseOnVideo

            return SiameseOnVideo(self.new_tracker(model), init_box_xyxy)

        return tracker

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the search regions, in pixels."""
        side = self.model.geometry.search_size
        return side, side

    def image_fields(self, size: tuple[int, int]) -> list[str]:
        """The assignments with which search regions have this size.

        Raises:
            ValueError: for one that is not square or is larger than what it is cut from.
        """
        height, width = size
        low, high = self.model.geometry.template_size, self.data.crop_size
        if height != width or not low <= height <= high:
            raise UserError(
                f"image {height}x{width}: the search regions of {self.name} are square, "
                f"{low} to {high} pixels a side"
            )
        return [f"model.geometry.search_size={height}"]

    def planned_batch(
        self, *, objects: int, forget: Callable[[Tensor], Tensor] = lambda x: x
    ) -> Batch:
        """A batch of black pairs, all of which show the same object."""
        import torch

        count, template = self.data.pairs_per_batch, self.model.geometry.template_size
        return PairBatch(
            templates=forget(torch.zeros((count, 3, template, template))),
            searches=forget(torch.zeros((count, 3, *self.image_size))),
            boxes_xyxy=spread_boxes(1, self.image_size).repeat(count, 1),
            positive=torch.ones(count, dtype=torch.bool),
            sample_ids=("planned",) * count,
        )

    def reading_synthetic(self) -> Self:
        """The recipe with synthetic video in the place of its training sets."""
        pairs = replace(
            self.data,
            training_sets=("lasot",),
            set_weights=(1.0,),
            lasot_split="train",
            sequences_left_out=(),
        )
        return replace(self, data=pairs)
