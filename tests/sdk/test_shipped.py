"""The artifact that ships, on frames and files that nobody trained it on: each ends in a result or a typed error."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest

import sdk
from sdk import artifact
from sdk.errors import LimitExceeded, SdkError, UnsupportedImage

THIN = [(1, 1), (8, 8), (1, 200), (5, 700), (3000, 40)]
EACH = 3
"""Files of a category of awkward ones that are analysed; there are 21 categories."""


@pytest.fixture(scope="module", params=("onnxruntime", "openvino"))
def analyzer(request):
    with sdk.load(backend=request.param, working_size=512, threads=1) as loaded:
        yield loaded


@pytest.fixture(scope="module")
def reference():
    with sdk.load(backend="onnxruntime", working_size=512, threads=1) as loaded:
        yield loaded


def assert_sound(analysis: sdk.Analysis) -> None:
    assert analysis.heatmap.shape == analysis.frame.shape[:2]
    assert 0 <= analysis.heatmap.min() <= analysis.heatmap.max() <= 1  # false for NaN, too
    assert 0 <= analysis.score <= 1
    json.loads(analysis.to_json())


@pytest.mark.parametrize("size", THIN, ids=str)
def test_tiny_and_thin_frames_have_a_result(analyzer, rng, size):
    analysis = analyzer.analyze(rng.integers(0, 256, (*size, 3), np.uint8))
    assert_sound(analysis)
    assert analysis.verdict.name == "inconclusive"


@pytest.mark.parametrize("size", [*THIN, (512, 16)], ids=str)
def test_thin_frames_agree_with_the_reference_runtime(analyzer, reference, rng, size):
    frame = rng.integers(0, 256, (*size, 3), np.uint8)
    found, expected = analyzer.analyze(frame), reference.analyze(frame)
    assert found.score == pytest.approx(expected.score, abs=1e-3)
    np.testing.assert_allclose(found.heatmap, expected.heatmap, atol=0.02)  # a fiftieth of the scale


@pytest.mark.parametrize("model", artifact.models())
def test_the_default_working_size_is_the_best_of_the_card(model):
    shipped = artifact.read(artifact.find(model))
    card = (shipped.path / "card.md").read_text(encoding="utf-8")
    figures = json.loads(card.partition("```json\n")[2].partition("```")[0])["synthetic"]["by_working_size"]
    best = max(figures, key=lambda size: figures[size]["pixel_auc"] + figures[size]["image_auc"])
    assert int(best) == shipped.contract.working_size
    assert {int(size) for size in figures} == set(shipped.contract.working_sizes)


@pytest.fixture(scope="module")
def sample(shared_data) -> list[dict]:
    """Rows of the list of awkward files, evenly spread over each category."""
    with (shared_data / "odd" / "SOURCES.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    by_category: dict[str, list[dict]] = {}
    for row in rows:
        by_category.setdefault(row["category"], []).append(row)
    return [row for found in by_category.values() for row in found[:: -(-len(found) // EACH)]]


def test_every_awkward_file_ends_in_an_analysis_or_a_typed_error(shared_data, sample, capfd):
    analysed, refused = 0, {}
    with sdk.load(working_size=512, threads=1) as analyzer:
        for row in sample:
            try:
                analysis = analyzer.analyze(shared_data / "odd" / row["file"])
            except SdkError as error:
                refused.setdefault(row["category"], []).append(error)
                continue
            analysed += 1
            assert_sound(analysis)
    assert capfd.readouterr() == ("", "")
    assert len(sample) >= 50
    assert analysed >= len(sample) // 2
    assert all(isinstance(error, LimitExceeded | UnsupportedImage) for error in refused["bombs"])
    assert "exif_orientation" not in refused
