"""Damaged checkpoints: each of many flipped bits is found, and a resume takes the file before.

Flips a bit anywhere in the newest checkpoint of a run so many times, then in its pickle alone, then
in a file without checksum, as earlier versions wrote it (records alone, which have a CRC).
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch

from halftrack.recipes import load_recipe
from halftrack.training.files.checkpoint import newest_checkpoint, write_checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=300)
    parser.add_argument("--pickles", type=int, default=400)
    arguments = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder)
        model = load_recipe("selsa_tiny_sample").for_training().build_model()
        state = {"meta": {"seed": 0}, "state_dict": model.state_dict()}
        start = time.perf_counter()
        write_checkpoint(run / "step_1.pth", state)
        print(f"written in {time.perf_counter() - start:.3f} s")
        sealed = (run / "step_1.pth").read_bytes()
        torch.save(state, run / "plain.pth")
        plain = (run / "plain.pth").read_bytes()
        anywhere = rng.sample(range(8 * len(sealed)), arguments.files)
        report(run, "anywhere in the file", sealed, flipped(sealed, anywhere))
        bits = places(rng, sealed, "data.pkl", arguments.pickles)
        report(run, "in the pickle", sealed, flipped(sealed, bits))
        bits = places(rng, plain, "data.pkl", arguments.pickles)
        report(run, "in the pickle of a file without checksum", plain, flipped(plain, bits))


def places(rng: random.Random, data: bytes, record: str, count: int) -> list[int]:
    """So many bits of a record."""
    archive = zipfile.ZipFile(io.BytesIO(data))
    name = next(each for each in archive.namelist() if each.endswith(record))
    content = archive.read(name)
    first = 8 * data.index(content)
    return [first + rng.randrange(8 * len(content)) for _ in range(count)]


def flipped(good: bytes, bits: Iterable[int]) -> Iterator[bytes]:
    """The content with each of these bits flipped, one at a time."""
    for bit in bits:
        damaged = bytearray(good)
        damaged[bit // 8] ^= 1 << bit % 8
        yield bytes(damaged)


def report(run: Path, what: str, good: bytes, contents: Iterable[bytes]) -> bool:
    """Give the newest file each damaged content, look for the newest one, and count.

    Args:
        run: with ``step_1.pth`` alone, which must be found.
        what: is damaged.
        good: the content before.
        contents: the damaged ones.

    Returns:
        Whether all were found.
    """
    tried = found = 0
    start = time.perf_counter()
    for damaged in contents:
        (run / "step_2.pth").write_bytes(damaged)
        path, _, told = newest_checkpoint(run)
        tried += 1
        found += path.name == "step_1.pth" and len(told) == 1
    seconds = (time.perf_counter() - start) / max(tried, 1)
    print(f"{what}: {found} of {tried} found, {seconds:.3f} s each ({len(good) / 2**20:.1f} MiB)")
    return found == tried


if __name__ == "__main__":
    main()
