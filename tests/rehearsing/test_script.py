"""Training scripts of every habit run unchanged, and are explained; nothing of it stays behind."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from halftrack.errors import MissingFileError, UserError
from halftrack.rehearsing.page import page
from halftrack.rehearsing.script import ScriptRun, run_script

HEAD = """
import sys
import torch
import torch.nn.functional as F
from torch import nn

device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
torch.manual_seed(0)
torch.cuda.manual_seed_all(0)
x, y = torch.randn(8, 6), torch.arange(8) % 3


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.body, self.head = nn.Linear(6, 16), nn.Linear(16, 3)

    def forward(self, x):
        return self.head(self.body(x).relu())


def train(model, optimizer, x=x.to(device), y=y.cuda(), clip=None):
    scaler = torch.amp.GradScaler("cuda", init_scale=256.0)
    while True:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(device_type=device.type, dtype=torch.float16):
            loss = F.cross_entropy(model(x), y)
        scaler.scale(loss).backward()
        if clip is not None:
            scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        scaler.step(optimizer)
        scaler.update()


def sgd(model):
    return torch.optim.SGD(model.parameters(), lr=0.1)


"""


def run(tmp_path: Path, code: str, *arguments: str, **how: Any) -> ScriptRun:
    script = tmp_path / "train.py"
    script.write_text(HEAD + code)
    return run_script(str(script), arguments, **({"steps": 3} | how))


HABITS = {
    "a device, clipping": "model = Net().to(device)\ntrain(model, sgd(model), clip=1.0)",
    "cuda()": "model = Net().cuda()\ntrain(model, sgd(model))",
    "a number as device": (
        "model = Net().to(0)\nassert torch.zeros(2, device=0).is_cuda\n"
        "train(model, sgd(model), x.to(0), y.cuda(0, non_blocking=True))"
    ),
    "a fused optimizer": (
        "model = Net().cuda()\ntrain(model, torch.optim.AdamW(model.parameters(), fused=True))"
    ),
    "a capturable optimizer": (
        "model = Net().cuda()\ntrain(model, torch.optim.Adam(model.parameters(), capturable=True))"
    ),
    "devices are compared": """
model = Net().cuda()
weight = next(model.parameters())
assert weight.is_cuda and weight.device == torch.device("cuda:0") and not weight.is_cpu
assert device == torch.device("cuda") and device.type == "cuda" and x.get_device() == 0
assert x.new_zeros(2, device=weight.device).device.type == "cuda"
train(model, sgd(model))
""",
    "compiled": """
@torch.compile(mode="max-autotune")
def double(x):
    return 2 * x

model = torch.compile(Net().cuda())
model.compile()
assert torch.equal(double(x), x + x)
train(model, sgd(model))
""",
    "data in parallel": """
model = nn.DataParallel(Net()).cuda()
train(model, sgd(model))
""",
    "its own state": """
torch.save({"w": torch.ones(2, device="cuda")}, sys.argv[0] + ".pth")
for where in (None, "cuda", device, {"cuda:1": "cuda:0"}, lambda storage, _: storage.cuda()):
    assert torch.load(sys.argv[0] + ".pth", map_location=where)["w"].is_cuda
noise = torch.Generator(device="cuda").manual_seed(1)
assert isinstance(torch.default_generator, torch.Generator)
model = Net().cuda()
train(model, sgd(model), torch.randn(8, 6, generator=noise, device=device))
""",
    "streams, events and memory": """
torch.cuda.set_device(0)
start, end = (torch.cuda.Event(enable_timing=True) for _ in "ab")
start.record()
with torch.cuda.stream(torch.cuda.Stream()), torch.cuda.device(0):
    x = x.pin_memory().to(device, non_blocking=True)
x.record_stream(torch.cuda.current_stream())
torch.cuda.current_stream().wait_stream(torch.cuda.default_stream())
end.record()
torch.cuda.synchronize()
assert start.elapsed_time(end) >= 0 and torch.cuda.max_memory_allocated() == 0
assert torch.cuda.get_device_properties(0).total_memory > torch.cuda.memory_stats()["none"]
torch.cuda.nvtx.range_push("step")
torch.backends.cudnn.benchmark = True
model = Net().cuda()
train(model, sgd(model))
""",
    "threads and copies": """
import copy
from concurrent.futures import ThreadPoolExecutor

