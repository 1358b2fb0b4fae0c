"""Predictors that know the truth, and a folder of images to know it of."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from training.evaluation.predictors import Answer

SHAPE = (48, 64)


def answering(name, answer, **settings):
    """A predictor that calls ``answer(frame)``."""
    known = {"identity": {"kind": "made up"}, "mask_threshold": 0.5, "score_thresholds": {}, "video_thresholds": {}}
    known |= settings

    def predict(frame, *, working_size=None):
        del working_size
        return answer(frame)

    return SimpleNamespace(name=name, predict=predict, **known)


def reads_truth(frame):
    """The left third of a forged frame is brighter than anything in an authentic one."""
    heatmap = (frame.min(2) > 150).astype(np.float32)
    return Answer(heatmap, float(heatmap.max()))


@pytest.fixture(scope="module")
def oracle():
    return answering("oracle", reads_truth, score_thresholds={"0.01": 0.9, "0.05": 0.5})


@pytest.fixture(scope="module")
def chance():
    def answer(frame):
        rng = np.random.default_rng(int(frame.astype(np.int64).sum()))
        return Answer(rng.random(frame.shape[:2], np.float32), float(rng.random()))

    return answering("chance", answer)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two sets in the layout with SOURCES.csv, six images each, every second one forged in its left third."""
    tmp_path, rng = tmp_path_factory.mktemp("shared"), np.random.default_rng(7)
    folder, rows = tmp_path / "dev", []
    for name in ("one", "two"):
        (folder / name).mkdir(parents=True)
        for index in range(6):
            frame = rng.integers(30, 120, (*SHAPE, 3), dtype=np.uint8)
            mask = f"dev/{name}/{index}.mask.png" if index % 2 else ""
            if mask:
                frame[:, : SHAPE[1] // 3] += 130
                white = np.zeros(SHAPE, np.uint8)
                white[:, : SHAPE[1] // 3] = 255
                cv2.imwrite(str(tmp_path / mask), white)
            cv2.imwrite(str(tmp_path / f"dev/{name}/{index}.png"), frame)
            role = "tampered" if mask else "authentic"
            rows.append({"file": f"dev/{name}/{index}.png", "set": name, "role": role, "mask": mask, "mask_target": ""})
    with (folder / "SOURCES.csv").open("w", newline="") as listing:
        writer = csv.DictWriter(listing, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder
