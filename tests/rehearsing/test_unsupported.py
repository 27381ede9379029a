"""An error of a script that a missing GPU has caused is told from one of its own."""

from __future__ import annotations

import pytest
import torch

from halftrack.rehearsing.unsupported import NoStandInError, unsupported


@pytest.mark.parametrize(
    ("error", "what"),
    [
        (NoStandInError("torch.cuda.graph: no"), "torch.cuda.graph: no"),
        (OSError("CUDA_HOME environment variable is not set"), "a CUDA extension"),
        (ModuleNotFoundError("No module named 'triton.language'"), "triton.language: Triton"),
        (ImportError("No module named 'flash_attn_2_cuda'"), "flash_attn_2_cuda: a CUDA"),
        (AssertionError("libcuda.so cannot found!"), "a Triton kernel or CUDA extension"),
        (RuntimeError("0 active drivers ([]). There should only be one."), "a Triton kernel"),
        (
            NotImplementedError(
                "Could not run 'mine::op' with arguments from the 'CPU' backend. This"
            ),
            "mine::op: an op for GPUs alone",
        ),
    ],
)
def test_what_a_gpu_is_needed_for_is_named(error: Exception, what: str) -> None:
    with pytest.raises(type(error)) as raised:
        raise error
    told = unsupported(raised.value)
    assert told is not None
    assert what in told


@pytest.mark.parametrize(
    "error", [KeyError("x"), ModuleNotFoundError("No module named 'yaml'"), RuntimeError("shapes")]
)
def test_an_error_of_the_scripts_own_is_left_to_its_traceback(error: Exception) -> None:
    assert unsupported(error) is None


def test_an_error_before_the_scripts_first_line_has_none() -> None:
    assert unsupported(ModuleNotFoundError("No module named 'cuda_pkg'")) is None


def test_the_innermost_line_of_the_scripts_folder_is_named() -> None:
    library = torch.library.Library("halftrack_test", "DEF")
    library.define("for_gpus(Tensor x) -> Tensor")
    library.impl("for_gpus", lambda x: x, "CUDA")
    try:
        with pytest.raises(NotImplementedError) as raised:
            torch.ops.halftrack_test.for_gpus(torch.ones(1))
    finally:
        library._destroy()
    line = raised.traceback[0].lineno + 1
    told = unsupported(raised.value)
    assert told is not None
    assert told.startswith(f"test_unsupported.py:{line}: halftrack_test::for_gpus: an op for GPUs")