with ThreadPoolExecutor(1) as pool:
    x = pool.submit(lambda: x.to(device, torch.float32)).result()
model = Net().cuda()
optimizer = sgd(model)
average = copy.deepcopy(model)
torch.save(average, sys.argv[0] + ".pth")
assert average(x).is_cuda
train(model, optimizer, x)
""",
    "a type of tensor": """
x = torch.cuda.FloatTensor([[1.0] * 6] * 8).type("torch.cuda.FloatTensor")
model = Net().cuda()
train(model, sgd(model), x)
""",
}


@pytest.mark.parametrize("code", HABITS.values(), ids=HABITS)
def test_a_script_runs_as_it_is(tmp_path: Path, code: str) -> None:
    ended = run(tmp_path, code)
    assert (ended.exit_code, ended.refused) == (0, None)
    assert ended.report is not None
    assert [step.loss_scale for step in ended.report.steps] == [256.0] * 3
    assert ended.report.must_change == ()
    assert ended.report.name.startswith("train.py (Net")
    assert "body" in ended.report.ranges.activations
    page(ended.report)


def test_loaders_with_workers_and_pinned_memory(tmp_path: Path) -> None:
    code = """
from torch.utils.data import DataLoader, TensorDataset
model = Net().to(device)
optimizer, scaler = sgd(model), torch.amp.GradScaler()
for _ in range(9):
    for a, b in DataLoader(TensorDataset(x, y), batch_size=4, num_workers=1, pin_memory=True):
        a, b = a.cuda(non_blocking=True), b.to("cuda:0", non_blocking=True)
        with torch.amp.autocast("cuda"):
            loss = F.cross_entropy(model(a), b)
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
"""
    ended = run(tmp_path, code)
    assert ended.report is not None
    assert len(ended.report.steps) == 3


def test_one_process_of_several_that_speak_nccl(tmp_path: Path) -> None:
    code = """
import torch.distributed as dist

def main(rank, size):
    dist.init_process_group("nccl", rank=rank, world_size=size, init_method="tcp://127.0.0.1:1")
    model = Net().to(rank)
    parallel = nn.parallel.DistributedDataParallel(model, device_ids=[rank])
    dist.barrier(device_ids=[rank])
    train(parallel, sgd(parallel))

torch.multiprocessing.spawn(main, nprocs=torch.cuda.device_count(), args=(1,))
"""
    ended = run(tmp_path, code)
    assert ended.exit_code == 0
    assert ended.report is not None
    assert ended.report.name == "train.py (Net)"
    assert not torch.distributed.is_initialized()


def test_islands_and_custom_functions_are_those_of_a_gpu(tmp_path: Path) -> None:
    code = """
class Double(torch.autograd.Function):
    @staticmethod
    @torch.amp.custom_fwd(device_type="cuda", cast_inputs=torch.float32)
    def forward(ctx, x):
        assert x.dtype == torch.float32 and not torch.is_autocast_enabled()
        return 2 * x

    @staticmethod
    @torch.amp.custom_bwd(device_type="cuda")
    def backward(ctx, gradient):
        return 2 * gradient

class Island(Net):
    def forward(self, x):
        x = self.body(x)
        assert x.dtype == torch.float16 and torch.is_autocast_enabled()
        with torch.autocast("cuda", enabled=False):
            x = self.head(Double.apply(x.float()))
        assert x.dtype == torch.float32
        return x

model = Island().cuda()
train(model, sgd(model))
"""
    ended = run(tmp_path, code)
    assert ended.exit_code == 0
    assert ended.report is not None
    assert set(ended.report.ranges.activations) == {"body"}


def test_a_planted_overflow_is_named(tmp_path: Path) -> None:
    code = "model = Net().cuda()\nwith torch.no_grad():\n    model.body.weight.mul_(1e6)\n"
    ended = run(tmp_path, code + "train(model, sgd(model))")
    assert ended.report is not None
    assert all(step.skipped for step in ended.report.steps)
    assert {culprit.where for culprit in ended.report.culprits} == {"body"}
    assert any("body" in change for change in ended.report.must_change)


def test_bf16_is_told_by_the_scripts_autocast(tmp_path: Path) -> None:
    code = """
model = Net().cuda()
optimizer = sgd(model)
for _ in range(3):
    with torch.autocast("cuda", dtype=torch.bfloat16):
        F.cross_entropy(model(x), y).backward()
    optimizer.step()
