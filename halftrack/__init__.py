"""halftrack: video perception models in half precision, on PyTorch alone.

The names below are loaded when first used, so that ``halftrack.precision`` stays usable alone.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from halftrack.recipes import evaluate, load_recipe, track, train
    from halftrack.training import load_weights

__version__ = "0.1.0"
__all__ = ["__version__", "evaluate", "load_recipe", "load_weights", "track", "train"]

_ROOMS = {
    "evaluate": "halftrack.recipes",
    "load_recipe": "halftrack.recipes",
    "load_weights": "halftrack.training",
    "track": "halftrack.recipes",
    "train": "halftrack.recipes",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"halftrack has no {name!r}; it has {', '.join(__all__)}")
    return getattr(importlib.import_module(_ROOMS[name]), name)
