"""A loop with Accelerate in rehearsed fp16 on a CPU, where on its own it would train in fp32.

pip install halftrack[accelerate]
python examples/accelerate_loop.py
"""

# %% The accelerator is handed to `halftrack.watching`, and prepares the model inside.
from accelerate import Accelerator
from signals import Net, loader, sgd

import halftrack

model = Net()
accelerator = Accelerator(cpu=True)
with halftrack.watching(model, accelerator) as watch:
    prepared, optimizer, batches = accelerator.prepare(model, sgd(model), loader())
    for batch in batches:
        loss = prepared(**batch)["loss"]
        accelerator.backward(loss)
        optimizer.step()
        optimizer.zero_grad()
report = watch.report
print(report)

# %% What must change before it is trained, and the same as a page.
print(report.must_change)
report.save("runs/accelerate.html")
