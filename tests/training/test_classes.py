"""Classes come from label maps that somebody has named, and from no other."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from training.annotation import UNKNOWN
from training.classes import Classes, names
from training.data import Photographs
from training.synthesis import KINDS, synthesize
from training.synthesis.life import sampled

NAMES = {"0": "null", "1": "hat", "2": "bag", "3": "coat"}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Photographs:
    """Two photographs with a bag, one of them with a hat, one with objects that nobody has named."""
    folder = tmp_path_factory.mktemp("labelled") / "photographs"
    rng = np.random.default_rng(0)
    shown = {"named/images/a.png": (2,), "named/images/b.png": (1, 2), "unnamed/images/c.png": (1, 2, 3)}
    for file, values in shown.items():
        path, mask = folder / file, folder / file.replace("images", "masks")
        for place in (path, mask):
            place.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 256, (96, 96, 3), dtype=np.uint8))
        labels = np.zeros((96, 96), np.uint8)
        for value in values:
            labels[:, 24 * value : 24 * value + 20] = value
        cv2.imwrite(str(mask), labels)
    (folder / "named" / "labels.json").write_text(json.dumps(NAMES))
    return Photographs(folder, "all")


def test_the_commonest_are_counted_by_photographs(source: Photographs) -> None:
    assert names(source) == {"bag": 2, "hat": 1}
    assert Classes(source, 1).names == ("bag",)
    assert Classes(source, 2).names == ("bag", "hat")


def test_samples_have_the_classes_of_their_photograph(source: Photographs) -> None:
    classes = Classes(source, 1)
    found = set()
    for index in range(30):
        sample = synthesize(source, seed=1, index=index, size=64, video=False)
        made = classes.of(sample)
        assert made.shape == sample.mask.shape
        if "unnamed" in str(sample.recipe["origin"]):
            assert (made == UNKNOWN).all()
        else:
            np.testing.assert_array_equal(made, sample.labels == 2)
        found |= set(np.unique(made).tolist())
    assert found == {0, 1, UNKNOWN}


def test_more_classes_than_there_are_names_are_refused(source: Photographs) -> None:
    with pytest.raises(ValueError, match="names 2 classes of objects, not 3\n  -> ask for fewer classes"):
        Classes(source, 3)


def test_a_listing_that_names_nothing_is_refused(source: Photographs, tmp_path: Path) -> None:
    folder = tmp_path / "photographs"
    (folder / "masks").mkdir(parents=True)
    cv2.imwrite(str(folder / "a.png"), np.zeros((8, 8, 3), np.uint8))
    cv2.imwrite(str(folder / "masks" / "a.png"), np.ones((8, 8), np.uint8))
    for content in ("[1, 2]", '{"one": "bag"}', "bag"):
        (folder / "labels.json").write_text(content)
        with pytest.raises(ValueError, match="names no label values"):
            names(Photographs(folder, "all"))


def test_labels_are_brought_to_another_side_without_new_values(rng: np.random.Generator) -> None:
    labels = rng.choice(np.array([0, 3, 200], np.uint8), (37, 37))
    for side in (16, 37, 80):  # no centre lies on an edge between two pixels
        made = sampled(labels, side)
        where = (np.arange(side) + 0.5) * 37 / side
        np.testing.assert_array_equal(made, labels[np.ix_(where.astype(int), where.astype(int))])


def test_only_the_kinds_that_are_asked_for_are_made(source: Photographs) -> None:
    def kinds(asked: tuple[str, ...], hardness: float) -> set[str]:
        made = [synthesize(source, seed=2, index=i, size=64, hardness=hardness, kinds=asked) for i in range(12)]
        return {str(sample.recipe["kind"]) for sample in made}

    assert kinds(("authentic",), 0.0) == kinds(("authentic",), 1.0) == {"authentic"}
    assert kinds(("splice", "removal"), 1.0) == {"splice", "removal"}
    assert "authentic" not in kinds(tuple(KINDS), 0.0)
