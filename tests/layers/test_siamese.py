"""One geometry: response maps follow from the sizes, and a value that cannot be is quoted."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from halftrack.layers import SiameseGeometry
from halftrack.models import SiamRPNConfig


@pytest.mark.parametrize(("size", "response"), [(255, 25), (191, 17), (223, 21), (271, 27)])
def test_the_response_map_is_the_networks(size: int, response: int) -> None:
    geometry = SiameseGeometry(search_size=size)
    assert geometry.response_size == response
    model = SiamRPNConfig(geometry=geometry).build().eval()
    with torch.no_grad():
        cells = model.features(torch.zeros(1, 3, size, size))[0].shape[-1]
    assert cells == geometry.cells(size)


@pytest.mark.parametrize("size", [239, 255, 271])
def test_a_response_map_is_centred_on_its_region(size: int) -> None:
    geometry = SiameseGeometry(search_size=size)
    side = geometry.response_size
    assert geometry.anchors(side, side, "cpu").mean(dim=0).tolist()[:2] == pytest.approx(
        (-geometry.anchors(side, side, "cpu").mean(dim=0)[2:]).tolist(), abs=1e-4
    )


def test_anchors_lie_around_the_middle_cell() -> None:
    geometry = SiameseGeometry(anchor_scale=6.0)
    anchors = geometry.anchors(3, 5, "cpu")
    assert anchors.shape == (3 * 5 * 5, 4)
    middle = anchors[(1 * 5 + 2) * 5 + 2]
    assert middle.tolist() == [-24, -24, 24, 24]
    assert (anchors[-3] - middle).tolist() == [16, 8, 16, 8]


@pytest.mark.parametrize(
    ("field", "value", "told"),
    [
        ("template_size", 0, "template_size=0: expected a whole number at least 1, at most 4096"),
        ("search_size", 100, "template_size=127, search_size=100"),
        ("template_size", 31, "template_cells=7, template_size=31: the template's maps have 3"),
        # Half a stride, or the rest of one, off the middle.
        ("search_size", 251, "search_size=251, template_size=127: .* as 239 or 255"),
        ("search_size", 247, "search_size=247, template_size=127: .* as 239 or 255"),
        ("template_size", 119, "template_cells=7, template_size=119: of 14 cells a side"),
        ("context_amount", -0.5, "context_amount=-0.5"),
        ("anchor_scale", 0.0, "anchor_scale=0.0"),
        ("anchor_ratios", (), r"anchor_ratios=\(\)"),
        ("anchor_ratios", (1.0, 0.0), "anchor_ratios="),
        ("anchor_ratios", (65.0,), "anchor_ratios="),
    ],
)
def test_a_value_that_cannot_be_is_quoted(field: str, value: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SiameseGeometry(**{field: value})
