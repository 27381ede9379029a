"""Names of weights in the files of other libraries, translated to ours, which are torchvision's.

timm and mmcls name a ResNet as torchvision does; detectron2 has names of its own, and wrappers of
several GPUs put a word before every name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from halftrack.errors import UserError

__all__ = ["our_names"]

_WRAPPER = "module."  # of torch's DataParallel and DistributedDataParallel
_DETECTRON = (
    (r"stem\.fc\.(.*)", r"fc.\1"),
    (r"stem\.conv1\.norm\.(.*)", r"bn1.\1"),
    (r"stem\.conv1\.(.*)", r"conv1.\1"),
    (r"res(\d)\.(\d+)\.shortcut\.norm\.(.*)", r"layer\1.\2.downsample.1.\3"),
    (r"res(\d)\.(\d+)\.shortcut\.(.*)", r"layer\1.\2.downsample.0.\3"),
    (r"res(\d)\.(\d+)\.conv(\d)\.norm\.(.*)", r"layer\1.\2.bn\3.\4"),
    (r"res(\d)\.(\d+)\.conv(\d)\.(.*)", r"layer\1.\2.conv\3.\4"),
)


def our_names(path: Path, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under the names that our models have for them; names that are not known stay.

    Args:
        path: the file, for the error.
        weights: by the file's names.

    Raises:
        ValueError: for a ResNet of Caffe2, whose weights compute something else than ours.
    """
    if "conv1_w" in weights and "res2_0_branch2a_w" in weights:
        raise UserError(
            f"{path} is a ResNet of Caffe2, whose stride is in the first convolution of a block "
            "and whose input is BGR without division: it does not fit; take detectron2's "
            "torchvision/R-50.pkl or R-101.pkl, or a file of torchvision"
        )
    if weights and all(name.startswith(_WRAPPER) for name in weights):
        weights = {name.removeprefix(_WRAPPER): value for name, value in weights.items()}
    if "stem.conv1.weight" in weights:
        weights = {_of_detectron(name): value for name, value in weights.items()}
    return dict(weights)


def _of_detectron(name: str) -> str:
    for pattern, ours in _DETECTRON:
        found = re.fullmatch(pattern, name)
        if found is not None:
            # Its stages count from the stem on: res2 is layer1.
            return re.sub(
                r"^layer(\d)", lambda stage: f"layer{int(stage[1]) - 1}", found.expand(ours)
            )
    return name
