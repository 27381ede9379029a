"""Do results and ground truth name the same sequences? Nothing may be missing, extra or twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

__all__ = ["check_names"]


def check_names(names: Sequence[str], results: Mapping[str, object], *, hint: str = "") -> None:
    """Whether there is one result for each sequence with ground truth, and no other.

    Args:
        names: of the sequences with ground truth.
        results: by the name of their sequence.
        hint: added where a result is missing.

    Raises:
        ValueError: if not; names the sequences and says which there are.
    """
    if not names:
        raise ValueError("no ground truth, expected that of at least one sequence")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"ground truth of {', '.join(twice)} given more than once")
    missing = [name for name in names if name not in results]
    if missing:
        raise ValueError(
            f"no result of {', '.join(missing)}; there are results of "
            f"{', '.join(results) or 'no sequence'}{hint}"
        )
    unknown = [name for name in results if name not in names]
    if unknown:
        raise ValueError(
            f"result of {', '.join(unknown)} without ground truth, allowed are {', '.join(names)}"
        )
