"""Accuracy on a set made for it: what the figures say is what is there."""

import csv
import json

import cv2
import numpy as np
import pytest

import sdk
from benchmarks import accuracy
from tests.sdk import toy


@pytest.fixture
def data(tmp_path, rng):
    """Two sets in the layout of a real folder; the masks are the left third."""
    folder = tmp_path / "dev"
    rows = []
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        for index in range(6):
            file, mask = f"dev/{name}/{index}.jpg", f"dev/{name}/{index}.png" if index % 2 else ""
            cv2.imwrite(str(tmp_path / file), rng.integers(0, 256, (72, 90, 3), dtype=np.uint8))
            if mask:
                white = np.zeros((72, 90), np.uint8)
                white[:, :30] = 255
                cv2.imwrite(str(tmp_path / mask), white)
            rows.append({"file": file, "set": name, "role": "", "mask": mask, "mask_target": ""})
    with (folder / "SOURCES.csv").open("w", newline="") as listing:
        writer = csv.DictWriter(listing, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


def test_sets_stay_apart_and_are_counted(data, tmp_path):
    model = toy.build(tmp_path / "toy")
    accuracy.main(["--data", str(data), "--artifact", str(model), "--results", str(tmp_path)])
    result = json.loads((tmp_path / "accuracy-toy.json").read_text(encoding="utf-8"))
    assert [(row["set"], row["manipulated"], row["authentic"]) for row in result["rows"]] == [
        ("one", 3, 3),
        ("two", 3, 3),
    ]
    assert result["artifact"] == sdk.load(model).artifact.digest
    for row in result["rows"]:
        low, high = row["pixel_auc_interval"]
        assert 0 <= low <= row["pixel_auc"] <= high <= 1


def test_a_perfect_map_and_a_perfect_score_reach_one(data):
    def oracle(source):
        name = source.name if hasattr(source, "name") else None
        mask = source.with_suffix(".png") if name else None
        truth = np.zeros((72, 90), np.float32)
        if mask and mask.exists():
            truth[:, :30] = 1
        return Answer(float(truth.max()) if name else 0.5, truth, found=bool(truth.any()))

    row = accuracy.judged(accuracy.sets(data)["one"], oracle)
    assert (row["image_auc"], row["pixel_auc"], row["pixel_f1"], row["tpr_at_fpr_5"]) == (1, 1, 1, 1)
    assert row["image_auc_reencoded"] == 0.5
    assert row["authentic_flagged"] == 0
    assert row["pixel_auc_centre"] < 0.5


class Answer:
    """What an analysis offers to the measuring code."""

    mask_threshold = 0.5

    def __init__(self, score, heatmap, *, found):
        self.score, self.heatmap = score, heatmap
        self.verdict = type("Verdict", (), {"found": found})


def test_the_control_is_a_jpeg_of_one_quality(data):
    first = accuracy.encoded_anew(data / "one" / "0.jpg")
    image = cv2.imdecode(np.frombuffer(first, np.uint8), cv2.IMREAD_COLOR)
    assert first[:2] == b"\xff\xd8"
    assert image.shape == (72, 90, 3)