print("not printed")
"""
    ended = run(tmp_path, code)
    assert ended.report is not None
    assert ended.report.precision.name == "bf16"
    assert ended.report.notes == ()


def test_a_script_in_fp32_is_told_so(tmp_path: Path) -> None:
    code = "model = Net()\noptimizer = sgd(model)\nF.cross_entropy(model(x), y).backward()\n"
    ended = run(tmp_path, code + "optimizer.step()")
    assert ended.report is not None
    assert "fp32" in ended.report.notes[0]
    assert "no op was computed in half" in ended.report.must_change[0]
    assert "Rehearsal of train.py (Net) in fp32, 1 steps" in str(ended.report)
    assert json.loads(ended.report.json())["precision"]["name"] == "fp32"
    assert "no op was computed in half" in page(ended.report)


def test_a_script_without_a_step_is_told_so(tmp_path: Path) -> None:
    ended = run(tmp_path, "model = Net()\noptimizer = sgd(model)")
    assert ended.report is not None
    assert ended.report.notes == ()
    told = str(ended.report)
    assert "Why was a step skipped?\nNo step was attempted." in told
    assert "0 steps was" not in told


def test_a_loss_that_is_not_finite_is_told_though_no_step_was_skipped(tmp_path: Path) -> None:
    code = """
model = nn.Linear(6, 2).cuda()
nn.init.constant_(model.weight, 1e6)
optimizer, scaler = sgd(model), torch.amp.GradScaler(init_scale=256.0)
while True:
    with torch.autocast("cuda"):
        loss = model(x).mean()
    scaler.scale(loss).backward()
    scaler.step(optimizer)
    scaler.update()
"""
    ended = run(tmp_path, code)
    assert ended.report is not None
    assert not ended.report.skipped
    assert "the loss was not finite in steps 1, 2, 3; step 1" in ended.report.must_change[0]


def test_two_networks_that_take_turns_are_both_named(tmp_path: Path) -> None:
    code = """
class Judge(Net):
    pass

maker, judge, scaler = Net().cuda(), Judge().cuda(), torch.amp.GradScaler(init_scale=64.0)
optimizers = [sgd(maker), sgd(judge)]
while True:
    for model, optimizer in zip((maker, judge), optimizers):
        with torch.autocast("cuda"):
            loss = model(x).square().mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
    scaler.update()
"""
    ended = run(tmp_path, code, steps=4, every=1)
    assert ended.report is not None
    assert ended.report.name == "train.py (Net, Judge)"
    assert {"Net.body", "Judge.head"} <= set(ended.report.ranges.activations)
    assert len(ended.report.steps) == 4


def test_an_exception_is_the_scripts_own(tmp_path: Path, capsys) -> None:
    code = """
model = Net().cuda()
optimizer = sgd(model)
model(x).sum().backward()
optimizer.step()
raise KeyError("no such column")
"""
    ended = run(tmp_path, code)
    assert (ended.exit_code, ended.refused) == (1, None)
    assert ended.report is not None
    assert len(ended.report.steps) == 1
    assert "KeyError: 'no such column'" in ended.report.notes[-1]
    told = capsys.readouterr().err
    assert told.startswith("Traceback (most recent call last):\n  File")
    assert "train.py" in told.splitlines()[1]
    assert "halftrack" not in told


def test_a_traceback_shows_no_frame_of_the_rehearsal(tmp_path: Path, capsys) -> None:
    code = """
model = Net().cuda()
optimizer = sgd(model)
try:
    model(x[:, :2])
except RuntimeError as error:
    raise ValueError("shapes") from error
"""
    assert run(tmp_path, code).exit_code == 1
    told = capsys.readouterr().err
    assert "direct cause" in told
    assert str(Path(run_script.__code__.co_filename).parents[1]) not in told


@pytest.mark.parametrize(("code", "expected"), [("0", 0), ("7", 7), ("'bad'", 1), ("None", 0)])
def test_its_own_exit_code_is_passed_on(tmp_path: Path, code: str, expected: int) -> None:
    ended = run(tmp_path, f"sys.exit({code})")
    assert (ended.exit_code, ended.report) == (expected, None)


@pytest.mark.parametrize("swallowed", ["", "sys.exit(1)"])
def test_ctrl_c_ends_it_with_a_report(tmp_path: Path, swallowed: str) -> None:
    code = """
