"""Words for what a GPU computes otherwise than it was rehearsed, of the ops that occurred."""

from __future__ import annotations

from collections.abc import Iterator

from halftrack.precision.called_ops import CalledOps

__all__ = ["told_otherwise"]

_NAMED = 5  # ops of other libraries that a sentence names; the file of numbers has all


def told_otherwise(called: CalledOps) -> Iterator[str]:
    """A sentence on kernels of a GPU's own and one on ops without autocast, where there are any."""
    families = dict[str, list[str]]()
    for name in called.fused:
        families.setdefault(_family(name), []).append(name)
    if families:
        named = ", ".join(f"{family} ({', '.join(ops)})" for family, ops in families.items())
        yield (
            f"A GPU has kernels of its own for {named}: last digits differ, dtypes do not (What a "
            "GPU computes otherwise, docs/numerics.md)."
        )
    if called.uncast:
        more = len(called.uncast) - _NAMED
        named = ", ".join(called.uncast[:_NAMED]) + (f" and {more} more" if more > 0 else "")
        yield (
            f"CUDA autocast has no entry for {named}: computed in the dtype that is given, there "
            "as here."
        )


def _family(op: str) -> str:
    if op == "scaled_dot_product_attention":
        return "attention"
    return "Fourier transforms" if op.startswith("fft_") else "recurrent layers"
