"""Recipe fields that earlier versions called otherwise: an old name is an error that gives the new.

Weights load whatever the fields were called: only a recipe's values are read by their names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from halftrack.errors import UserError

__all__ = ["OLD_NAMES", "field_paths", "new_name", "now_called", "refuse_old_names"]

# The end of a dotted path, at a dot, and what stands in its place now. An old name must not be the
# end of any present field's path; of a field that is gone, the one that took over is named.
OLD_NAMES: dict[str, str] = {
    "data.size": "model.crop_size",
    "data.context": "model.geometry.context_amount",
    "data.search_size": "model.geometry.search_size",
    "data.template_size": "model.geometry.template_size",
    "matching.positive_share": "matching.positive_fraction",
    "matching.samples": "matching.num_samples",
    "model.channels": "model.neck_channels",
    "model.identities": "model.num_identities",
    "model.negatives": "model.num_negatives",
    "model.stride": "model.backbone.strides",
    "model.scale": "model.geometry.anchor_scale",
    "model.ratios": "model.geometry.anchor_ratios",
    "model.search_size": "model.geometry.search_size",
    "model.template_cells": "model.geometry.template_cells",
    "reid.identities": "reid.num_identities",
    "roi_head.channels": "roi_head.fc_out_channels",
    "roi_head.classes": "roi_head.num_classes",
    "roi_head.clip": "roi_head.clip_to_image",
    "roi_head.detections": "roi_head.max_detections",
    "roi_head.roi_size": "roi_head.roi_feat_size",
    "roi_head.sampling": "roi_head.sampling_ratio",
    "roi_head.std": "roi_head.delta_std",
    "roi_head.suppression": "roi_head.nms_iou",
    "rpn.beta": "rpn.smooth_l1_beta",
    "rpn.clip": "rpn.clip_to_image",
    "rpn.inside": "rpn.allow_border",
    "rpn.padding": "rpn.size_divisor",
    "rpn.suppression": "rpn.nms_iou",
    "rpn.test_proposals": "rpn.test_post_nms_topk",
    "rpn.test_ranked": "rpn.test_pre_nms_topk",
    "rpn.train_proposals": "rpn.train_post_nms_topk",
    "rpn.train_ranked": "rpn.train_pre_nms_topk",
    "tracker.anchor_ratios": "model.geometry.anchor_ratios",
    "tracker.anchor_stride": "model.backbone.strides",
    "tracker.anchor_scale": "model.geometry.anchor_scale",
    "tracker.context_amount": "model.geometry.context_amount",
    "tracker.exemplar_size": "model.geometry.template_size",
    "tracker.frames_kept": "tracker.num_frames_retain",
    "tracker.reid_samples": "tracker.reid_num_samples",
    "tracker.response_size": "model.geometry.search_size",
    "tracker.search_size": "model.geometry.search_size",
    "training.published_clips_per_step": "training.published_batches_per_step",
}

_OPPOSITES = ("rpn.inside",)  # True is now False, and False True


def new_name(path: str) -> str | None:
    """The present path of a recipe field with an old name; None for every other path."""
    for old, new in OLD_NAMES.items():
        if f".{path}".endswith(f".{old}"):
            return path.removesuffix(old) + new
    return None


def now_called(path: str) -> str:
    """The present name of a field with an old one, quoted, and a word if its values changed."""
    opposite = f".{path}".endswith(tuple(f".{old}" for old in _OPPOSITES))
    return f"{new_name(path)!r}{', of the opposite value' * opposite}"


def refuse_old_names(
    recipe: Mapping[str, Any], source: str, *, present: Collection[str] = ()
) -> None:
    """Make sure that a recipe read from a file has no field with an old name.

    Args:
        recipe: plain values, as ``Recipe.to_dict`` gives them.
        source: the file, for the error.
        present: paths that the recipe's kind has: a task of others may have a field whose name is
            an old one of ours.

    Raises:
        ValueError: names the first old field and its present name.
    """
    for path in field_paths(recipe):
        if path not in present and new_name(path) is not None:
            raise UserError(
                f"{source} was written by an earlier version of halftrack: the recipe field "
                f"{path!r} is now {now_called(path)}. Weights load as ever: start from a "
                "checkpoint's with --init"
            )


def field_paths(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted path of every field of a recipe's plain values, groups included."""
    for name, value in values.items():
        yield prefix + name
        if isinstance(value, Mapping):
            yield from field_paths(value, f"{prefix}{name}.")
