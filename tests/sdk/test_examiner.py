"""Examiners: several models and policies that fit each other."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import sdk
from sdk import policy_file
from sdk.errors import BadSetting, LargePicture, UnknownName
from sdk.examiner import Examiner, opened
from tests.sdk import toy
from tests.sdk.files import saved

POLICY = 'schema = 1\nname = "p"\nversion = 1\n'


@pytest.fixture
def policy(tmp_path):
    def written(text: str):
        (tmp_path / "p.toml").write_text(POLICY + text)
        return policy_file.read(tmp_path / "p.toml")

    return written


@pytest.fixture(scope="module")
def pair(toy_path, tmp_path_factory):
    """The toy and another model of the same graphs."""
    other = toy.build(tmp_path_factory.mktemp("other") / "second", name="second")
    with (
        sdk.load(toy_path, backend="onnxruntime", decode="inline", threads=1) as one,
        sdk.load(other, backend="onnxruntime", decode="inline", threads=1) as two,
    ):
        yield [one, two]


def test_every_model_is_asked_and_recorded(pair, policy, picture):
    examiner = Examiner(pair, policy("agree = 2\n[thresholds.default]\nreview = { score = 0.0 }"))
    found = examiner.examine(saved(picture.repeat(2, axis=0).repeat(2, axis=1), "PNG"))
    assert [model["name"] for model in found.record["models"]] == ["toy", "second"]
    assert found.decision.action == "review"
    assert len(found.decision.reasons) == 2


def test_a_policy_that_could_not_judge_is_refused_at_once(pair, policy):
    with pytest.raises(BadSetting, match="wants 1 of third"):
        Examiner(pair, policy('models = ["third"]\n[thresholds.default]'))
    with pytest.raises(BadSetting, match="was not measured"):
        Examiner(pair, policy("[thresholds.default]\n[thresholds.claim]\nreview = { false_alarms = 0.3 }"))
    with pytest.raises(BadSetting, match=r"default, second: block from 0\.5000 lies below review from 0\.6000"):
        Examiner(pair, policy("[thresholds.default]\nreview = { false_alarms = 0.05 }\nblock = { score = 0.5 }"))
    with pytest.raises(BadSetting, match="have one name"):
        Examiner([pair[0], pair[0]], policy("[thresholds.default]"))


def test_every_fault_of_policies_is_named_at_once(pair, policy):
    first = policy('models = ["third", "toy"]\n[thresholds.default]\nreview = { false_alarms = 0.3 }')
    other = policy("[thresholds.default]\nreview = { false_alarms = 0.05 }\nblock = { score = 0.5 }")
    with pytest.raises(BadSetting, match="faults in the policies:\n") as told:
        Examiner(pair, first, other)
    for words in (
        "wants 1 of third, toy, and only toy, second was run",
        "0.3 of authentic photographs",
        "default, toy",
    ):
        assert words in str(told.value)


def test_a_content_type_that_only_the_policy_on_trial_lacks_turns_nothing_away(pair, policy, picture):
    decides = policy("[thresholds.default]\n[thresholds.claim]\nreview = { score = 0.0 }")
    examiner = Examiner(pair, decides, policy("[thresholds.default]"))
    found = examiner.examine(saved(picture, "PNG"), content="claim")
    assert (found.decision.content, found.shadow.content) == ("claim", "default")
    with pytest.raises(UnknownName, match="choose one of: claim, default"):
        examiner.examine(saved(picture, "PNG"), content="avatar")


@pytest.mark.parametrize("given", ["photo.jpg", Path("photo.jpg"), None, 3, [b"file"]], ids=repr)
def test_what_is_no_files_bytes_is_told_what_would_be(pair, policy, given):
    examiner = Examiner(pair, policy("[thresholds.default]"))
    with pytest.raises(BadSetting, match=rf"(?s)a {type(given).__name__}, and needs.*read_bytes"):
        examiner.examine(given)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_bytes_of_every_kind_are_one_file(pair, policy, picture, kind):
    data = saved(picture, "PNG")
    examiner = Examiner(pair[:1], policy("[thresholds.default]"))
    assert examiner.examine(kind(data)).record["input"] == examiner.examine(data).record["input"]


def test_a_large_picture_is_told_whatever_becomes_of_its_metadata(pair, policy, picture):
    class Failing:
        def facts(self, data):
            raise RuntimeError("no process can be started")

    examiner = Examiner(pair[:1], policy("[thresholds.default]"), metadata=Failing())
    with pytest.raises(LargePicture, match="is 64 x 48 = 3,072 pixels, more than 3,071"):
        examiner.examine(saved(picture, "PNG"), most_pixels=64 * 48 - 1)


def test_one_model_is_opened_by_its_path_alone(toy_path):
    with opened(str(toy_path)) as examiner:
        assert list(examiner.analyzers) == ["toy"]


def test_models_are_opened_by_path_and_closed_in_the_end(toy_path, picture):
    with opened([toy_path]) as examiner:
        (analyzer,) = examiner.analyzers.values()
        before = set(threading.enumerate())
        examiner.examine(saved(picture, "PNG"))
        beside = [thread for thread in set(threading.enumerate()) - before if thread.name.startswith("metadata")]
        assert beside
    assert not any(thread.is_alive() for thread in beside)
    with pytest.raises(sdk.AnalyzerClosed, match="was closed"):
        analyzer.open()
    with pytest.raises(sdk.AnalyzerClosed, match="this Examiner was closed"):
        examiner.examine(saved(picture, "PNG"))
