"""Videos under a policy: counted frame by frame, recorded, replayed."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

import sdk
from sdk import policy_file
from sdk.errors import EvidenceInvalid, UnsupportedImage
from sdk.evidence import chain, record
from sdk.evidence.replay import replay
from sdk.evidence.report import page
from sdk.examiner import Examiner
from sdk.video.limits import VideoLimits
from tests.sdk import toy
from tests.sdk.clips import STILL, VIDEO, Thresholds, grey, toy_of_video
from tests.sdk.files import saved
from tests.sdk.videos import make

POLICY = """
schema = 1
name = "videos"
version = 1
[thresholds.default]
minimum_frames = {share}
review = {{ false_alarms = 0.05 }}
block = {{ score = {block} }}
"""
DARK, LIGHT = grey(20), grey(240)
"""Scores of 0.07 and 0.91."""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return toy_of_video(tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="module")
def analyzer(path):
    with sdk.load(path, backend="onnxruntime", threads=1) as loaded:
        yield loaded


@pytest.fixture
def policy(tmp_path):
    def written(share: float, block: float = 1.0):
        (tmp_path / "policy.toml").write_text(POLICY.format(share=share, block=block))
        return policy_file.read(tmp_path / "policy.toml")

    return written


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    """Ten frames, of which the fifth and the sixth are light."""
    frames = [DARK] * 4 + [LIGHT] * 2 + [DARK] * 4
    return make(tmp_path_factory.mktemp("clip") / "a.mp4", frames).read_bytes()


def seal(found) -> str:
    text = chain.seal(found.record)
    jsonschema.validate(json.loads(text), json.loads(record.SCHEMA_FILE.read_text()))
    return text


@pytest.mark.parametrize(
    ("share", "block", "action"),
    [(0.2, 1.0, "review"), (0.21, 1.0, "pass"), (0.2, 0.9, "block"), (0.0, 0.9, "block")],
)
def test_so_many_frames_have_to_lead_to_an_action(analyzer, policy, clip, share, block, action):
    found = Examiner([analyzer], policy(share, block)).examine(clip)
    assert found.decision.action == action
    video = json.loads(seal(found))["video"]
    assert video["frames"] == 10
    assert video["actions"] == {"pass": 8, "review": 2 * (block == 1.0), "block": 2 * (block < 1.0)}
    assert [still["frame"] for still in video["worst"][:3]] == [4, 5, 0]
    assert video["worst"][0]["time_s"] == 0.16
    spans = video["models"]["toy"]["spans"]
    assert [(span["first"], span["last"], span["verdict"]) for span in spans] == [
        (0, 3, "no_evidence"), (4, 5, "manipulated"), (6, 9, "no_evidence")
    ]  # fmt: skip
    assert found.analyses["toy"].score == video["worst"][0]["scores"]["toy"] == found.record["results"][0]["score"]


def test_every_model_sees_every_frame_and_a_policy_on_trial_counts_its_own(analyzer, policy, clip, tmp_path):
    levels = {"0": Thresholds(photographs=STILL, video=VIDEO | {"0.05": 0.25})}
    other = toy.build(tmp_path / "second", name="second", thresholds=levels)
    with sdk.load(other, backend="onnxruntime", threads=1) as second:
        examiner = Examiner([analyzer, second], policy(0.2), policy(0.5))
        found = examiner.examine(clip)
    assert (found.decision.action, found.shadow.action) == ("review", "pass")
    assert set(found.video.to_dict()["models"]) == set(found.analyses) == {"toy", "second"}
    assert found.record["video"]["models"]["toy"] == found.record["video"]["models"]["second"]


def test_a_video_is_examined_the_same_each_time(analyzer, policy, clip):
    examiner = Examiner([analyzer], policy(0.1))
    first, second = (record.fingerprint(json.loads(seal(examiner.examine(clip)))) for _ in range(2))
    assert first == second


def test_a_video_is_replayed_and_reported(analyzer, policy, clip, path, tmp_path):
    text = seal(Examiner([analyzer], policy(0.1), policy(0.1)).examine(clip))
    means = {"artifacts": {"toy": path}, "policies": [tmp_path / "policy.toml"]}
    (again,) = replay(record.loads(text), clip, **means)
    assert (again.matches, again.identical, again.differs, again.unchecked) == (True, True, (), ())
    shown = page(text, [again])
    assert "0.16 s (frame 4, score 0.90" in shown
    assert "<td>manipulated</td>" in shown
    assert "<th>Authentic frames</th><td>1% of them from 0.3000, 5% of them from 0.2000</td>" in shown
    changed = json.loads(text)
    changed["video"]["models"]["toy"]["verdicts"]["manipulated"] = 1
    (again,) = replay(record.loads(record.dumps(changed)), clip, **means)
    assert (again.matches, again.identical) == (False, False)
    assert again.differs == ("video.models.toy.verdicts.manipulated: 1 in the record, 2 now",)
    changed["decision"]["reasons"] = ["<script>"]  # a record may come from anybody
    assert "<script" not in page(record.dumps(changed), [again])
    changed["video"]["worst"][0]["frame"] = 10
    with pytest.raises(EvidenceInvalid, match="has no frame 10"):
        replay(record.loads(record.dumps(changed)), clip, **means)
    with pytest.raises(EvidenceInvalid, match="not whole: video"):
        record.loads(record.dumps(changed | {"video": {"frames": 3, "worst": [], "models": {}}}))


def test_a_video_of_which_the_end_was_cut_from_the_record_does_not_match(analyzer, policy, clip, path, tmp_path):
    examiner = Examiner([analyzer], policy(0.1))
    whole, start = json.loads(seal(examiner.examine(clip))), json.loads(seal(examiner.examine(clip)))
    start["video"]["frames"] = 4
    (again,) = replay(start, clip, artifacts={"toy": path}, policies=[tmp_path / "policy.toml"])
    assert again.differs == ("video.frames: 4 in the record, 10 now",)
    limit = {"type": "LimitExceeded", "problem": "late", "remedy": "none"}
    (again,) = replay(whole | {"error": limit}, clip, artifacts={"toy": path}, policies=[tmp_path / "policy.toml"])
    assert again.unchecked == ("error: no replay can tell what limit ended the examination",)
    (again,) = replay(whole, clip, artifacts={"toy": path})
    assert (again.differs, again.matches) == ((), False)
    assert [each.partition(":")[0] for each in again.unchecked] == ["decision", "video"]


def test_what_was_found_before_a_limit_counts_beside_the_limit(analyzer, policy, clip, path):
    examiner = Examiner([analyzer], policy(0.1), video=VideoLimits(frames=9))
    found = examiner.examine(clip)  # its header announces ten
    assert (found.decision.action, found.error.problem[-39:], found.analyses) == (
        "review", "frames or more, over the limit frames=9", {}
    )  # fmt: skip
    assert seal(found)
    slow = Examiner([analyzer], policy(0.1), video_seconds=1e-9).examine(clip)
    assert (slow.decision.action, slow.record["video"]["frames"]) == ("review", 1)
    assert "longer than the limit" in slow.decision.reasons[-1]
    (again,) = replay(record.loads(seal(slow)), clip, artifacts={"toy": path})
    assert again.identical


def children() -> set[str]:
    """The numbers of the processes that this one started and that have not been waited for."""
    return {number for listing in Path("/proc/self/task").glob("*/children") for number in listing.read_text().split()}


def test_what_stops_the_examination_leaves_no_process(analyzer, policy, clip):
    before, readers = children(), []

    def stop() -> None:
        readers.append(children() - before)
        if len(readers) == 3:
            raise KeyboardInterrupt("enough")

    with pytest.raises(KeyboardInterrupt, match="enough"):
        Examiner([analyzer], policy(0.1)).examine(clip, between=stop)
    assert [len(each) for each in readers] == [1, 1, 1]
    assert children() <= before


@pytest.mark.parametrize("cut", [100, 400])
def test_a_video_that_cannot_be_read_is_decided_about(analyzer, policy, clip, cut):
    found = Examiner([analyzer], policy(0.1)).examine(clip[:cut])
    assert (found.decision.action, type(found.error).__name__, found.video.footage.worst) == (
        "review", "DecodeFailed", []
    )  # fmt: skip
    assert json.loads(seal(found))["video"] is None


def test_a_stream_takes_the_bytes_of_a_video_and_of_nothing_else(analyzer, clip):
    with sdk.load(analyzer.recipe.model, backend="onnxruntime", threads=1, decode="inline") as inline:
        for reader in (analyzer, inline):
            assert len([moment.index for moment in sdk.stream(memoryview(clip), reader)]) == 10
    with pytest.raises(sdk.SdkError, match="a stream cannot be made of bytes"):
        sdk.stream(saved(DARK, "PNG"), analyzer)
    with pytest.raises(UnsupportedImage, match="is a video"):
        analyzer.analyze(clip)
    with pytest.raises(sdk.LimitExceeded, match="over the limit bytes=9"):
        next(sdk.stream(clip, analyzer, limits=VideoLimits(bytes=9)))
