"""Names that a package shows and imports when they are first used.

So what describes a run, a recipe and its configurations, is loaded without torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(
    package: str, files: Mapping[str, Sequence[str]], *, modules: Sequence[str] = ()
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns ``__getattr__`` and ``__dir__`` for a package's ``__init__``.

    Args:
        package: the package's name.
        files: the names that it shows, by the module below it that defines them.
        modules: modules below it that are there without an import of their own.
    """
    file_of = {name: file for file, names in files.items() for name in names}

    def get(name: str) -> Any:
        if name in modules:
            return importlib.import_module(f"{package}.{name}")
        if name not in file_of:
            raise AttributeError(f"{package} has no {name!r}; it has {', '.join(file_of)}")
        return getattr(importlib.import_module(f"{package}.{file_of[name]}"), name)

    return get, lambda: sorted(file_of)
