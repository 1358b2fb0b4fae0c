"""Records: deterministic, as their schema says, and without anything of the file but its digest."""

from __future__ import annotations

import hashlib
import io
import json

import jsonschema
import pytest
from PIL import Image

from sdk.errors import EvidenceInvalid
from sdk.evidence import chain, pictures, record
from tests.sdk.files import saved, scene

SCHEMA = json.loads(record.SCHEMA_FILE.read_text(encoding="utf-8"))


def test_a_record_is_what_the_published_schema_says(examiner, upload):
    text = chain.seal(examiner.examine(upload).record)
    jsonschema.validate(json.loads(text), SCHEMA)


def test_a_file_that_cannot_be_analysed_has_a_record_too(examiner):
    found = examiner.examine(b"\xff\xd8\xff no image")
    jsonschema.validate(json.loads(chain.seal(found.record)), SCHEMA)
    assert found.record["error"]["type"] == "DecodeFailed"
    assert (found.decision.action, found.record["results"]) == ("review", [])


def test_two_examinations_of_a_file_differ_in_nothing_but_time(examiner, upload):
    first, second = (examiner.examine(upload).record for _ in range(2))
    assert record.fingerprint(first) == record.fingerprint(second)
    assert record.dumps({**first, "timing_ms": 0}) == record.dumps({**second, "timing_ms": 0})


def test_what_a_certificate_is_worth_on_a_later_day_makes_no_other_examination(examiner, upload):
    manifest = {"state": "Valid", "problems": [], "issuer": "somebody"}
    found = examiner.examine(upload).record | {"metadata": {"exif": None, "c2pa": manifest}}
    later = found | {"metadata": {"exif": None, "c2pa": manifest | {"state": "Invalid", "problems": ["expired"]}}}
    other = found | {"metadata": {"exif": None, "c2pa": manifest | {"issuer": "somebody else"}}}
    assert record.fingerprint(found) == record.fingerprint(later) != record.fingerprint(other)


def test_the_record_holds_what_was_found(examiner, upload):
    found = examiner.examine(upload)
    (analysis,), (result,) = found.analyses.values(), found.record["results"]
    assert result["score"] == analysis.score
    assert result["heatmap_sha256"] == hashlib.sha256(analysis.heatmap.tobytes()).hexdigest()
    assert found.record["input"] == {
        "sha256": hashlib.sha256(upload).hexdigest(), "bytes": len(upload), "height": 70, "width": 90,
        "orientation": 1, "decoder": analysis.runtime.decoder, "notes": [],
    }  # fmt: skip
    assert found.record["models"][0]["artifact"] == analysis.runtime.artifact


def test_both_policies_are_recorded_and_only_one_decides(examiner, rng):
    dim = saved(scene(rng, 70, 90, high=160), "PNG")
    found = examiner.examine(dim)
    assert (found.decision.action, found.shadow.action) == ("pass", "review")
    assert found.record["decision"]["policy"]["name"] == "toy"
    assert found.record["shadow"]["policy"] == {
        "name": "trial", "version": 2, "sha256": examiner.shadow.sha256,
    }  # fmt: skip


def test_where_a_photograph_was_taken_is_nowhere(examiner, rng):
    exif = Image.Exif()
    gps = exif.get_ifd(0x8825)
    gps[1], gps[2], gps[29] = "N", (48.0, 51.0, 29.6), "2026:11:02"
    exif[0x010F] = "Camera of Somebody"
    file = saved(scene(rng, 70, 90, low=100, high=250), "JPEG", exif=exif)
    assert Image.open(io.BytesIO(file)).getexif().get_ifd(0x8825)
    found = examiner.examine(file)
    shown = pictures.frame_jpeg(next(iter(found.analyses.values())).frame)
    for said in (chain.seal(found.record).encode(), shown):
        assert not any(secret in said for secret in (b"2026:11:02", b"Somebody", b"Exif"))


def test_a_job_is_named_by_file_artifacts_policies_and_content():
    parts = {"artifacts": ["b", "a"], "policies": ["p"], "content": "default"}
    key = record.job_key("f", **parts)
    assert key == record.job_key("f", **parts | {"artifacts": ["a", "b"]})
    others = [("g", {}), ("f", {"artifacts": ["a"]}), ("f", {"policies": ["q"]}), ("f", {"content": "claim"})]
    assert key not in {record.job_key(file, **parts | change) for file, change in others}


@pytest.mark.parametrize(
    ("text", "problem"),
    [("{", "not JSON"), ("[" * 100_000, "not JSON"), ('{"schema": NaN}', "NaN is no number"),
     ("[]", "schema None"), ('{"schema": "imdl.evidence/9"}', "imdl.evidence/9"),
     ('{"schema": "imdl.evidence/3", "input": 3}', "not whole: input")],
)  # fmt: skip
def test_what_is_no_record_is_refused(text, problem):
    with pytest.raises(EvidenceInvalid, match=problem):
        record.loads(text)


def test_a_record_of_the_schema_before_is_read_and_one_of_a_later_is_not(examiner, upload):
    found = examiner.examine(upload).record
    before = {key: value for key, value in found.items() if key != "video"} | {"schema": "imdl.evidence/2"}
    old = chain.seal(before)
    assert record.loads(old)["results"] == json.loads(old)["results"]
    both = [old, chain.seal(found, previous=record.digest(old))]
    assert chain.check_chain(both) == record.digest(both[1])
    with pytest.raises(EvidenceInvalid, match="take the one that wrote it"):
        record.loads(old.replace("imdl.evidence/2", "imdl.evidence/1"))


@pytest.mark.parametrize(
    "changed", [{"frames": -1}, {"frames": True}, {"worst": []}, {"models": {}}, {"models": {"toy": 3}}]
)
def test_a_record_whose_video_was_cut_is_not_whole(examiner, upload, changed):
    video = {"frames": 2, "worst": [{"frame": 0}], "models": {"toy": {}}}
    whole = examiner.examine(upload).record | {"video": video}
    assert record.loads(chain.seal(whole))["video"] == video
    with pytest.raises(EvidenceInvalid, match="not whole: video"):
        record.loads(chain.seal(whole | {"video": video | changed}))


def test_a_record_says_everything_once(examiner, upload):
    text = chain.seal(examiner.examine(upload).record)
    assert record.dumps(record.loads(text)) == text
    for other in ('{"decision":{"action":"pass"},' + text[1:], text.replace('"action":', '"action":"pass","action":')):
        with pytest.raises(EvidenceInvalid, match="is there twice"):
            record.loads(other)
