"""Tiled equals whole, at any size and with tiles as small as can be; and only what the plan asks for is run."""

from __future__ import annotations

import dataclasses
import weakref
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import sdk
from sdk import analyzer, artifact, backends, plan, tiles
from sdk.errors import ArtifactInvalid
from tests.sdk import toy

SIZES = [(1, 1), (2, 3), (7, 9), (32, 48), (33, 49), (64, 96), (95, 133), (150, 40)]
NAMES = ("shrink", "local", "rest", "locate")


@pytest.fixture(scope="module", params=("onnxruntime", "openvino"))
def sessions(request, toy_path):
    loaded = artifact.read(toy_path)
    opened = {
        name: backends.get(request.param).open(loaded, name, device="cpu", precision="f32", threads=1) for name in NAMES
    }
    yield opened
    for session in opened.values():
        session.close()


def whole_and_tiled(session, pixels, tiling):
    def submit(piece):
        return session.submit({"pixels": piece})

    return submit(pixels).result(), tiles.run_tiled(submit, pixels, tiling, parallel=3)


@pytest.mark.parametrize("size", SIZES, ids=str)
@pytest.mark.parametrize("tile", [(2, 2), (16, 8), (32, 48)], ids=str)
def test_tiled_equals_whole(sessions, rng, size, tile):
    tiling = dataclasses.replace(toy.TILING, height=tile[0], width=tile[1])
    pixels = rng.uniform(0, 255, (2, *size, 3)).astype(np.float32)
    whole, tiled = whole_and_tiled(sessions["local"], pixels, tiling)
    assert {name: array.shape for name, array in tiled.items()} == {name: array.shape for name, array in whole.items()}
    for name, array in whole.items():
        np.testing.assert_allclose(tiled[name], array, atol=1e-5)


def test_a_halo_too_small_shows(sessions, rng):
    """The test above has teeth: with a pixel less of halo the seams are wrong."""
    pixels = rng.uniform(0, 255, (1, 40, 40, 3)).astype(np.float32)
    tiling = dataclasses.replace(toy.TILING, halo=0, height=8, width=8)
    whole, tiled = whole_and_tiled(sessions["local"], pixels, tiling)
    assert np.abs(tiled["l0"] - whole["l0"]).max() > 1e-2


def test_a_precision_has_tiles_of_its_own():
    tiling = dataclasses.replace(toy.TILING, extents={"f32": (96, 128)})
    assert [(tiling.at(name).height, tiling.at(name).width) for name in ("f32", "bf16")] == [(96, 128), (32, 48)]


@pytest.mark.parametrize(("height", "parallel", "band"), [(512, 2, 256), (512, 1, 300), (90, 4, 23), (12, 4, 8)])
def test_every_core_gets_a_band_unless_it_were_mostly_halo(height, parallel, band):
    tiling = dataclasses.replace(toy.TILING, height=300)
    assert plan.shared_out(tiling, (height, 5000), parallel).height == band


@pytest.mark.parametrize(
    ("sides", "parallel", "expected"),
    [
        ((100, 60), 1, [(100, 60)]),  # 4 x 32 x 48 px are 6144
        ((60, 100), 2, 2 * [(32, 100)]),  # 30 rows, and 2 of halo on the side of the other
        ((64, 96), 8, 8 * [(12, 96)]),  # 8 rows are 4 halos; of the outer two the halo lies within
        ((100, 62), 1, 4 * 2 * [(30, 34)]),
    ],
    ids=str,
)
def test_a_frame_of_few_tiles_is_cut_for_the_sake_of_cores_alone(sides, parallel, expected):
    shape = (1, *sides, 3)
    cut = tiles.tiles(shape, plan.shared_out(toy.TILING, sides, parallel))
    assert [(row.end - row.start, column.end - column.start) for row, column in cut] == expected


@given(
    size=st.integers(1, 3000),
    tile=st.integers(1, 500),
    halo=st.integers(0, 40),
    align=st.sampled_from([1, 2, 4, 8, 16]),
)
def test_spans_cover_once_have_their_halo_and_one_extent(size, tile, halo, align):
    spans = tiles.spans(size, tile, halo=halo, align=align)
    assert [span.low for span in spans] == [0, *(span.high for span in spans[:-1])]
    assert spans[-1].high == size
    assert len({span.end - span.start for span in spans}) == 1
    for span in spans:
        assert 0 <= span.start <= max(0, span.low - halo)
        assert min(size, span.high + halo) <= span.end <= size
        assert span.start % align == span.low % align == 0


@given(size=st.integers(64, 3000), tile=st.integers(64, 500))
def test_tiles_are_not_much_larger_than_wished(size, tile):
    spans = tiles.spans(size, tile, halo=8, align=8)
    assert spans[0].end - spans[0].start <= tile + 2 * 8 + 2 * 8


