"""The model and the data of all examples: raw signals, some of them loud, and a small network."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader

torch.manual_seed(0)
LOUDNESS = torch.logspace(2, 4.6, 96)[torch.randperm(96)]
SIGNALS = torch.randn(96, 64) * LOUDNESS[:, None]
LABELS = torch.bucketize(LOUDNESS, torch.tensor([500.0, 3e3, 2e4]))
DATA = [{"signals": signal, "labels": int(n)} for signal, n in zip(SIGNALS, LABELS, strict=True)]


class Net(nn.Module):
    """Tells classes from the energy in learned bands, which passes 65504, where fp16 ends."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.bands, self.head = nn.Linear(64, 32), nn.Linear(32, 4)

    def forward(self, signals: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss and logits (N, 4) of signals (N, 64) and labels (N,)."""
        energies = self.bands(signals).float().square()
        logits = self.head(energies.log1p())
        return {"loss": F.cross_entropy(logits, labels), "logits": logits}


def loader() -> "DataLoader[dict[str, Tensor]]":
    """Batches of eight signals with their labels, always in the same order."""
    return DataLoader(DATA, batch_size=8)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer."""
    return torch.optim.SGD(model.parameters(), lr=1e-3)
