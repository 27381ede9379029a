"""Recipes whose model has a ResNet backbone: its ImageNet weights, its stages computed again."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, Self

from halftrack.errors import UserError
from halftrack.layers.config import ResNetConfig
from halftrack.recipes.kinds.trained import ModelConfig, TrainedRecipe

if TYPE_CHECKING:
    from torch import nn

__all__ = ["BackboneRecipe"]

_IMAGENET = {
    (18, 1): "ResNet18_Weights.IMAGENET1K_V1",
    (50, 1): "ResNet50_Weights.IMAGENET1K_V1",
    (101, 1): "ResNet101_Weights.IMAGENET1K_V1",
    (101, 64): "ResNeXt101_64X4D_Weights.IMAGENET1K_V1",
}
"""Torchvision's names of weights, by depth and groups."""


class BackboneModelConfig(ModelConfig, Protocol):
    """Configuration of a model with a backbone."""

    @property
    def backbone(self) -> ResNetConfig:
        """The feature extractor."""


@dataclass(frozen=True, kw_only=True)
class BackboneRecipe(TrainedRecipe):
    """A trained recipe whose model has a ResNet backbone that ImageNet weights fit."""

    backbone_path: ClassVar[str] = "backbone"
    """Path of the backbone in the model."""
    model: BackboneModelConfig
    """Architecture and its loss, sampling and test settings."""
    backbone_weights: Literal["imagenet", "none"] = "imagenet"
    """Weights that the backbone starts from: torchvision's ImageNet weights, or random ones."""

    @property
    def start_weights(self) -> str:
        """``imagenet`` or ``none``, as ``backbone_weights`` has it."""
        return self.backbone_weights

    def load_start_weights(self, model: nn.Module, *, say: Callable[[str], None]) -> None:
        """Fill the backbone with torchvision's ImageNet weights, unless ``backbone_weights=none``.

        Raises:
            ValueError: if torchvision has none for this backbone.
            RuntimeError: if they cannot be downloaded.
        """
        if self.backbone_weights == "none":
            return
        backbone = self.model.backbone
        name = _IMAGENET.get((backbone.depth, backbone.groups))
        if name is None or backbone.siamese:  # whose shortcuts are of another size
            raise UserError(
                f"torchvision has no ImageNet weights for {backbone.display_name}: give a file "
                "with --init, or --init none for random weights"
            )
        import torchvision

        weights = torchvision.models.get_weight(name)
        try:
            state = weights.get_state_dict(progress=False, check_hash=True)
        except OSError as error:
            raise UserError(
                f"cannot fetch {weights}: {error}. "
                "Give a file with --init, or --init none for random weights."
            ) from error
        answer = model.get_submodule(self.backbone_path).load_state_dict(state, strict=False)
        if answer.missing_keys:
            raise RuntimeError(f"{weights} lacks {answer.missing_keys[:5]}")
        say(f"backbone from {weights}; not used: {', '.join(answer.unexpected_keys)}")

    @property
    def recompute(self) -> tuple[int, ...]:
        """Stages of the backbone whose activations are computed again in the backward pass."""
        return self.model.backbone.recompute

    def recompute_choices(self) -> list[tuple[int, ...]]:
        """The recipe's own, none, and all stages that train; its own alone where batch norm counts.

        A stage that is computed again would count its batches twice.
        """
        backbone = self.model.backbone
        thawed = any(phase.batch_statistics for phase in self.training.phases)
        if thawed or (backbone.norm == "batch" and not backbone.frozen_bn):
            return [backbone.recompute]
        stages = tuple(range(max(backbone.frozen_stages, 0) + 1, 5))
        return list(dict.fromkeys([backbone.recompute, (), stages]))

    def with_recompute(self, stages: tuple[int, ...]) -> Self:
        """The same recipe with other stages of the backbone computed again."""
        backbone = dataclasses.replace(self.model.backbone, recompute=stages)
        model = dataclasses.replace(self.model, backbone=backbone)  # type: ignore[type-var]
        return dataclasses.replace(self, model=model)

    def published_columns(self, *, memory_mb: float | None) -> dict[str, object]:
        """The columns of the published row that say what was run, the backbone among them."""
        columns = super().published_columns(memory_mb=memory_mb)
        own = {"Method": self.method, "Backbone": self.model.backbone.display_name}
        return own | {"Style": "pytorch"} | columns