import os, signal
model = Net().cuda()
optimizer = sgd(model)
try:
    for n in range(9):
        model(x).sum().backward()
        optimizer.step()
        if n == 1:
            os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    raise
"""
    ended = run(tmp_path, code.replace("    raise\n", f"    {swallowed or 'raise'}\n"), steps=9)
    assert ended.exit_code == 130
    assert ended.report is not None
    assert ended.report.interrupted
    assert len(ended.report.steps) == 2


UNSUPPORTED = {
    "torch.cuda.CUDAGraph": "torch.cuda.CUDAGraph()",
    "torch.cuda.graph": "torch.cuda.graph(None)",
    "torch.cuda.make_graphed_callables": "torch.cuda.make_graphed_callables(Net(), (x,))",
    "2 processes": "torch.multiprocessing.spawn(print, nprocs=2)",
    "a CUDA extension": 'raise OSError("CUDA_HOME environment variable is not set.")',
    "triton_kernels: Triton kernels": "import triton_kernels",
    "my_cuda_ops: a CUDA extension": "import my_cuda_ops",
}


@pytest.mark.parametrize("what", UNSUPPORTED)
def test_what_no_cpu_can_do_is_named_with_its_line(tmp_path: Path, what: str) -> None:
    ended = run(tmp_path, UNSUPPORTED[what])
    line = len(HEAD.splitlines()) + 1
    assert ended.refused is not None
    assert ended.refused.startswith(f"train.py:{line}: ")
    assert what in ended.refused
    assert ended.exit_code == 1


def test_lines_of_a_package_installed_beside_the_script_are_not_its_own(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    library = tmp_path / ".venv" / "site-packages" / "halftrack_test_library.py"
    library.parent.mkdir(parents=True)
    library.write_text("import importlib\nload = importlib.import_module")
    monkeypatch.setattr(sys, "path", [*sys.path, str(library.parent)])
    ended = run(tmp_path, "import halftrack_test_library\nhalftrack_test_library.load('my_cuda')")
    sys.modules.pop("halftrack_test_library")
    assert ended.refused is not None
    assert ended.refused.startswith(f"train.py:{len(HEAD.splitlines()) + 2}: my_cuda: a CUDA ext")


def test_a_module_that_does_not_exist_is_the_scripts_own_error() -> None:
    ended = run_script("no_cuda_pkg.train", is_module=True)
    assert (ended.exit_code, ended.refused, ended.report) == (1, None, None)


@pytest.mark.parametrize("ending", ["except:\n    sys.exit(1)", "finally:\n    print(missing)"])
def test_a_script_that_ends_in_its_own_way_after_the_last_step_ended_well(
    tmp_path: Path, ending: str
) -> None:
    code = f"model = Net()\ntry:\n    train(model, sgd(model))\n{ending}"
    ended = run(tmp_path, code)
    assert ended.exit_code == 0
    assert ended.report is not None
    assert (len(ended.report.steps), ended.report.notes) == (3, ())


def test_it_finds_what_python_would_have_given_it(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "beside.py").write_text("")
    code = f"""
import os
import pickle
import __main__
import beside

assert sys.argv == [{str(tmp_path / "train.py")!r}, "--amp", "a b"]
assert sys.path[0] == os.path.dirname(os.path.realpath(__file__))
assert __name__ == "__main__" and __main__.Net is Net and pickle.loads(pickle.dumps(Net)) is Net
os.chdir("/")
"""
    before = sys.argv, sys.path, os.getcwd(), sys.modules["__main__"]
    ended = run(tmp_path, code, "--amp", "a b")
    assert ended.exit_code == 0
    assert before == (sys.argv, sys.path, os.getcwd(), sys.modules["__main__"])
    sys.modules.pop("beside")


def test_a_module_is_run_by_its_name(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "some_training.py").write_text(f"{HEAD}model = Net()\ntrain(model, sgd(model))")
    ended = run_script("some_training", is_module=True, steps=2)
    assert ended.exit_code == 0
    assert ended.report is not None
    assert ended.report.name == "some_training (Net)"


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    code = "model = Net()\ntrain(model, sgd(model))"
    run(tmp_path, code, progress=lambda *numbers: told.append(numbers))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_mistakes_are_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="steps=0"):
        run(tmp_path, "", steps=0)
    with pytest.raises(MissingFileError, match=r"none\.py"):
        run_script(str(tmp_path / "none.py"))
