"""Memory of any model's training step, from shapes alone: nothing is computed, nothing is held."""

from __future__ import annotations

import copy
import traceback
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_leaves

from halftrack.errors import UserError
from halftrack.precision import LiveBytes, Precision, ShapesOnly, optimizer_step
from halftrack.precision.losses import loss_terms
from halftrack.rehearsing.feeding import optimizers_of
from halftrack.rehearsing.gpu import CONTEXT, parse_memory
from halftrack.rehearsing.memory import StepMemory, shown_size
from halftrack.rehearsing.snapshot import Snapshot, learned_by, random_numbers_kept
from halftrack.rehearsing.trained_step import Step, device_of

__all__ = ["StepPlan", "fill_state", "peak_of_step", "plan", "without_values"]

_OURS = tuple(f"{folder}/" for folder in (Path(torch.__file__).parent, Path(__file__).parents[1]))


@dataclass(frozen=True, kw_only=True)
class StepPlan:
    """Memory of a training step in several precisions; ``print`` shows it as a table."""

    memory: tuple[StepMemory, ...]
    """The peak in each precision."""

    def fits(self, gpu_memory: str) -> dict[str, bool]:
        """By precision, whether the step surely fits into a GPU of e.g. ``24GiB`` or ``11GB``.

        Raises:
            UserError: if that is no size.
        """
        size = parse_memory(gpu_memory, "gpu_memory")
        return {step.precision: step.fits(size) for step in self.memory}

    def __str__(self) -> str:
        lines = [f"{'':12s}" + "".join(f"{step.precision:>22s}" for step in self.memory)]
        rows: dict[str, list[str]] = {
            "live": [shown_size(step.peak) for step in self.memory],
            "on a GPU": [" to ".join(map(shown_size, step.on_a_gpu)) for step in self.memory],
        }
        for kind in self.memory[0].by_kind:
            rows[kind] = [shown_size(step.by_kind[kind]) for step in self.memory]
        lines += [f"{name:12s}" + "".join(f"{s:>22s}" for s in row) for name, row in rows.items()]
        lines.append(f"The batch, and {shown_size(CONTEXT)} of a GPU's own, come on top.")
        return "\n".join(lines)


def plan(
    step: Step,
    batch: Any,
    *,
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    precisions: Sequence[str] = ("fp32", "bf16", "fp16"),
    compute: bool = False,
) -> StepPlan:
    """Predict the peak memory of a training step before a GPU is rented.

    The step is taken by a copy of the model whose weights have shapes and no values: a model that
    fits no memory here can be planned, and the one given is not touched. The batch is real, so what
    is read from labels is known. What is read from the model's results is not::

        print(halftrack.plan(step, batch, model=model, optimizer=optimizer))

    Args:
        step: takes the model and a batch and returns the loss, as ``rehearse`` takes it; it must
            use the model it is given.
        batch: one batch, of any type, at the sizes to plan for.
        model: the model, on any device or on ``meta``.
        optimizer: the optimizer, or all that move the model.
        precisions: of ``fp32``, ``tf32``, ``bf16`` and ``fp16``.
        compute: take the step itself on this CPU, and put the model back after it; for code whose
            shapes depend on values.

    Raises:
        UserError: if the step reads values that are not there; names op and line, and says what to
            pass.
    """
    optimizers = optimizers_of(step, optimizer)
    peaks = (
        peak_of_step(
            step,
            batch,
            model=model,
            optimizers=optimizers,
            precision=Precision.named(name),
            compute=compute,
        )
        for name in precisions
    )
    return StepPlan(memory=tuple(peaks))


def peak_of_step(
    step: Step,
    batch: Any,
    *,
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    precision: Precision,
    compute: bool = False,
) -> StepMemory:
    """The peak in one precision, its fp32 islands included; arguments as ``plan`` takes them.

    Raises:
        UserError: as ``plan`` does.
    """
    with ExitStack() as stack:
        stack.enter_context(random_numbers_kept())
        if compute:
            stack.callback(Snapshot(model, optimizers).put_back)
        else:
            shapes = ShapesOnly()
            model, optimizers = without_values(shapes, model, optimizers)
            stack.enter_context(shapes)
        precision.keep_in_fp32(model)
        try:
            fill_state(optimizers)
            for optimizer in optimizers:
                optimizer.zero_grad(set_to_none=True)
            meter = _metered(step, batch, model, optimizers, precision)
        except Exception as error:
            if compute:
                raise
            raise UserError(
                f"the memory of this step is not known from shapes alone: {error}{_place(error)}; "
                "pass compute=True to halftrack.plan to take the step itself on this CPU"
            ) from error
    return StepMemory(
        precision=precision.name,
        peak=meter.peak,
        by_kind=meter.peak_by_kind,
        by_module=meter.peak_by_module,
    )


def fill_state(optimizers: Sequence[Optimizer]) -> None:
    """Give optimizers the state that they have from their first step on, by a step on zeros.

    From then on they move all weights at once, as on a GPU: the copies that takes are counted. The
    gradients stay, all zeros; weight decay, where there is one, moves the weights.
    """
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            if "foreach" in group and not group.get("fused"):
                group["foreach"] = True
            for parameter in group["params"]:
                if parameter.requires_grad:
                    parameter.grad = torch.zeros_like(parameter)
        optimizer.step()


def without_values(
    shapes: ShapesOnly, model: nn.Module, optimizers: Sequence[Optimizer], device: str = "cpu"
) -> tuple[nn.Module, list[Optimizer]]:
    """Copies that hold no memory, their tensors on a device that need not be there."""
    held: list[Any] = [*model.parameters(), *model.buffers()]
    held += [leaf for module in model.modules() for leaf in tree_leaves(vars(module))]
    held += [leaf for each in optimizers for leaf in tree_leaves(list(each.state.values()))]
    held += learned_by(optimizers)
    memo: dict[int, Any] = {}
    for tensor in held:
        if isinstance(tensor, Tensor) and id(tensor) not in memo:
            empty = _empty(shapes, tensor.detach(), device)
            if isinstance(tensor, nn.Parameter):
                empty = nn.Parameter(empty, requires_grad=tensor.requires_grad)
            memo[id(tensor)] = empty
    copied: tuple[nn.Module, list[Optimizer]] = copy.deepcopy((model, list(optimizers)), memo)
    return copied


def _empty(shapes: ShapesOnly, tensor: Tensor, device: str) -> Tensor:
    """The tensor without values on a device, wherever it is, or on none (``meta``)."""
    with shapes.making():
        if tensor.device.type == "cpu":
            return shapes.forget(tensor).to(device)
        return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=device)


def _metered(
    step: Step,
    batch: Any,
    model: nn.Module,
    optimizers: Sequence[Optimizer],
    precision: Precision,
) -> LiveBytes:
    device, loss_scale = device_of(model), precision.new_loss_scale()
    with LiveBytes(model, optimizers) as meter, precision.arithmetic(device):
        with precision.autocast(device):
            terms = loss_terms(step(model, batch))
        loss = (
            torch.stack([*terms.values()]).sum() if len(terms) > 1 else next(iter(terms.values()))
        )
        del terms
        loss_scale.scale(loss).backward()
        del loss
        optimizer_step(optimizers, loss_scale)
    return meter


def _place(error: BaseException) -> str:
    """The user's line that an exception came from."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith((*_OURS, "<")):
            return f", read at {frame.filename}:{frame.lineno} ({frame.line})"
    return ""
