"""Files of other libraries: read here, and written here in their formats; recipes in files."""

from __future__ import annotations

from typing import TYPE_CHECKING

from halftrack.lazy import lazy_names

if TYPE_CHECKING:
    from halftrack.interop.checkpoints.export import recipe_of
    from halftrack.interop.configs.files import Config, read_config
    from halftrack.interop.configs.sections import ConfigError
    from halftrack.interop.mapping.imported import ImportedConfig, import_config
    from halftrack.interop.recipe_files import RecipeFile, open_recipe_file
    from halftrack.interop.recipe_writer import nearest_listed, recipe_text

__all__ = [
    "Config",
    "ConfigError",
    "ImportedConfig",
    "RecipeFile",
    "import_config",
    "nearest_listed",
    "open_recipe_file",
    "read_config",
    "recipe_of",
    "recipe_text",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "checkpoints.export": ("recipe_of",),
        "configs.files": (
            "Config",
            "read_config",
        ),
        "configs.sections": ("ConfigError",),
        "mapping.imported": (
            "ImportedConfig",
            "import_config",
        ),
        "recipe_files": (
            "RecipeFile",
            "open_recipe_file",
        ),
        "recipe_writer": (
            "nearest_listed",
            "recipe_text",
        ),
    },
)
