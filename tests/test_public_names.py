"""What others may build on: the names of each room, frozen here."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

import halftrack

NAMES = {
    "halftrack": (
        "FrameTracker __version__ evaluate load_recipe load_weights override plan recipe_of "
        "rehearse track train watching"
    ),
    "halftrack.rehearsing": "Report ScriptRun StepPlan Watch plan rehearse run_script watching",
    "halftrack.precision": (
        "Culprit DynamicLossScale Histogram Islands Launches LiveBytes LossScale "
        "LossScaleAdvice NoLossScale NonFiniteGradientError Precision PrecisionError RangeMeter "
        "Ranges ShapesOnly StaticLossScale StepReport find_culprit find_islands fp32_island "
        "optimizer_step remove_islands"
    ),
    "halftrack.testing": "assert_rehearses_clean",
    "halftrack.boxes": (
        "Padded area clip constant decode_deltas encode_deltas iou nms nms_by_class on_device "
        "pad_rows start_box_fault unsuppressed"
    ),
    "halftrack.frames": (
        "Clip ClipBatch CropBatch Detections Frame FrameBatch FrameTruth PairBatch Tracks "
        "batches_of resized"
    ),
    "halftrack.layers": (
        "AnchorGrid ChannelMapper Compilable ConvNorm FPN LinearMapper ResNet ResNetConfig "
        "SiameseGeometry depthwise_correlation fixed_shapes normalise_and_pad one_thread roi_align "
        "roi_align_pyramid"
    ),
    "halftrack.models": (
        "FasterRCNN FasterRCNNConfig MatchingConfig Objects RPNConfig ReID ReIDConfig "
        "RoIHeadConfig SELSA Samples SelsaConfig SiamRPN SiamRPNConfig assign_objects sample_boxes"
    ),
    "halftrack.data": (
        "Classes DataError OrderedBatches PrintedProgress Problem Progress SkipLedger SourceFrame "
        "VideoIndex VideoSource load_image open_video"
    ),
    "halftrack.data.vid": (
        "IMAGENET_VID_CLASSES TestVideo TestVideos TrainingClips VidDataConfig "
        "read_coco_vid read_imagenet_det read_imagenet_vid read_test_index read_training_indexes"
    ),
    "halftrack.data.mot": (
        "Benchmark CropBatches Crops FrameBatches LeftOutRows MotDetectionConfig MotRows "
        "MotSequence MotSequences ReIDDataConfig TestSequence crops_in_order learned_rows "
        "read_crops read_mot"
    ),
    "halftrack.data.sot": (
        "PairBatches PairDataConfig SotBenchmark SotSequence SotSplit TestTarget TestTargets "
        "TrackedObjects read_pair_set read_pair_sets read_sot"
    ),
    "halftrack.data.check": "DataReport SetReport check check_sot",
    "halftrack.bounds": "Bounds OutOfBoundsError Share check_bounds described shown",
    "halftrack.errors": "MissingFileError NonFiniteOutputError UserError naming_file reason_of",
    "halftrack.synthetic": (
        "Layout SYNTHETIC_CLASSES SyntheticVideo SyntheticVideoError write_synthetic"
    ),
    "halftrack.evaluation": (
        "DetectionMetrics Equivalence FrameDetections MotMetrics OpeMetrics OpeRule "
        "OpeScores ResultFolder RetrievalScores SequenceMetrics SequenceTruth TargetTruth "
        "TrackRows check_truth coco_ap50 motion_groups motion_iou pack_got10k pack_trackingnet "
        "paired_equivalence read_box_folder read_boxes read_result_folder read_results "
        "retrieval_scores score_detections score_ope score_tracks voc_ap50 write_boxes "
        "write_results"
    ),
    "halftrack.training": (
        "Batch BatchSource Learner LoadReport Phase Ramp StepSchedule TrainingConfig "
        "TrainingResult WeightAverage load_weights read_checkpoint read_log total_loss "
        "train"
    ),
    "halftrack.tracking": (
        "CameraMotion Detector EccMotion Embedder SiameseConfig SiameseModel SiameseTracker "
        "Tracktor TracktorConfig UncorrelatedFramesError warp_boxes"
    ),
    "halftrack.recipes": (
        "BackboneRecipe DetectionEvaluation Evaluation FrameDetectionRecipe FrameTracker RECIPES "
        "ReIDRecipe Recipe Replay RetrievalEvaluation Sharing SingleObjectEvaluation "
        "SingleObjectRecipe TrackingEvaluation TrackingRecipe TrainedRecipe TrainingSource "
        "VideoDetectionRecipe "
        "VideoTracker choose_device evaluate load_recipe open_model override prepare_model replay "
        "samples_scorer score_results spread_boxes track train"
    ),
    "halftrack.interop": (
        "Config ConfigError ImportedConfig RecipeFile import_config nearest_listed "
        "open_recipe_file read_config recipe_of recipe_text"
    ),
    "halftrack.report": (
        "JsonLinesWriter MotTextWriter TrackWriter Trails VideoWriter draw_detections draw_tracks "
        "plot_curves plot_ope_curves published_row render_table write_csv"
    ),
}


@pytest.mark.parametrize("room", NAMES)
def test_each_room_shows_these_names_and_has_them(room: str) -> None:
    module = importlib.import_module(room)
    assert sorted(module.__all__) == sorted(NAMES[room].split())
    assert all(getattr(module, name) is not None for name in module.__all__)


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(AttributeError, match=r"'trian'; it has .*train"):
        _ = halftrack.trian


@pytest.mark.parametrize("name", ["rehearse", "plan", "watching"])
def test_any_model_is_rehearsed_without_the_rooms_of_recipes(name: str) -> None:
    code = (
        f"import sys, halftrack; halftrack.{name}; "
        "print(sorted({m.split('.')[1] for m in sys.modules if m.startswith('halftrack.')}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    rooms = "['bounds', 'errors', 'lazy', 'precision', 'rehearsing']"
    assert answer.stdout.strip() == rooms


def test_precision_alone_loads_none_of_the_other_rooms() -> None:
    code = (
        "import sys, halftrack.precision; "
        "print(sorted({m.split('.')[1] for m in sys.modules if m.startswith('halftrack.')}))"
    )
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    # The root's names are lazy: that file imports importlib alone.
    assert answer.stdout.strip() == "['lazy', 'precision']"
