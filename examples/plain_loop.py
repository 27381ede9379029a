"""A training loop of one's own, with autocast and GradScaler, watched on a CPU.

    python examples/plain_loop.py

Each `# %%` begins a cell, for editors that show such files as notebooks.
"""

# %% The loop as it runs on a GPU, within `halftrack.watching`.
import torch
from signals import Net, loader, sgd

import halftrack
from halftrack.precision import Precision


def train(model: torch.nn.Module) -> None:
    """One epoch in fp16."""
    optimizer, scaler = sgd(model), torch.amp.GradScaler("cuda")
    for batch in loader():
        with torch.autocast("cuda", dtype=torch.float16):
            loss = model(**batch)["loss"]
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()


model = Net()
with halftrack.watching(model) as watch:
    train(model)
report = watch.report
print(report)

# %% Each skipped step has its cause: the module, the op, and which signals of the batch were loud.
for culprit in report.culprits:
    print(f"loss scale {culprit.loss_scale:g}: {culprit}")

# %% With what the report advises, nothing overflows in the forward pass.
mended = Net()
Precision("fp16", keep_fp32=("bands",)).keep_in_fp32(mended)
with halftrack.watching(mended) as watch:
    train(mended)
print(watch.report)
