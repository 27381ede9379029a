"""Every damage of a checkpoint is found, what is no checkpoint is named, others' files are read."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from halftrack.training import read_checkpoint
from halftrack.training.files.checkpoint import newest_checkpoint, write_checkpoint

STATE = {
    "meta": {"recipe": {"name": "tiny"}, "seed": 3},
    "state_dict": {"a.weight": torch.arange(200.0), "a.bias": torch.ones(3)},
}


def flipped(data: bytes, bit: int) -> bytes:
    damaged = bytearray(data)
    damaged[bit // 8] ^= 1 << bit % 8
    return bytes(damaged)


def found(path: Path, data: bytes) -> bool:
    path.write_bytes(data)
    try:
        read_checkpoint(path)
    except ValueError as error:
        return str(path) in str(error)
    return False


def test_each_flipped_bit_is_found_and_the_file_before_taken(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "step_1.pth", STATE)
    good = (tmp_path / "step_1.pth").read_bytes()
    rng = random.Random(0)
    for bit in rng.sample(range(8 * len(good)), 60):
        (tmp_path / "step_2.pth").write_bytes(flipped(good, bit))
        path, _, passed_over = newest_checkpoint(tmp_path)
        assert (path.name, [*passed_over]) == ("step_1.pth", [tmp_path / "step_2.pth"]), bit


def test_each_bit_of_the_last_hundred_bytes_is_looked_at(tmp_path: Path) -> None:
    # The checksum itself and what says that there is one.
    write_checkpoint(tmp_path / "good.pth", STATE)
    good = (tmp_path / "good.pth").read_bytes()
    missed = [
        bit
        for bit in range(8 * (len(good) - 100), 8 * len(good))
        if not found(tmp_path / "bad.pth", flipped(good, bit))
    ]
    assert missed == []


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda good: good[:-1], id="last byte cut off"),
        pytest.param(lambda good: good[:-40], id="half the checksum cut off"),
        pytest.param(lambda good: good[:-50], id="the checksum cut off"),
        pytest.param(lambda good: good[:-60], id="the end of the archive cut off"),
        pytest.param(lambda good: good[: len(good) // 2], id="half the file"),
        pytest.param(lambda good: b"", id="empty"),
        pytest.param(lambda good: bytes(len(good)), id="zeros, as after a power cut"),
        pytest.param(lambda good: good[:-512] + bytes(512), id="zeros from a sector on"),
        pytest.param(lambda good: good[:500] + good[501:], id="a byte missing in the middle"),
        pytest.param(lambda good: good + b"\0", id="a byte too many"),
        pytest.param(lambda good: good + good, id="twice in one file"),
        pytest.param(lambda good: good.replace(b"\n", b"\r\n"), id="copied as text"),
    ],
)
def test_damage_of_other_kinds_is_found(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    write_checkpoint(tmp_path / "good.pth", STATE)
    assert found(tmp_path / "bad.pth", damage((tmp_path / "good.pth").read_bytes()))


def records(data: bytes) -> zipfile.ZipFile:
    return zipfile.ZipFile(io.BytesIO(data))


def test_torch_and_zip_read_the_file_as_before(tmp_path: Path) -> None:
    path = tmp_path / "step_1.pth"
    write_checkpoint(path, STATE)
    for how in ({}, {"mmap": True}, {"weights_only": False}):
        assert torch.equal(torch.load(path, **how)["state_dict"]["a.weight"], torch.arange(200.0))
    assert records(path.read_bytes()).testzip() is None


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "before torch 1.6"])
def test_a_file_without_a_checksum_is_read(tmp_path: Path, zipped: bool) -> None:
    torch.save(STATE, tmp_path / "a.pth", _use_new_zipfile_serialization=zipped)
    assert torch.equal(read_checkpoint(tmp_path / "a.pth")["state_dict"]["a.bias"], torch.ones(3))


def test_of_a_file_without_a_checksum_the_records_are_checked(tmp_path: Path) -> None:
    torch.save(STATE, tmp_path / "old.pth")
    good = (tmp_path / "old.pth").read_bytes()
    for info in records(good).infolist():
        # Behind the header come the name and padding; the CRC covers what follows.
        first = good.index(info.filename.encode()) + len(info.filename)
        content = records(good).read(info)
        start = good.index(content, first)
        for bit in range(8 * start, 8 * (start + len(content)), max(len(content) // 2, 1)):
            assert found(tmp_path / "bad.pth", flipped(good, bit)), info.filename


def test_a_file_written_without_any_crc_is_no_damage(tmp_path: Path) -> None:
    before = torch.serialization.get_crc32_options()
    torch.serialization.set_crc32_options(False)
    try:
        torch.save(STATE, tmp_path / "a.pth")
    finally:
        torch.serialization.set_crc32_options(before)
    assert read_checkpoint(tmp_path / "a.pth")["meta"]["seed"] == 3


LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:0123\nsize 250000000\n"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (LFS, "a Git LFS pointer.*git lfs pull"),
        (b"<!DOCTYPE html><html><body>Sign in</body></html>", "a web page"),
        (b"\xef\xbb\xbf\n <HTML>404</HTML>", "a web page"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "a web page"),
        (b'{"message": "rate limit exceeded"}', "JSON text"),
        (b"\x1f\x8b\x08\0\0\0\0\0", "gzip archive"),
        (b"", "it is empty"),
        (b"Hello, this is no checkpoint at all.", "not a readable|cannot be read"),
        (b"PK\x03\x04 and nothing more", "not a readable checkpoint"),
    ],
    ids=["lfs", "page", "page with a mark", "xml", "json", "gzip", "empty", "text", "torn zip"],
)
def test_what_is_no_checkpoint_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        read_checkpoint(tmp_path / "a.pth")
    assert "a.pth" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_safetensors_file_is_read_under_any_name(tmp_path: Path) -> None:
    weights: dict[str, Tensor] = {"a": torch.ones(3)}
    save_file(weights, tmp_path / "a.pth", metadata={"classes": "one"})
    found = read_checkpoint(tmp_path / "a.pth")
    assert found["meta"] == {"classes": "one"}
    assert torch.equal(found["state_dict"]["a"], torch.ones(3))


_LARGE = b'{"a":{"dtype":"F32","shape":[2684354560],"data_offsets":[0,10737418240]}}'


@pytest.mark.parametrize(
    "content",
    [
        (10 << 30).to_bytes(8, "little") + b'{"a":1}',
        len(_LARGE).to_bytes(8, "little") + _LARGE + b"few",
        (7).to_bytes(8, "little") + b'{"a":1}',
    ],
    ids=["a header of ten gigabytes", "a tensor of ten gigabytes", "a number for a tensor"],
)
def test_a_safetensors_file_that_claims_too_much_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    with pytest.raises(ValueError, match=r"a\.safetensors is not a readable checkpoint"):
        read_checkpoint(tmp_path / "a.safetensors")


def test_a_compressed_archive_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", bytes(1 << 24))
    with pytest.raises(ValueError, match="its records claim 16,777,216 bytes"):
        read_checkpoint(tmp_path / "a.pth")


def test_any_other_zip_is_no_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.pth", "w") as archive:
        archive.writestr("weights/readme.txt", "unpack me")
    with pytest.raises(ValueError, match="not a readable checkpoint"):
        read_checkpoint(tmp_path / "a.pth")


def test_a_module_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "orphaned.py").write_text("class Config:\n    pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    import orphaned  # type: ignore[import-not-found]

    torch.save({"state_dict": {}, "meta": orphaned.Config()}, tmp_path / "a.pth")
    monkeypatch.delitem(__import__("sys").modules, "orphaned")
    (tmp_path / "orphaned.py").unlink()
    with pytest.raises(ValueError, match=r"holds more than .* orphaned\.Config"):
        read_checkpoint(tmp_path / "a.pth")
    with pytest.raises(ValueError, match="needs the module 'orphaned', which is not installed"):
        read_checkpoint(tmp_path / "a.pth", trust=True)
