"""``halftrack doctor``."""

from __future__ import annotations

import os
import platform
import shutil
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from halftrack.cli.console import tell

__all__ = ["doctor"]

_PACKAGES = ("torch", "torchvision", "numpy", "scipy", "pillow", "av", "trackeval", "pydantic")


def doctor() -> None:
    """Print versions, GPUs and memory, for a bug report."""
    for name, fact in _facts():
        tell(f"{name:<15} {fact}")


def _facts() -> Iterator[tuple[str, str]]:
    import torch

    from halftrack import __version__
    from halftrack.data.index_cache import cache_folder

    yield "halftrack", __version__
    yield "Python", f"{platform.python_version()}, {platform.platform()}"
    for package in _PACKAGES:
        yield package, _version(package)
    capability = torch.backends.cpu.get_cpu_capability()
    yield "processor", f"{os.cpu_count()} cores, {torch.get_num_threads()} threads, {capability}"
    yield from _gpus()
    yield "memory", _memory()
    for name, folder in (("/dev/shm", Path("/dev/shm")), ("here", Path())):
        if folder.exists():
            yield name, f"{shutil.disk_usage(folder).free / 2**30:.1f} GiB free"
    yield "indexes", str(cache_folder() or "not cached: no home folder")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _gpus() -> Iterator[tuple[str, str]]:
    import torch

    accelerator = torch.accelerator.current_accelerator()
    count = torch.accelerator.device_count()
    if accelerator is None or not count:
        yield "GPU", f"none that this torch can use (built for CUDA {torch.version.cuda})"
        return
    for number in range(count):
        name = f"{accelerator.type}:{number}"
        if accelerator.type == "cuda":
            properties = torch.cuda.get_device_properties(number)
            size = properties.total_memory / 2**30
            name += f" {properties.name}, {size:.1f} GiB, compute {properties.major}."
            name += f"{properties.minor}, CUDA {torch.version.cuda}"
        yield "GPU", name


def _memory() -> str:
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
        total, free = (int(lines[key].split()[0]) for key in ("MemTotal", "MemAvailable"))
    except (OSError, KeyError, ValueError):  # no Linux
        return "unknown"
    return f"{total / 2**20:.1f} GiB, {free / 2**20:.1f} GiB free"
