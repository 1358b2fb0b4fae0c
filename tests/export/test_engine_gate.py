"""What the gate is given to judge by, and that what it judged on a simulated GPU is what goes if it fails."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from export.engines import gate
from export.targets import aotinductor, tensorrt
from sdk import artifact
from sdk.engines.cache import Cache
from sdk.engines.profile import Profile
from sdk.errors import BadSetting, ParityFailed

ONE = Profile.only(24, 32)
ALL = Profile(smallest=(8, 8), usual=(24, 32), largest=(64, 64))


def model(off: float = 0.0):
    """Answers as the simulated engine does, but for ``off``."""

    def answer(frames, _working_size=0):
        heatmap = frames[..., 0] / 255 + off
        return heatmap, heatmap.mean((1, 2))

    return answer


@pytest.fixture
def build(package, artifact_path, photographs, monkeypatch):
    """The target, for a model of our own."""
    loaded = artifact.read(artifact_path)

    def built(thawed, profile, **settings):
        monkeypatch.setattr(tensorrt, "thaw", lambda _: thawed)
        return tensorrt.build(loaded, precision="fp16", profile=profile, photographs=photographs, **settings)

    return built


def test_a_kept_engine_that_fails_serves_no_longer(session, package, build):
    session.build(ALL)  # as a warm-up does, which judges nothing
    with pytest.raises(ParityFailed, match="differ from the torch model"):
        build(model(off=0.5), ONE)
    assert package.builds == 1
    assert Cache().entries() == []


def test_an_engine_is_judged_by_its_own_answers(session, package, build):
    """One for a single size stands first for that size; it is not what is asked for, and here it does not even run."""
    session.build(ONE)
    (other,) = Cache().entries()
    Cache().put(other.key, other.read().replace(b"24, 32", b"16, 16"), facts=other.facts)
    digests, rows = build(model(), ALL)
    assert package.builds == 1 + 2
    assert len(digests) == 3
    assert [row.size for row in rows] == 2 * [(8, 8), (24, 32), (64, 64)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_engine_whose_judgement_breaks_off_is_not_kept(device, package, build, error):
    def breaking(frames, _working_size=0):
        if frames.shape[1] > 8:
            raise error("broken off")
        return model()(frames)

    with pytest.raises(error, match="broken off"):
        build(breaking, ALL)
    assert package.builds == 1
    assert Cache().entries() == []
    assert not device.streams  # the session was closed


@pytest.mark.parametrize("mask", [np.ones((24, 32), bool), np.eye(30, dtype=bool)], ids=["white", "of another size"])
def test_pairs_that_judge_nothing_are_refused_before_a_build(package, build, artifact_path, photographs, mask):
    pairs = [(np.zeros((*mask.shape, 3), np.uint8), mask)]
    words = r"no frame of the evaluation folder, masked in part, is one for the engine: 24x32 px[\s\S]*give a folder"
    with pytest.raises(BadSetting, match=words):
        build(model(), ONE, evaluation=pairs)
    assert package.builds == 0
    settings = {"device": "cpu", "precision": "f32", "profile": ONE, "photographs": photographs}
    with pytest.raises(BadSetting, match=words):
        aotinductor.export(artifact.read(artifact_path), evaluation=pairs, **settings)


@pytest.mark.parametrize("white", [None, 0, 255])
def test_a_folder_that_judges_nothing_is_refused(tmp_path, white):
    """Without a mask, or with one that is black or white all over."""
    folders = {"images": 128} if white is None else {"images": 128, "masks": white}
    for name, value in folders.items():
        (tmp_path / name).mkdir()
        cv2.imwrite(str(tmp_path / name / "a.png"), np.full((24, 32, 3), value, np.uint8))
    with pytest.raises(BadSetting, match=r"has no mask that is white in part[\s\S]*masks of the same names"):
        gate.evaluation(tmp_path)
    half = np.zeros((24, 32), np.uint8)
    half[:12] = 255
    (tmp_path / "masks").mkdir(exist_ok=True)
    cv2.imwrite(str(tmp_path / "masks" / "a.png"), half)
    ((_, mask),) = gate.evaluation(tmp_path)
    np.testing.assert_array_equal(mask, half > 0)


def test_without_a_folder_no_pair_is_asked_for():
    assert gate.evaluation(None) == gate.fitting([], ONE) == []
