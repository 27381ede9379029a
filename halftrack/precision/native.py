"""bf16 that a CPU computes by its own instructions, for inference alone.

Training in half precision on a CPU stays a rehearsal of a GPU's: its roundings are what is asked
for. Inference that only has to be done soon may take the CPU's own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NoReturn

from halftrack.precision.errors import PrecisionError
from halftrack.precision.policy import Precision

if TYPE_CHECKING:
    import torch

__all__ = ["NativeHalf"]


@dataclass(frozen=True)
class NativeHalf(Precision):
    """bf16 by CPU autocast, without a rehearsal.

    Raises:
        ValueError: for another name than ``bf16``.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.name != "bf16":
            raise PrecisionError(f"a CPU's own half precision is bf16, not {self.name}")

    def is_rehearsed(self, device: torch.device | str) -> bool:
        """False: the device computes in bf16 itself."""
        return False

    def in_words(self, device: torch.device | str) -> str:
        """The name, and that it is a CPU's own."""
        return f"{self.name}, the CPU's own"

    def new_loss_scale(self) -> NoReturn:
        """Raises PrecisionError: nothing is trained in it."""
        raise PrecisionError("a CPU's own bf16 is for inference alone: train in bf16 as it is")

    def check_device(self, device: torch.device | str) -> None:
        """Make sure that a device computes in bf16 itself.

        Raises:
            ValueError: if it is no CPU, or one that has no instructions for it.
        """
        import torch

        if not str(device).startswith("cpu"):
            raise PrecisionError(f"a CPU's own bf16 is not for {device}: take bf16 as it is")
        # Without them torch emulates bf16, several times as slow as fp32.
        if not (torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()):
            raise PrecisionError(
                f"this CPU ({torch.backends.cpu.get_cpu_capability()}) has no instructions for "
                "bf16, neither avx512_bf16 nor AMX: take fp32"
            )
