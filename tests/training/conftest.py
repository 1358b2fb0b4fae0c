"""A small folder of made-up photographs in the layout of a real one."""

from __future__ import annotations

import csv
from contextlib import contextmanager

import cv2
import numpy as np
import pytest

from training.fit import Fit

FOLDERS = {"metadata_extractor": 12, "lire_cc": 2, "ccp": 4}
SIDE = 160


def picture(rng):
    """Smooth colours, grain and edges: something that compression and filters act on."""
    coarse = rng.uniform(20, 235, (6, 6, 3)).astype(np.float32)
    smooth = cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    cv2.circle(smooth, (80, 60), 30, rng.uniform(0, 255, 3).tolist(), -1)
    return np.clip(smooth + 4 * rng.standard_normal((SIDE, SIDE, 3)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def photographs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photographs") / "train"
    rng = np.random.default_rng(5)
    rows = []
    for name, count in FOLDERS.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            file, mask = f"train/{name}/{index}.jpg", ""
            cv2.imwrite(str(folder.parent / file), picture(rng), [cv2.IMWRITE_JPEG_QUALITY, 92])
            if name == "ccp":
                mask = f"train/{name}/{index}.png"
                labels = np.zeros((SIDE, SIDE), np.uint8)
                cv2.circle(labels, (80, 60), 30, 3, -1)
                cv2.imwrite(str(folder.parent / mask), labels)
            camera = f"Maker {index // 2}" if name != "ccp" else ""
            rows.append({"file": file, "mask": mask, "source_path": f"{name}/{index}.jpg", "camera": camera})
    with (folder / "SOURCES.csv").open("w", newline="") as listing:
        writer = csv.DictWriter(listing, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return folder


@pytest.fixture(scope="session")
def interrupted():
    """A context in which runs are stopped after a share of their budget."""

    @contextmanager
    def stopped(share):
        run = Fit.run
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Fit, "run", lambda fit, *args, until, **how: run(fit, *args, until=min(until, share), **how))
            yield

    return stopped