@pytest.mark.parametrize("working_size", [0, 40, 512])
def test_a_frame_smaller_than_the_working_size_is_left_as_it_is(sessions, frame, working_size):
    ran = []

    def session(name):
        ran.append(name)
        return sessions[name]

    answer = plan.execute(toy.TERMS, session, frame[None], working_size=working_size)
    assert ran == [name for name in NAMES if name != "shrink" or working_size == 40]
    assert list(answer.stages) == ran
    assert answer.heatmap.shape == (1, *frame.shape[:2])
    assert answer.score.shape == (1,)


def test_a_frame_of_one_tile_is_run_not_submitted(sessions, rng):
    """``run`` waits for a request that is free; ``submit`` makes one more."""

    class Running:
        parallel = 1

        def run(self, feeds):
            return sessions["local"].run(feeds)

    def session(name):
        return Running() if name == "local" else sessions[name]

    frame = rng.integers(0, 256, (1, 32, 48, 3), np.uint8)
    assert plan.execute(toy.TERMS, session, frame, working_size=0).heatmap.shape == (1, 32, 48)


@pytest.mark.parametrize(("min_score", "localised"), [(0.0, [1, 1, 1]), (0.5, [0, 1, 0]), (0.99, [0, 0, 0])])
def test_only_frames_that_reach_min_score_are_localised(sessions, min_score, localised):
    frames = np.stack([np.full((20, 31, 3), level, np.uint8) for level in (30, 220, 90)])
    answer = plan.execute(toy.TERMS, sessions.__getitem__, frames, working_size=0, min_score=min_score)
    np.testing.assert_array_equal(answer.localised, np.array(localised, bool))
    if not any(localised):
        assert answer.heatmap is None
        assert "locate" not in answer.stages
        return
    alone = [plan.execute(toy.TERMS, sessions.__getitem__, one[None], working_size=0).heatmap[0] for one in frames]
    expected = [heatmap for heatmap, kept in zip(alone, localised, strict=True) if kept]
    np.testing.assert_allclose(answer.heatmap, expected, atol=1e-6)


def test_a_plan_in_the_wrong_order_is_refused(sessions, frame):
    terms = dataclasses.replace(toy.TERMS, plan=toy.PLAN[2:])
    with pytest.raises(ArtifactInvalid, match=r"makes \['l0', 'l1'\] for rest.onnx"):
        plan.execute(terms, sessions.__getitem__, frame[None], working_size=0)


def test_a_tiled_graph_of_several_inputs_is_refused(sessions, frame):
    steps = (toy.PLAN[1], dataclasses.replace(toy.PLAN[2], tiling=toy.TILING))
    with pytest.raises(ArtifactInvalid, match=r"rest\.onnx is tiled and has 2 inputs"):
        plan.execute(dataclasses.replace(toy.TERMS, plan=steps), sessions.__getitem__, frame[None], working_size=0)


def test_maps_do_not_outlive_their_readers(sessions, frame):
    """Those of a photograph of 24 megapixels are gigabytes, which its heatmap comes on top of."""
    made, left = {}, {}

    class Watched:
        parallel = 1

        def __init__(self, name):
            self.name = name

        def run(self, feeds):
            left[self.name] = sorted(name for name, array in made.items() if array() is not None)
            # An idle request of OpenVINO refers to what it read last: here to copies.
            outputs = sessions[self.name].run({name: array.copy() for name, array in feeds.items()})
            made.update({name: weakref.ref(array) for name, array in outputs.items()})
            return outputs

    terms = dataclasses.replace(toy.TERMS, plan=(dataclasses.replace(toy.PLAN[1], tiling=None), *toy.PLAN[2:]))
    plan.execute(terms, Watched, frame[None], working_size=0)
    assert left == {"local": [], "rest": ["l0", "l1"], "locate": ["f1", "f2", "f3", "f4", "score"]}


def test_the_stages_are_the_whole_time(toy_path, frame, monkeypatch):
    """By a clock that only reading, graphs and the verdict move."""
    now = [0.0]
    clock = SimpleNamespace(perf_counter=lambda: now[0])
    monkeypatch.setattr(analyzer, "time", clock)
    monkeypatch.setattr(plan, "time", clock)

    def taking(seconds: float, real: object) -> object:
        def called(*arguments: object, **settings: object) -> object:
            now[0] += seconds
            return real(*arguments, **settings)

        return called

    monkeypatch.setattr(analyzer, "convert", taking(0.5, analyzer.convert))
    monkeypatch.setattr(analyzer, "judge", taking(0.25, analyzer.judge))
    with sdk.load(toy_path, backend="onnxruntime", decode="inline", threads=1) as loaded:
        for seconds, graph in ((8.0, "local"), (4.0, "rest"), (2.0, "locate")):
            session = loaded._here().session(graph, precision="f32")
            monkeypatch.setattr(session, "run", taking(seconds, session.run))
        found = loaded.analyze(frame[:32, :48]).latency  # one tile
    assert found.stages == {"decode": 500, "local": 8000, "rest": 4000, "locate": 2000, "result": 250}
    assert found.total == sum(found.stages.values())
