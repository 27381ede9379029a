from __future__ import annotations

from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from halftrack.evaluation import (
    pack_got10k,
    pack_trackingnet,
    read_box_folder,
    read_boxes,
    write_boxes,
)

BOX = [100.0, 100.0, 140.0, 120.0]
NAN = [float("nan")] * 4
TWO = {"a-1": np.asarray([BOX, [1, 2, 11.5, 22]]), "b": np.asarray([BOX])}
LINE = "100.0000,100.0000,40.0000,20.0000\n"


def members(path: Path) -> dict[str, str]:
    """Every file of an archive, its folders not."""
    with ZipFile(path) as package:
        return {name: package.read(name).decode() for name in package.namelist()}


def test_got10ks_package_has_a_folder_a_sequence_with_boxes_and_times(tmp_path):
    path = tmp_path / "GOT-10k.zip"
    seconds = {"a-1": np.asarray([0.125, 0.25]), "b": np.asarray([1e-4])}
    pack_got10k(path, TWO, seconds)
    assert members(path) == {
        "a-1/a-1_001.txt": LINE + "1.0000,2.0000,10.5000,20.0000\n",
        "a-1/a-1_time.txt": "0.12500000\n0.25000000\n",
        "b/b_001.txt": LINE,
        "b/b_time.txt": "0.00010000\n",
    }


def test_got10ks_toolkit_reads_its_package_back(tmp_path):
    pack_got10k(tmp_path / "p.zip", {"b": np.asarray([BOX] * 3)}, {"b": np.full(3, 0.04)})
    with ZipFile(tmp_path / "p.zip") as package:
        package.extractall(tmp_path)
    # As its ExperimentGOT10k.report does.
    boxes = np.loadtxt(tmp_path / "b/b_001.txt", delimiter=",")
    times = np.loadtxt(tmp_path / "b/b_time.txt", delimiter=",")
    assert (boxes.shape, times.shape) == ((3, 4), (3,))
    assert np.mean(1.0 / times[times > 0]) == pytest.approx(25)


@pytest.mark.parametrize("seconds", [{}, {"b": np.zeros(2)}, {"b": np.zeros((1, 1))}])
def test_got10k_needs_a_time_for_each_frame(seconds, tmp_path):
    with pytest.raises(ValueError, match=r"track of 'b' has 1 boxes and times of shape \([0-9, ]"):
        pack_got10k(tmp_path / "p.zip", {"b": np.asarray([BOX])}, seconds)
    assert not list(tmp_path.iterdir())


def test_trackingnets_package_has_a_file_a_sequence_and_no_folder(tmp_path):
    path = tmp_path / "TrackingNet.zip"
    path.write_text("of another run")
    pack_trackingnet(path, TWO)
    assert members(path) == {"a-1.txt": LINE + "1.0000,2.0000,10.5000,20.0000\n", "b.txt": LINE}


def test_a_package_with_a_box_that_no_server_takes_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"track of 'b' frame 1 has the box .*allowed are finite"):
        pack_trackingnet(tmp_path / "p.zip", {**TWO, "b": np.asarray([BOX, NAN])})
    assert not list(tmp_path.iterdir())


def test_a_folder_gives_the_sequences_asked_for_and_names_the_rest(tmp_path):
    for name, boxes_xyxy in TWO.items():
        write_boxes(tmp_path / f"{name}.txt", boxes_xyxy)
    found = read_box_folder(tmp_path, ["b"])
    assert list(found.results) == ["b"]
    np.testing.assert_array_equal(found.results["b"], TWO["b"])
    assert found.extra == ("a-1.txt",)
    with pytest.raises(ValueError, match=r"has no c.txt; there are b.txt of the 2 expected and"):
        read_box_folder(tmp_path, ["b", "c"])
    (tmp_path / "b.txt").write_text("1,2,3\n")
    with pytest.raises(ValueError, match=r"b.txt, line 1: '1,2,3' has 3 columns"):
        read_box_folder(tmp_path, ["b"])


def test_a_result_line_is_the_corner_as_it_is_and_the_size(tmp_path):
    path = tmp_path / "car-1.txt"
    write_boxes(path, np.asarray([[1, 2, 11.5, 22], [-3.25, 0, 0, 7]]))
    lines = ["1.0000,2.0000,10.5000,20.0000", "-3.2500,0.0000,3.2500,7.0000"]
    assert path.read_text().splitlines() == lines


@given(
    corners=st.lists(
        st.tuples(*[st.floats(-3000, 3000)] * 2, *[st.floats(0, 3000)] * 2), min_size=1, max_size=5
    )
)
@settings(max_examples=30, deadline=None)
def test_boxes_come_back_as_written(corners, tmp_path_factory):
    path = tmp_path_factory.mktemp("boxes") / "S.txt"
    boxes = np.asarray(corners)
    boxes[:, 2:] += boxes[:, :2]
    write_boxes(path, boxes.astype(np.float32))
    np.testing.assert_allclose(read_boxes(path), boxes, atol=2e-3)


@pytest.mark.parametrize("line", ["1,2,3,4", "1\t2\t3\t4", "1 2  3 4 ", "1.0, 2.0, 3.0, 4.0"])
def test_files_of_others_are_read(line, tmp_path):
    path = tmp_path / "S.txt"
    path.write_text(f"{line}\r\n{line}\n\n")
    assert read_boxes(path).tolist() == [[1, 2, 4, 6]] * 2


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("1,2,3", "has 3 columns, expected 4: x,y,w,h"),
        ("1,2,,3,4", "has 5 columns"),
        ("", "has 1 columns"),
        ("1,2,x,4", "'x' is not a number, expected numbers: x,y,w,h"),
        ("1,2,1_0,4", "'1_0' is not a number, expected numbers"),
        ("1,2,\u0661,4", "'\u0661' is not a number, expected numbers"),
        ("1,2,nan,4", "allowed are finite numbers, width and height not below 0"),
        ("1,2,-3,4", "allowed are finite numbers, width and height not below 0"),
    ],
)
def test_a_malformed_line_is_named(line, reason, tmp_path):
    path = tmp_path / "S.txt"
    path.write_text(f"1,2,3,4\n{line}\n1,2,3,4\n")
    with pytest.raises(ValueError, match=rf"S\.txt, line 2: '{line}'.*{reason}"):
        read_boxes(path)


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "S.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"S\.txt is empty, expected a line x,y,w,h"):
        read_boxes(tmp_path / "S.txt")


@pytest.mark.parametrize("box", [NAN, [5, 0, 4, 1]])
def test_boxes_that_no_server_takes_are_not_written(box, tmp_path):
    with pytest.raises(ValueError, match=r"track frame 1 has the box .*allowed are finite numbers"):
        write_boxes(tmp_path / "S.txt", np.asarray([BOX, box]))
