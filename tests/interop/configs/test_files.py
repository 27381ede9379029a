"""Configs as files: inheritance as mmcv 1.7 resolves it, and hostile files."""

from __future__ import annotations

import itertools
import os
from pathlib import Path

import pytest

from halftrack.errors import MissingFileError, UserError
from halftrack.interop.configs.files import read_config
from halftrack.interop.configs.sections import ConfigError


def write(folder: Path, **files: str) -> Path:
    """The file called ``mine``, beside the others; two underscores in a name are a folder."""
    for name, text in files.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder / "mine.py"


def test_a_base_is_inherited_and_a_third_level_too(tmp_path: Path) -> None:
    mine = write(
        tmp_path,
        mine="_base_ = ['./second.py']\na = dict(b=3)",
        second="_base_ = 'base__/third.py'\na = dict(b=2, c=2)".replace("__", ""),
        base__third="a = dict(b=1, c=1, d=1)\nlr = 0.1",
    )
    config = read_config(mine)
    assert config.values == {"a": {"b": 3, "c": 2, "d": 1}, "lr": 0.1}
    assert config.values["a"].places["d"].file == str(tmp_path / "base/third.py")
    assert config.values["a"].places["c"].file == str(tmp_path / "second.py")
    paths = [line for line in config.text.splitlines() if line.startswith(str(tmp_path))]
    assert paths == [str(tmp_path / f"{name}.py") for name in ("base/third", "second", "mine")]


def test_two_bases_are_joined_and_must_not_share_a_name(tmp_path: Path) -> None:
    mine = write(tmp_path, mine="_base_ = ['a.py', 'b.py']", a="x = 1", b="y = 2")
    assert read_config(mine).values == {"x": 1, "y": 2}
    write(tmp_path, b="\nx = 2")
    with pytest.raises(ConfigError, match=r"x is in two base files, .*a\.py, line 1 and .*line 2"):
        read_config(mine)


def test_placeholders_are_filled_in(tmp_path: Path) -> None:
    mine = write(
        tmp_path,
        mine="_base_ = 'a.py'\nwork_dir = '{{ fileDirname }}/{{fileBasenameNoExtension}}'\n"
        "name = '{{fileBasename}}'\nkind = '{{ fileExtname }}'\n"
        "lr = dict(x=[{{ _base_.optimizer.lr }}], y={{_base_.optimizer}})",
        a="optimizer = dict(lr=0.1)",
    )
    values = read_config(mine).values
    assert values["work_dir"] == f"{tmp_path.as_posix()}/mine"
    assert (values["name"], values["kind"]) == ("mine.py", ".py")
    assert values["lr"] == {"x": [0.1], "y": {"lr": 0.1}}


def test_options_come_last(tmp_path: Path) -> None:
    mine = write(tmp_path, mine="a = dict(b=1)")
    assert read_config(mine, ["a.b=2"]).values == {"a": {"b": 2}}


def test_names_that_expressions_use_are_told_for_each_file(tmp_path: Path) -> None:
    mine = write(
        tmp_path,
        mine="_base_ = 'a.py'\nroot = 'x'\nd = dict(f=root, g={{_base_.lr}})",
        a="norm = 1\nlr = 2\np = [norm]",
    )
    used = read_config(mine).used
    assert used == {str(mine): {"root", "lr"}, str(tmp_path / "a.py"): {"norm"}}


def test_a_deprecation_and_private_names_are_left_out(tmp_path: Path) -> None:
    mine = write(tmp_path, mine="_deprecation_ = dict(expected='x')\n__a = 1\n_b = 2")
    assert read_config(mine).values == {"_b": 2}


HOSTILE = {
    "a file that inherits from itself": ({"mine": "_base_ = './mine.py'"}, "from itself"),
    "a circle": ({"mine": "_base_ = 'a.py'", "a": "_base_ = ['mine.py']"}, "from itself"),
    "a path that leaves": ({"mine": "_base_ = '../../../etc/hosts.py'"}, "leads out of"),
    "an absolute path": ({"mine": "_base_ = '/etc/hosts.py'"}, "relative to"),
    "another kind of file": ({"mine": "_base_ = 'passwd'"}, "ending in .py"),
    "a number": ({"mine": "_base_ = 3"}, "ending in .py"),
    "a base that is not there": ({"mine": "\n_base_ = 'no.py'"}, "mine.py, line 2: .*no such file"),
    "a name with a NUL": ({"mine": "_base_ = 'a\\0.py'"}, "relative to"),
    "a long name": ({"mine": f"_base_ = '{'a' * 5000}.py'"}, "too long"),
    "a mistake in the base": ({"mine": "_base_ = 'a.py'", "a": "\nimport os"}, "a.py, line 2: imp"),
    "a name that a base lacks": (
        {"mine": "_base_ = 'a.py'\nx = {{_base_.b.c}}", "a": "b = 1"},
        "have no 'c'",
    ),
    "a reserved name": ({"mine": "filename = 'a'"}, "keeps this name"),
    "no config": ({"mine": "\x00\x01"}, "no Python"),
    "a large file": ({"mine": "x = 1\n" * 100_000}, "256 KiB"),
}


@pytest.mark.parametrize("story", HOSTILE)
def test_a_hostile_file_is_refused(story: str, tmp_path: Path) -> None:
    files, words = HOSTILE[story]
    with pytest.raises(UserError, match=words):
        read_config(write(tmp_path, **files))


def test_files_that_multiply_are_counted(tmp_path: Path) -> None:
    names = [f"f{level}" for level in range(30)]
    chain = {a: f"_base_ = ['{b}.py', '{b}.py']" for a, b in itertools.pairwise(names)}
    mine = write(tmp_path, mine="_base_ = 'f0.py'", f29="", **chain)
    with pytest.raises(ConfigError, match="more than 50 base files"):
        read_config(mine)


def test_a_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    outside = write(tmp_path / "outside", mine="x = 1")
    mine = write(tmp_path / "inside", mine="_base_ = 'link.py'")
    (tmp_path / "inside/link.py").symlink_to(outside)
    with pytest.raises(ConfigError, match="leads out of"):
        read_config(mine)


def test_bases_come_from_a_folder_named_configs_or_the_working_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, configs__base__a="x = 1", configs__det__mine="_base_ = '../base/a.py'")
    assert read_config(tmp_path / "configs/det/mine.py").values == {"x": 1}
    write(tmp_path, work__det__mine="_base_ = '../../configs/base/a.py'")
    with pytest.raises(ConfigError, match="leads out of"):
        read_config(tmp_path / "work/det/mine.py")
    monkeypatch.chdir(tmp_path)
    assert read_config("work/det/mine.py").values == {"x": 1}


def test_a_config_that_is_missing_or_a_pipe_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(MissingFileError, match="no such file"):
        read_config(tmp_path / "no.py")
    with pytest.raises(MissingFileError, match="expected a file"):
        read_config(tmp_path)
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(MissingFileError, match="expected a file"):
        read_config(tmp_path / "pipe.py")
    (tmp_path / "latin.py").write_bytes(b"x = '\xe4'")
    with pytest.raises(ConfigError, match="UTF-8 from byte 5"):
        read_config(tmp_path / "latin.py")
