"""Small recipes under the listed names, so that the commands of a page take seconds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest

from halftrack.recipes import Recipe, override
from halftrack.recipes.names import RECIPES, RecipeEntry

__all__ = ["SHORT_REID", "small_recipes"]

_SHORT = (
    *("training.epochs=1", "training.milestones=()", "training.workers=0"),
    *("training.warmup_steps=0", "training.evaluate_every=1"),
)
SHORT_REID = (
    *(*_SHORT, "data.max_crops=4", "data.min_crops=1", "data.validation_share=0.5"),
    *("data.identities_per_batch=2", "data.crops_per_identity=2"),
)
_SMALL_IMAGES = ("data.image_scale=(96,64)", "data.min_size=8")
_SMALL = {
    "selsa": (*_SHORT, *_SMALL_IMAGES, "data.test_references=2", "model.backbone.norm=group"),
    "faster_rcnn": (*_SHORT, *_SMALL_IMAGES, "data.crop_size=(64,96)"),
    "reid": (*SHORT_REID, "model.crop_size=(32,32)"),
    "tracktor": _SMALL_IMAGES,
    # Group norm keeps features in range without any training.
    "siamrpn": (*_SHORT, "data.pairs_per_epoch=16", "model.backbone.norm=group"),
}
"""Settings of the tiny recipes, by the file of their kind, that take seconds."""
_TINY = {
    RECIPES[name].function.partition(":")[0]: RECIPES[name]
    for name in RECIPES
    if name.endswith("tiny_sample")
}
_KEPT = {
    "faster_rcnn": ("benchmark", "training_split", "test_split"),
    "reid": ("benchmark", "split"),
    "tracktor": ("benchmark", "training_split", "test_split", "public"),
}
"""Fields of the data that say which of them a recipe reads."""
_PARTS = ("detector_recipe", "detector_checkpoint", "reid_recipe", "reid_checkpoint", "search")


@dataclass(frozen=True, kw_only=True)
class _Small(RecipeEntry):
    """A listed recipe whose model, images and training take seconds."""

    def build(self) -> Recipe:
        kind = self.function.partition(":")[0]
        listed: Any = super().build()
        small: Any = override(_TINY[kind].build(), _SMALL[kind])
        kept = {name: getattr(listed.data, name) for name in _KEPT.get(kind, ())}
        parts = {name: getattr(listed, name) for name in _PARTS if hasattr(listed, name)}
        return replace(
            small,
            name=listed.name,
            precision=listed.precision,
            summary=listed.summary,
            data=replace(small.data, **kept),
            **parts,
        )


@contextmanager
def small_recipes() -> Iterator[None]:
    """Let every listed name stand for a small recipe."""
    with pytest.MonkeyPatch.context() as patch:
        for name, entry in RECIPES.items():
            patch.setitem(RECIPES, name, _Small(**vars(entry)))
        yield
