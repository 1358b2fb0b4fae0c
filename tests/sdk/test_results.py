"""A result says what it is: in Python, on one line, and in JSON that its published schema accepts."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from sdk import results
from sdk.errors import BadFrame
from sdk.results import MAX_REGIONS, MIN_REGION, SCHEMA, Analysis, Latency, Region, Runtime, regions
from sdk.verdict import Verdict

RUNTIME = Runtime(
    model="toy",
    version="0.1",
    status="preview",
    artifact="0" * 64,
    backend="openvino",
    device="cpu",
    precision="f32",
    working_size=0,
    decoder="none: numpy.ndarray",
    against={"openvino on cuda": ["openvino does not run on cuda"]},
)


def analysis(heatmap: np.ndarray | None = None, **changes: object) -> Analysis:
    given = Analysis(
        pixels=np.zeros((40, 60, 3) if heatmap is None else (*heatmap.shape, 3), np.uint8),
        heatmap=heatmap,
        score=0.7,
        mask_threshold=0.5,
        verdict=Verdict("suspicious", "score 0.700 reaches 0.600"),
        latency=Latency({"decode": 1.0, "local": 2.5}, 4.0),
        runtime=RUNTIME,
    )
    return dataclasses.replace(given, **changes)


@pytest.fixture
def spotted() -> np.ndarray:
    """A heatmap with a large faint spot, a small strong one that touches nothing, and one pixel diagonal to it."""
    heatmap = np.zeros((40, 60), np.float32)
    heatmap[2:12, 3:33] = 0.6
    heatmap[20:24, 50:54] = 0.9
    heatmap[24, 54] = 0.5
    return heatmap


def test_regions_are_boxes_areas_and_means_largest_first(spotted):
    assert [dataclasses.astuple(region) for region in regions(spotted, 0.5)] == [
        (3, 2, 33, 12, 300, pytest.approx(0.6)),
        (50, 20, 55, 25, 17, pytest.approx((16 * 0.9 + 0.5) / 17)),
    ]
    assert regions(spotted, 0.95) == ()


@given(arrays(np.uint8, st.tuples(st.integers(1, 24), st.integers(1, 24)), elements=st.integers(0, 1)))
def test_outlined_parts_are_the_labelled_ones(mask):
    outlined, labelled = (
        sorted((*box, inside.tobytes()) for box, inside in parts(mask, 1))
        for parts in (results._outlined, results._labelled)
    )
    assert outlined == labelled


def test_a_part_within_the_hole_of_another_is_a_region(monkeypatch):
    heatmap = np.full((600, 600), 0.9, np.float32)
    heatmap[100:500, 100:500] = 0
    heatmap[200:400, 200:400] = 0.7
    expected = [(0, 0, 600, 600, 200_000, pytest.approx(0.9)), (200, 200, 400, 400, 40_000, pytest.approx(0.7))]
    assert [dataclasses.astuple(region) for region in regions(heatmap, 0.5)] == expected
    monkeypatch.setattr(results, "EDGES", 10**6)
    assert [dataclasses.astuple(region) for region in regions(heatmap, 0.5)] == expected


def test_noise_is_not_outlined(rng, monkeypatch):
    monkeypatch.setattr(results, "_outlined", None)
    noise = regions(rng.random((200, 200)).astype(np.float32), 0.5)
    assert noise[0].area > 10_000


def test_regions_move_with_what_is_in_the_heatmap(rng):
    heatmap = np.zeros((64, 80), np.float32)
    heatmap[3:43, 5:55] = rng.random((40, 50))
    down, right = 11, 14
    expected = [
        dataclasses.replace(each, x0=each.x0 + right, x1=each.x1 + right, y0=each.y0 + down, y1=each.y1 + down)
        for each in regions(heatmap, 0.8)
    ]
    assert len(expected) > 10
    assert list(regions(np.roll(heatmap, (down, right), (0, 1)), 0.8)) == expected


def test_regions_are_capped():
    heatmap = np.zeros((64, 64), np.float32)
    heatmap[::4, ::2] = heatmap[1::4, ::2] = heatmap[2::4, ::2] = 1
    assert len(regions(heatmap, 0.5)) == MAX_REGIONS
    assert isinstance(regions(heatmap, 0.5)[0], Region)


def test_what_is_too_small_to_be_a_region_stays_in_the_mask():
    heatmap = np.zeros((100, 100), np.float32)
    least = int(MIN_REGION * heatmap.size)
    heatmap[10, 10 : 10 + least] = heatmap[20, 10 : 10 + least - 1] = heatmap[30, 10] = 1
    assert [region.area for region in regions(heatmap, 0.5)] == [least] == [5]
    assert analysis(heatmap).mask.sum() == 2 * least


def test_mask_and_regions_follow_from_the_heatmap(spotted):
    found = analysis(spotted)
    np.testing.assert_array_equal(found.mask, spotted >= 0.5)
    assert found.localised
    assert len(found.regions) == 2


def test_without_localisation_there_is_nothing_rather_than_zeros():
    found = analysis()
    assert (found.heatmap, found.mask, found.regions, found.localised) == (None, None, (), False)
    assert found.to_dict()["mask_share"] is None


def test_repr_reads_well_and_shows_no_pixels(spotted):
    assert repr(analysis(spotted)) == (
        "Analysis(suspicious, score=0.700, mask=13.2% of 60x40, 4.0 ms, toy 0.1, PREVIEW weights)"
    )
    assert "not localised" in repr(analysis())
    assert repr(Latency({"decode": 1.0}, 4.0, 3)) == "Latency(4.0 ms: decode 1.0; batch of 3)"


def test_json_is_one_line_of_plain_types_and_every_key_is_in_the_schema(spotted):
    text = analysis(spotted, orientation=6, notes=("converted from CMYK",)).to_json()
    assert "\n" not in text
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    fields = json.loads(text)
    assert set(fields) == set(schema["required"])
    assert set(schema["properties"]) - set(fields) == {"path", "overlay"}
    for part in ("verdict", "size", "latency_ms", "runtime"):
        assert set(fields[part]) == set(schema["properties"][part]["required"])
    assert set(fields["regions"][0]) == set(schema["properties"]["regions"]["items"]["required"])


def test_the_schema_accepts_results_and_refuses_others(spotted):
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    for found in (analysis(spotted), analysis(), analysis(spotted, orientation=8, notes=("a",))):
        jsonschema.validate(json.loads(found.to_json()), schema)
    with pytest.raises(jsonschema.ValidationError, match=r"1\.5 is greater than the maximum"):
        jsonschema.validate(analysis(score=1.5).to_dict(), schema)


def test_a_heatmap_of_another_size_is_refused(spotted):
    with pytest.raises(BadFrame, match=r"shape \(40, 60\) does not belong to a frame of shape \(60, 40, 3\)"):
        analysis(spotted, pixels=np.zeros((60, 40, 3), np.uint8))
