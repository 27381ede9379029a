"""Lightning's Trainer in rehearsed 16-mixed on a CPU, where on its own it would train in bf16.

pip install halftrack[lightning]
python examples/lightning_trainer.py
"""

# %% A module as it trains on a GPU.
from typing import Any

import lightning
import torch
from signals import Net, loader, sgd

import halftrack


class Module(lightning.LightningModule):
    """The network and its optimizer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Net()

    def training_step(self, batch: dict[str, Any], index: int) -> torch.Tensor:
        """The loss of a batch."""
        return self.net(**batch)["loss"]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """SGD over all parameters."""
        return sgd(self)


# %% The trainer is handed to `halftrack.watching`; on the CPU it may have been made for fp32.
module = Module()
trainer = lightning.Trainer(
    accelerator="cpu",
    max_epochs=1,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
with halftrack.watching(module, trainer) as watch:
    trainer.fit(module, loader())
report = watch.report
print(report)
report.save("runs/lightning.html")
