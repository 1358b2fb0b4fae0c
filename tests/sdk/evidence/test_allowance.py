"""What another machine may make of the same numbers is accepted; anything beyond is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from sdk.evidence.allowance import Allowance
from sdk.results import regions

TOLERANCE = 0.01


@pytest.fixture
def heatmap():
    """Over 0.5 in one square; beside it a column that is as near to that as the tolerance."""
    found = np.zeros((50, 60), np.float32)
    found[10:30, 20:40] = 0.8
    found[10:30, 40] = 0.495
    return found


def result(heatmap, level: float, **changed: object) -> dict:
    found = [dataclasses.asdict(region) for region in regions(heatmap, level)]
    share = np.count_nonzero(heatmap >= level) / heatmap.size
    told = {"score": 0.4, "mask_threshold": 0.5, "mask_share": share, "regions": found, "members": {}}
    return told | {"heatmap_sha256": "here"} | changed


def settled(then: dict, heatmap, *, is_steady: bool = False) -> set[str]:
    """Names of what differs in the end."""
    now = result(heatmap, 0.5)
    Allowance((TOLERANCE, TOLERANCE)).settle(then, now, heatmap, is_steady=is_steady)
    return {name for name in now if now[name] != then[name]}


def test_another_machine_may_add_up_in_another_order(heatmap):
    other = result(heatmap, 0.493, score=0.405, heatmap_sha256="there")
    assert other["regions"][0]["area"] == 420  # with the column
    assert settled(other, heatmap) == settled(other, heatmap, is_steady=True) == set()


@pytest.mark.parametrize(
    ("name", "value"),
    [("score", 0.42), ("mask_share", 0.2), ("mask_share", 0.1), ("regions", [])],
)
def test_beyond_the_tolerance_a_figure_differs(heatmap, name, value):
    assert settled(result(heatmap, 0.5, heatmap_sha256="there") | {name: value}, heatmap) == {name}


@pytest.mark.parametrize(
    "change", [{"area": 421}, {"x1": 61}, {"x0": 25}, {"probability": 0.82}, {"probability": 0.4}, {"area": 0}]
)
def test_a_region_that_the_heatmap_cannot_have_had_differs(heatmap, change):
    then = result(heatmap, 0.5, heatmap_sha256="there")
    then["regions"][0] |= change
    assert settled(then, heatmap) == {"regions"}


def test_the_same_heatmap_gives_the_same_figures_exactly(heatmap):
    assert settled(result(heatmap, 0.5, score=0.4001), heatmap) == {"score"}
    near = result(heatmap, 0.5)
    near["regions"][0]["probability"] += 1e-7
    assert settled(near, heatmap) == set()


def test_where_all_figures_are_the_same_a_steady_machine_has_the_same_heatmap(heatmap):
    other = result(heatmap, 0.5, heatmap_sha256="there")
    assert (settled(other, heatmap, is_steady=True), settled(other, heatmap)) == ({"heatmap_sha256"}, set())
