"""Names that a package shows and imports when they are first used.

So ``import halftrack`` and the command line start without torch.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["lazy_names"]


def lazy_names(
    package: str, files: Mapping[str, str]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Returns ``__getattr__`` and ``__dir__`` for a package's ``__init__``.

    Args:
        package: the package's name, for its errors.
        files: the module that defines each name.
    """

    def get(name: str) -> Any:
        if name not in files:
            raise AttributeError(f"{package} has no {name!r}; it has {', '.join(files)}")
        return getattr(importlib.import_module(files[name]), name)

    return get, lambda: sorted(files)
