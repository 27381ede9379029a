"""A model of your own in half precision: our loss scale, and every skipped step explained.

python examples/half_precision_model.py
"""

# %% A network that tells tones apart by the energy in learned bands, from 16-bit audio as it is.
import torch
from torch import Tensor, nn

from halftrack.precision import Precision, find_culprit, optimizer_step

device = "cuda" if torch.cuda.is_available() else "cpu"  # a CPU rehearses a GPU's fp16


class Energy(nn.Module):
    def forward(self, responses: Tensor) -> Tensor:
        return (responses * responses).log1p()  # 300 times 300 passes 65504, where fp16 ends


class Tones(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bands, self.energy, self.head = nn.Linear(64, 32), Energy(), nn.Linear(32, 4)

    def forward(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        audio, labels = batch
        return nn.functional.cross_entropy(self.head(self.energy(self.bands(audio))), labels)


def record(draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Audio (64, 64), few of it loud, and which of four tones each is (64,)."""
    labels, chance = torch.arange(64) % 4, torch.rand(2, 64, 1, generator=draw)
    phases = 6.28 * chance[0] + 0.3 * (labels[:, None] + 1) * torch.arange(64)
    return (20 * 200 ** chance[1] ** 4 * phases.sin()).round().to(device), labels.to(device)


# %% The loop: `optimizer_step` unscales, then steps or skips, and reports which.
def train(precision: Precision, steps: int) -> None:
    torch.manual_seed(0)
    model, draw = Tones().to(device), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    precision.keep_in_fp32(model)
    loss_scale = precision.new_loss_scale()
    for step in range(1, steps + 1):
        batch = record(draw)
        with precision.arithmetic(device):  # around the backward pass too
            with precision.autocast(device):
                loss = model(batch)
            loss_scale.scale(loss).backward()
        report = optimizer_step([optimizer], loss_scale)
        if report.skipped:
            at = {"precision": precision, "loss_scale": report.loss_scale, "device": device}
            print(f"step {step} skipped: {find_culprit(model, [batch], model, **at)}")
    print(f"{precision}: loss {loss.item():.3f} after {steps} steps\n")


# %% As it is every step is skipped; with the remedy that is named, it learns.
train(Precision("fp16", "dynamic"), steps=3)
train(Precision("fp16", "dynamic", keep_fp32=("energy",)), steps=60)
