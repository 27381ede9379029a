"""An image and its annotation belong together: the pixels as stored have the annotated size.

Boxes of an image that was halved, cropped or turned afterwards lie in the wrong place, and nothing
else would tell.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from halftrack.data.image_header import orientation, read_bytes
from halftrack.data.problems import DataError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["load_annotated_image", "require_size"]

Size = tuple[int, int]


def load_annotated_image(path: str | os.PathLike[str], size: Size, *, source: str) -> Tensor:
    """Decode an image whose annotated height and width are ``size``, as ``load_image`` does.

    Raises:
        DataError: if it cannot be decoded or has another size, see ``require_size``.
    """
    from halftrack.data.images import load_image

    image = load_image(path)
    height, width = image.shape[-2:]
    require_size(path, (height, width), size, source=source)
    return image


def require_size(
    path: str | os.PathLike[str], stored: Size, annotated: Size, *, source: str
) -> None:
    """Compare the height and width of an image with its annotation's.

    Args:
        path: the image file, whose orientation tag is looked at where the two differ.
        stored: height and width of the pixels as stored.
        annotated: height and width of the annotation.
        source: the place of the annotated size, e.g. ``seqinfo.ini``.

    Raises:
        DataError: if they differ; both sizes and the likely reason are told.
    """
    if tuple(stored) == tuple(annotated):
        return
    (height, width), (wanted_height, wanted_width) = stored, annotated
    told = f"image is {width}x{height}, but {wanted_width}x{wanted_height} in {source}"
    raise DataError(os.fspath(path), f"{told}: {_cause(os.fspath(path), stored, annotated)}")


def _cause(path: str, stored: Size, annotated: Size) -> str:
    """The likely reason for two sizes, and a remedy."""
    if stored == annotated[::-1]:
        if (tag := orientation(read_bytes(path))) >= 5:
            return (
                f"its orientation tag ({tag}) turns it when it is shown, and boxes "
                "count on the pixels as stored; turn the pixels and drop the tag (`mogrify "
                "-auto-orient`), or annotate them as stored"
            )
        return "height and width are exchanged; correct the annotation, or turn the image back"
    factors = [one / other for one, other in zip(stored, annotated, strict=True)]
    # A resize rounds each side to whole pixels.
    if abs(factors[0] - factors[1]) <= 1 / min(annotated):
        return (
            f"it was resized to {factors[1]:.3g} times the annotated size; use the images that "
            "were annotated, or scale sizes and boxes with them"
        )
    return "it was cropped, or it is another image; use the images that were annotated"
