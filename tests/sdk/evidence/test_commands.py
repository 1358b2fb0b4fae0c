"""The verbs that make, check, repeat and show evidence."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from sdk import __main__ as cli
from sdk.evidence import record
from sdk.examiner import Examiner
from tests.sdk import toy
from tests.sdk.files import saved, scene


@pytest.fixture
def imdl(capsys):
    def run(*arguments: object) -> tuple[int, list[str], str]:
        status = cli.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return status, said.out.splitlines(), said.err

    return run


@pytest.fixture
def files(tmp_path, rng, upload):
    """One that passes, one that is reviewed, one that is no image."""
    dim = saved(scene(rng, 70, 90, high=160), "PNG")
    for name, data in {"dim.png": dim, "bright.png": upload, "broken.jpg": b"\xff\xd8\xff no image"}.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path


@pytest.fixture
def recorded(imdl, files, toy_path, policy_path):
    """The record of the file that is reviewed."""
    _, (text,), _ = imdl("record", files / "bright.png", "--model", toy_path, "--policy", policy_path)
    path = files / "bright.json"
    path.write_text(text + "\n")
    return path


def test_record_answers_with_its_exit_code(imdl, files, toy_path, policy_path):
    options = ("--model", toy_path, "--policy", policy_path)
    assert imdl("record", files / "dim.png", *options)[0] == 0
    status, lines, _ = imdl("record", *(files / name for name in ("dim.png", "bright.png", "broken.jpg")), *options)
    assert [json.loads(line)["decision"]["action"] for line in lines] == ["pass", "review", "review"]
    assert status == 1
    status, lines, words = imdl("record", files / "none.png", files / "dim.png", *options)
    assert (status, len(lines)) == (2, 1)
    assert words == f"{files / 'none.png'} cannot be opened: No such file or directory\n  -> check the path\n"


def test_of_several_files_the_first_is_not_timed_with_a_start(imdl, files, toy_path, policy_path, monkeypatch):
    done, warmup, examine = [], Examiner.warmup, Examiner.examine
    monkeypatch.setattr(Examiner, "warmup", lambda *given: (done.append("warmup"), warmup(*given)))
    monkeypatch.setattr(Examiner, "examine", lambda *given, **more: (done.append("file"), examine(*given, **more))[1])
    options = ("--model", toy_path, "--policy", policy_path)
    imdl("record", files / "dim.png", *options)
    imdl("record", files / "dim.png", files / "bright.png", *options)
    assert done == ["file", "warmup", "file", "file"]


def test_records_are_chained_and_signed_and_verified(imdl, files, toy_path, policy_path, key_path):
    options = ("--model", toy_path, "--policy", policy_path, "--sign", key_path)
    _, lines, _ = imdl("record", files / "dim.png", files / "bright.png", *options)
    (files / "all.jsonl").write_text("\n".join(lines))
    status, (answer,), _ = imdl("verify", files / "all.jsonl", "--key", key_path.with_name("public.pem"))
    told = {"records": 2, "signed": 2, "last": record.digest(lines[1]), "checked": ["chain", "signatures"]}
    assert (status, json.loads(answer)) == (0, told)
    (files / "all.jsonl").write_text(lines[1])
    status, _, words = imdl("verify", files / "all.jsonl")
    assert status == 1
    assert "does not follow" in words
    assert "--previous SHA256 names the record before" in words
    previous = json.loads(lines[1])["previous"]
    assert imdl("verify", files / "all.jsonl", "--previous", previous)[0] == 0


def test_verify_says_what_it_did_not_check(imdl, files, recorded, toy_path, policy_path, key_path):
    status, (answer,), words = imdl("verify", recorded)
    assert (status, json.loads(answer)["checked"]) == (0, ["chain"])
    assert "not checked: who wrote the records: none is signed" in words
    assert "not checked: whether records came before the first: --previous" in words
    _, (text,), _ = imdl("record", files / "dim.png", "--model", toy_path, "--policy", policy_path, "--sign", key_path)
    (files / "signed.json").write_text(text)
    words = imdl("verify", files / "signed.json")[2]
    assert "not checked: signatures, which 1 of 1 bear: give the public key, --key public.pem" in words
    words = imdl("verify", files / "signed.json", "--key", key_path.with_name("public.pem"))[2]
    assert words == "not checked: " + "\nnot checked: ".join(
        ("whether records came before the first: --previous says after which it has to come",
         "whether the end was cut off: compare `last` with what you know of it\n")
    )  # fmt: skip
    status, _, words = imdl("verify", recorded, "--key", key_path.with_name("public.pem"))
    assert (status, "record 1: the record is not signed" in words) == (1, True)


def test_a_key_that_is_missing_or_of_another_kind_is_told(imdl, recorded, key_path, tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    pem, info = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "ec.pem").write_bytes(ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(pem, info))
    for key, problem in {
        tmp_path / "none.pem": "none.pem cannot be read: No such file or directory\n  -> openssl genpkey",
        key_path: "holds a private key, and checking takes the public one\n  -> openssl pkey -in",
        tmp_path / "ec.pem": "holds a key of another kind: ",
    }.items():
        status, lines, words = imdl("verify", recorded, "--key", key)
        assert (status, lines) == (2, [])
        assert problem in words
    status, _, words = imdl("record", recorded, "--sign", key_path.with_name("public.pem"))
    assert (status, "holds a public key, and signing takes the private one" in words) == (2, True)


@pytest.mark.parametrize("kind", ["none", "folder", "empty"])
@pytest.mark.parametrize("verb", ["verify", "replay", "report", "capacity"])
def test_what_is_no_file_of_records_is_told_in_a_line(imdl, recorded, tmp_path, verb, kind):
    given = tmp_path / kind
    if kind == "folder":
        given.mkdir()
    elif kind == "empty":
        given.touch()
    more = {"verify": (), "capacity": ("--target", "1", "--p99", "1000")}.get(verb, (recorded.with_suffix(".png"),))
    status, lines, words = imdl(verb, given, *more)
    assert (status, lines) == (2, [])
    assert (words.count("\n"), "\n  -> give " in words) == (2, True)


def test_a_digest_and_a_page_that_cannot_be_are_told(imdl, recorded, means, tmp_path):
    status, _, words = imdl("verify", recorded, "--previous", "abc")
    assert (status, "--previous abc is no SHA-256\n  -> give its 64" in words) == (2, True)
    status, _, words = imdl("report", recorded, recorded.with_suffix(".png"), *means, "--out", tmp_path)
    assert (status, "cannot be written: Is a directory\n  -> name another file" in words) == (2, True)


@pytest.fixture
def means(toy_path, policy_path):
    """The artifact and the policy of the record, which do not ship."""
    return "--model", f"toy={toy_path}", "--policy", policy_path


def test_replay_finds_the_same_score_to_the_bit(imdl, recorded, means):
    status, (line,), _ = imdl("replay", recorded, recorded.with_suffix(".png"), *means)
    told = json.loads(line)
    assert (status, told["matches"], told["identical"], told["elsewhere"]) == (0, True, True, [])
    assert (told["differs"], told["unchecked"]) == ([], [])
    assert told["replayed"] == told["recorded"]


def test_replay_says_when_the_score_is_not_the_recorded_one(imdl, recorded, toy_path):
    found = record.loads(recorded.read_text())
    found["results"][0]["score"] += 0.01
    found["runtime"]["packages"]["numpy"] = "1.0"
    recorded.write_text(record.dumps(found))
    status, (line,), _ = imdl("replay", recorded, recorded.with_suffix(".png"), "--model", f"toy={toy_path}")
    told = json.loads(line)
    assert (status, told["matches"], told["identical"]) == (1, False, False)
    assert told["elsewhere"] == [f"numpy 1.0 -> {np.__version__}"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("decision.action", "pass"),
        ("decision.reasons", ["all is well"]),
        ("decision.policy.version", 3),
        ("error", {"type": "DecodeFailed", "problem": "a", "remedy": "b"}),
        ("input.bytes", 3),
        ("input.decoder", "Pillow 1.0"),
        ("input.height", 71),
        ("input.notes", ["a note"]),
        ("metadata.exif", {"maker": "Leica"} | dict.fromkeys(("camera", "lens", "software", "taken", "modified"))
         | {"width": 1, "height": 1, "has_place": False, "has_thumbnail": False}),
        ("models.0.engine.sha256", "0" * 64),
        ("models.0.licence", "MIT"),
        ("models.0.status", "release"),
        ("models.0.thresholds", {"0.01": 0.1, "0.05": 0.01}),
        ("models.0.version", "9"),
        ("results.0.heatmap_sha256", "0" * 64),
        ("results.0.mask_share", 0.0),
        ("results.0.mask_threshold", 0.9),
        ("results.0.regions", []),
        ("results.0.regions.0.area", 1000),
        ("results.0.score", 0.01),
        ("results.0.verdict", {"name": "no_evidence", "reason": "none", "found": False}),
    ],
)  # fmt: skip
def test_a_field_that_was_edited_is_named(imdl, recorded, means, place, value):
    found = part = record.loads(recorded.read_text())
    *way, name = [int(each) if each.isdecimal() else each for each in place.split(".")]
    for each in way:
        part = part[each]
    assert part[name] != value
    part[name] = value
    recorded.write_text(record.dumps(found))
    status, (line,), _ = imdl("replay", recorded, recorded.with_suffix(".png"), *means)
    told = json.loads(line)
    assert (status, told["matches"]) == (1, False)
    assert {each.partition(": ")[0][: len(place)] for each in told["differs"]} == {place}


def test_a_verdict_and_a_decision_that_fit_a_forged_score_are_named_with_it(imdl, recorded, means):
    found = record.loads(recorded.read_text())
    reason = "score 0.010 stays below 0.600, as 95 % of authentic frames do"
    found["results"][0] |= {"score": 0.01, "verdict": {"name": "no_evidence", "reason": reason, "found": False}}
    found["decision"] |= {"action": "pass", "reasons": ["toy: score 0.010 leads to nothing"]}
    recorded.write_text(record.dumps(found))
    _, (line,), _ = imdl("replay", recorded, recorded.with_suffix(".png"), *means)
    named = {each.partition(": ")[0] for each in json.loads(line)["differs"]}
    wanted = {"decision.action", "decision.reasons.0", "results.0.score", "results.0.verdict.name"}
    assert named >= wanted


def test_what_cannot_be_checked_does_not_match(imdl, recorded, toy_path):
    status, (line,), _ = imdl("replay", recorded, recorded.with_suffix(".png"), "--model", f"toy={toy_path}")
    told = json.loads(line)
    assert (status, told["matches"], told["identical"], told["differs"]) == (1, False, True, [])
    sha256 = record.loads(recorded.read_text())["decision"]["policy"]["sha256"]
    assert told["unchecked"] == [f"decision: no policy at hand has the SHA-256 {sha256}; give it: --policy PATH"]


def test_replay_refuses_another_file_and_another_artifact(imdl, recorded, toy_path, files):
    status, _, words = imdl("replay", recorded, files / "dim.png", "--model", f"toy={toy_path}")
    assert (status, "of another file" in words) == (2, True)
    other = toy.build(files / "toy", version="0.2")
    status, _, words = imdl("replay", recorded, recorded.with_suffix(".png"), "--model", f"toy={other}")
    assert (status, "not the recorded artifact" in words) == (2, True)
    status, _, words = imdl("replay", recorded, recorded.with_suffix(".png"), "--model", "toy")
    assert (status, "has no path" in words) == (2, True)
    found = record.loads(recorded.read_text())
    found["models"][0]["name"] = found["results"][0]["model"] = str(toy_path)  # a record of others opens no path
    recorded.write_text(record.dumps(found))
    status, _, words = imdl("replay", recorded, recorded.with_suffix(".png"))
    assert (status, "no model named" in words) == (2, True)


def test_replay_refuses_a_record_that_is_not_whole(imdl, recorded, toy_path):
    found = record.loads(recorded.read_text())
    del found["models"][0]["engine"]
    recorded.write_text(record.dumps(found))
    status, _, words = imdl("replay", recorded, recorded.with_suffix(".png"), "--model", f"toy={toy_path}")
    assert (status, "not whole: its models" in words) == (2, True)


def test_report_is_one_page_and_the_same_whenever_it_is_made(imdl, recorded, means, files, repository):
    options = (recorded, recorded.with_suffix(".png"), *means)
    assert imdl("report", *options)[:2] == (0, [str(files / "bright.html")])
    again = [sys.executable, "-m", "sdk", "report", *options, "--out", files / "again.html"]
    elsewhere = os.environ | {"PYTHONPATH": str(repository), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run([str(part) for part in again], env=elsewhere, cwd=files, check=True, capture_output=True)
    page = (files / "bright.html").read_bytes()
    assert page == (files / "again.html").read_bytes()
    assert not [link for link in (b'src="http', b"href=", b"<script", b"url(", b"bright.png") if link in page]
    assert page.count(b"data:image/") == 3
    assert b"same to the bit" in page
    assert not [word for word in (b"MATCH:", b"NOT CHECKED", b"see above") if word in page]
    assert b"none: anybody may have changed the record" in page


def test_report_says_first_what_differs_and_marks_it_where_it_stands(imdl, recorded, means):
    found = record.loads(recorded.read_text())
    found["results"][0]["score"] = 0.01
    found["models"][0]["status"] = "release"
    recorded.write_text(record.dumps(found))
    status, *_ = imdl("report", recorded, recorded.with_suffix(".png"), *means)
    page = recorded.with_suffix(".html").read_text()
    assert status == 1
    assert page.index("THIS RECORD DOES NOT MATCH") < page.index("<th>Decision</th>")
    assert "<li>results.0.score: 0.01 in the record, 0.6" in page
    assert "<td>0.010000 [DOES NOT MATCH: see above]</td>" in page
    assert "(release) [DOES NOT MATCH: see above]</h2>" in page
    assert "not everything is, see above" in page
    imdl("report", recorded, recorded.with_suffix(".png"), *means[:2])
    assert "NOT CHECKED when this page was made" in recorded.with_suffix(".html").read_text()


def test_report_shows_words_of_the_record_as_words(imdl, recorded, means):
    found = record.loads(recorded.read_text())
    found["decision"]["reasons"] = ["<script>alert(1)</script>", "\ud800"]
    found["input"]["notes"] = ["<script>"]
    found["signature"] = {"algorithm": "ed25519", "key": "0" * 64, "value": "0" * 128}
    recorded.write_text(record.dumps(found))
    imdl("report", recorded, recorded.with_suffix(".png"), *means)
    page = recorded.with_suffix(".html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert f"key {'0' * 64}; not checked here" in page


@pytest.mark.parametrize(
    ("place", "value", "problem"),
    [
        ("x0", "<script>", "results.0.regions.0.x0 is not integer"),
        ("area", -1, "results.0.regions.0.area is out of its range"),
        ("note", "approved", "results.0.regions.0.note is not known"),
    ],
)
def test_a_record_of_another_form_is_neither_replayed_nor_shown(imdl, recorded, means, place, value, problem):
    found = record.loads(recorded.read_text())
    found["results"][0]["regions"][0][place] = value
    recorded.write_text(record.dumps(found))
    for verb in ("replay", "report"):
        status, lines, words = imdl(verb, recorded, recorded.with_suffix(".png"), *means)
        assert (status, lines) == (2, [])
        assert problem in words


def test_capacity_reads_times_from_records(imdl, tmp_path):
    plain = {"schema": record.SCHEMA, "input": {}, "models": [], "results": [], "decision": {}, "runtime": {}}
    lines = [record.dumps(plain | {"timing_ms": {"total": 90.0 + number}}) for number in range(20)]
    (tmp_path / "records.jsonl").write_text("\n".join(lines))
    status, (line,), words = imdl("capacity", tmp_path / "records.jsonl", "--target", "40 img/s", "--p99", "400ms")
    found = json.loads(line)
    assert (status, 4 < found["machines"] < 20, found["p99_ms"] <= 400) == (0, True, True)
    assert "40 a second x 99.5 ms = 3.98 places busy" in words
    status, _, words = imdl("capacity", tmp_path / "records.jsonl", "--target", "many", "--p99", "400ms")
    assert (status, "--target many is no number" in words) == (2, True)
