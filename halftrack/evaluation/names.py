"""Check that results and ground truth name the same sequences, each of them once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from halftrack.errors import UserError

__all__ = ["check_names"]


def check_names(names: Sequence[str], results: Mapping[str, object], *, hint: str = "") -> None:
    """Check that each sequence with ground truth has one result, and that there is no other result.

    Args:
        names: the names of the sequences with ground truth.
        results: the results by the name of their sequence.
        hint: text added to the error if a result is missing.

    Raises:
        ValueError: if a sequence is missing, unknown or given twice; names those that there are.
    """
    if not names:
        raise UserError("no ground truth, expected that of at least one sequence")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise UserError(f"ground truth of {', '.join(twice)} given more than once")
    missing = [name for name in names if name not in results]
    if missing:
        raise UserError(
            f"no result of {', '.join(missing)}; there are results of "
            f"{', '.join(results) or 'no sequence'}{hint}"
        )
    unknown = [name for name in results if name not in names]
    if unknown:
        raise UserError(
            f"result of {', '.join(unknown)} without ground truth, allowed are {', '.join(names)}"
        )
