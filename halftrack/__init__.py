"""halftrack: video perception models in half precision, on PyTorch alone.

The names below are loaded when first used, so that ``halftrack.precision`` stays usable alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.recipes import evaluate, load_recipe, track, train
    from halftrack.training import load_weights

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "load_recipe", "load_weights", "track", "train"]

__getattr__, __dir__ = lazy_names(
    __name__,
    {"recipes": ("evaluate", "load_recipe", "track", "train"), "training": ("load_weights",)},
)
