"""transformers' Trainer in rehearsed fp16 on a CPU, where on its own it would train in fp32.

pip install halftrack[transformers]
python examples/transformers_trainer.py
"""

# %% A trainer as it trains on a GPU, but for `use_cpu`.
from signals import DATA, Net, sgd
from transformers import Trainer, TrainingArguments

import halftrack

model = Net()
arguments = TrainingArguments(
    output_dir="runs/transformers",
    use_cpu=True,
    fp16=True,
    per_device_train_batch_size=8,
    num_train_epochs=1,
    train_sampling_strategy="sequential",
    lr_scheduler_type="constant",
    max_grad_norm=0.0,
    save_strategy="no",
    report_to=[],
    disable_tqdm=True,
)
trainer = Trainer(model, arguments, train_dataset=DATA, optimizers=(sgd(model), None))

# %% It is handed to `halftrack.watching`.
with halftrack.watching(model, trainer) as watch:
    trainer.train()
report = watch.report
print(report)
report.save("runs/transformers.html")
