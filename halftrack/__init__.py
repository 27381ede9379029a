"""halftrack: half precision for any PyTorch model, rehearsed on a CPU; video perception models.

The names below are loaded when first used, so that ``halftrack.precision`` stays usable alone, and
``rehearse``, ``watching`` and ``plan`` with torch and numpy.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack import testing as testing
    from halftrack.interop import recipe_of
    from halftrack.recipes import FrameTracker, evaluate, load_recipe, override, track, train
    from halftrack.rehearsing import plan, rehearse, watching
    from halftrack.training import load_weights

__version__ = "0.1.0"
__all__ = [
    "FrameTracker",
    "__version__",
    "evaluate",
    "load_recipe",
    "load_weights",
    "override",
    "plan",
    "recipe_of",
    "rehearse",
    "track",
    "train",
    "watching",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "interop": ("recipe_of",),
        "recipes": ("FrameTracker", "evaluate", "load_recipe", "override", "track", "train"),
        "rehearsing": ("plan", "rehearse", "watching"),
        "training": ("load_weights",),
    },
    modules=("testing",),
)
