"""The entry ``names`` of a YAML file: every form that exporters write, and what is none of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from halftrack.data import DataError
from halftrack.data.files import read_lines
from halftrack.data.own.yaml_names import yaml_names


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("names:\n  0: van\n  1: tram\nnc: 2\n", ["van", "tram"]),
        ("names:\n  1: tram\n  0: van\n", ["van", "tram"]),
        ("names:\n  '1': tram\n  \"0\": van\n", ["van", "tram"]),
        ("names:\n  0: van\n\n  # the tram\n  1: tram\n", ["van", "tram"]),
        ("names:\n  0: van\n  2: tram\n", ["van", "1", "tram"]),
        ("names: # of classes\n- van  # small\n# large\n- tram\nval: x\n", ["van", "tram"]),
        ("\ufeffnames:\r\n- van\r\n- tram\r\n", ["van", "tram"]),
        ("names:\n- 'it''s, a van'  # x\n- \"tram # 1\"\n", ["it's, a van", "tram # 1"]),
        ("names:\n- driver's seat\n- c#\n", ["driver's seat", "c#"]),
        ("names: ['van', tram]\n", ["van", "tram"]),
        ("names: [van, tram]  # all\nnc: 2\n", ["van", "tram"]),
        ("names: ['a, b', \"c]d\", e f]\n", ["a, b", "c]d", "e f"]),
        ("names: [van,  # [small]\n\n  # large\n  tram,\n  ]\nval: x\n", ["van", "tram"]),
        ("names: {0: van, 1: tram}\n", ["van", "tram"]),
        ("names: {1: tram,\n  '0': 'a van'}\n", ["a van", "tram"]),
        ("train: images\n'names': [van]\n", ["van"]),
        ("train: names\n# names: [van]\n", []),
    ],
)
def test_names_stand_in_the_order_of_their_numbers(
    content: str, names: list[str], tmp_path: Path
) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(content, encoding="utf-8", newline="")
    assert yaml_names(file, read_lines(file)) == names


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("names:\n  0: van\n  0: tram\n", "line 3: class 0 is 'tram', but 'van' in line 2"),
        ("names: {0: van,\n 0: van}\n", "line 2: class 0 is 'van', but 'van' in line 1"),
        ("names:\n  99999: van\n", "line 2: class 99999 is 'van', allowed are at most 10000"),
        ("names: classes.txt\n", "line 1: names is 'classes.txt'; expected names: [a, b]"),
        ("names:\nnc: 2\n", "line 1: names holds no class"),
        ("names:\n- van\n-\n", "line 3, '-': expected"),
        ("names:\n- name: van\n", "line 2, '- name: van': expected"),
        ("names: [van, tram\n", "line 1: names has no closing ]"),
        ("names: [van}\n", "line 1, 'van}': expected"),
        ("names: [van,\n , tram]\n", "line 2, ', tram]': expected"),
        ("nc: 3 # all\nnames: [van, tram]\n", "line 1: nc is 3, but names tells 2 classes"),
        ("names: {van: 0}\n", "line 1, 'van: 0}': expected"),
    ],
)
def test_what_is_no_list_of_names_is_told_with_its_line(
    content: str, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "data.yaml"
    file.write_text(content, encoding="utf-8")
    with pytest.raises(DataError) as error:
        yaml_names(file, read_lines(file))
    assert str(error.value).startswith(f"{file}: {told}")
