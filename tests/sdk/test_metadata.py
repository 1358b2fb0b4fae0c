"""What files say about themselves: few facts, no place, no names, and nothing that a decision rests on."""

from __future__ import annotations

import json
import pickle

import jsonschema
import pytest
from PIL import Image

from benchmarks import mutation
from sdk import decoding_process, metadata
from sdk.evidence import chain, record
from sdk.evidence.report import said
from sdk.examiner import Examiner
from sdk.metadata import MetadataReader
from tests.sdk.files import saved

PRIVATE = {0x010F: "Maker\x1b[2J", 0x0110: "Model", 0x013B: "Jane Doe", 0x8298: "Jane Doe", 0x9286: "my holiday",
           0xA431: "SN12345"}  # fmt: skip
PLACE = {1: "N", 2: (52.0, 31.0, 12.25), 3: "E", 4: (13.0, 24.0, 18.5)}


@pytest.fixture(scope="module")
def reader():
    with MetadataReader(workers=1) as made:
        yield made


@pytest.fixture(scope="module")
def manifested() -> bytes:
    pytest.importorskip("c2pa", reason="c2pa-python is not installed")
    from tests.sdk.manifests import signed

    return signed(mutation.sound("jpeg"), "image/jpeg")


def photograph(picture, **further: object) -> bytes:
    exif = Image.Exif()
    for tag, value in PRIVATE.items():
        exif[tag] = value
    exif.get_ifd(0x8825).update(PLACE)
    exif.get_ifd(0x8769).update({0x9003: "2026:11:21 12:00:00", 0xA002: 4000, 0xA003: 3000, 0xA434: "a lens"})
    return saved(picture, "JPEG", exif=exif.tobytes(), **further)


def test_exif_is_told_without_place_and_names(reader, picture):
    found = reader.facts(photograph(picture))
    assert found["exif"] == {
        "maker": "Maker [2J", "camera": "Model", "lens": "a lens", "software": None, "taken": "2026:11:21 12:00:00",
        "modified": None, "width": 4000, "height": 3000, "has_place": True, "has_thumbnail": False,
    }  # fmt: skip
    text = json.dumps(found)
    assert not [word for word in ("Jane", "holiday", "SN12345", "52", "12.25", "18.5") if word in text]


@pytest.mark.parametrize("name", [name for name in mutation.names() if "exif" in mutation.FORMATS[name][1]])
def test_exif_is_found_in_every_format_that_has_it(reader, name):
    found = reader.facts(mutation.sound(name))["exif"]
    assert (found["maker"], found["has_place"]) == ("Maker", True)


@pytest.mark.parametrize("data", [b"no picture", mutation.sound("jpeg"), mutation.sound("ppm")], ids=len)
def test_a_file_that_says_nothing_is_no_error(reader, data):
    found = reader.facts(data)
    assert (found["exif"], found["c2pa"], found["problem"]) == (None, None, None)


def test_a_manifest_is_told_and_whether_it_holds(reader, manifested):
    found = reader.facts(manifested)
    assert found["c2pa"] == {
        "state": "Valid", "problems": ["signingCredential.untrusted"], "generator": "test-press 1", "signed": None,
        "issuer": "Test Press", "actions": ["c2pa.created"], "source_types": ["trainedAlgorithmicMedia"],
        "ingredients": 0,
    }  # fmt: skip
    assert not [word for word in ("Someone", "holiday") if word in json.dumps(found)]
    changed = reader.facts(manifested[:-100] + bytes([manifested[-100] ^ 1]) + manifested[-99:])["c2pa"]
    assert changed["state"] == "Invalid"
    assert "assertion.dataHash.mismatch" in changed["problems"]


def test_damaged_files_never_raise(reader, manifested):
    for number in range(60):
        reader.facts(mutation.mutated(number)[1])
    for at in range(0, 2000, 97):
        reader.facts(manifested[:at] + bytes(8) + manifested[at + 8 :])


def test_a_reader_that_is_taken_over_is_a_problem_in_words(picture, monkeypatch):
    lying = decoding_process.BOOTSTRAP.replace(
        "serve(start)",
        "from sdk import metadata_worker\nmetadata_worker._answer = lambda *_: "
        "{'exif': None, 'c2pa': {'state': 'Trusted'}}\nserve(start)",
    )
    monkeypatch.setattr(decoding_process, "BOOTSTRAP", lying)
    with MetadataReader(workers=1) as reader:
        found = reader.facts(photograph(picture))
    assert (found["exif"], found["c2pa"]) == (None, None)
    assert "the decoding process " in found["problem"]
    assert said(found, when="2026-11-21") == [("Metadata", f"cannot be read: {found['problem']}")]


def test_the_settings_travel_in_a_pickle():
    assert isinstance(pickle.loads(pickle.dumps(MetadataReader(workers=1))), MetadataReader)


def test_facts_stand_in_the_record_and_change_nothing_else(reader, analyzer, picture):
    from sdk import policy_file

    policy = policy_file.read(policy_file.find("default"))
    with_facts, without = (Examiner([analyzer], policy, metadata=each) for each in (reader, None))
    schema = json.loads(record.SCHEMA_FILE.read_text())
    for data in (photograph(picture), b"no picture"):
        one, other = with_facts.examine(data), without.examine(data)
        assert one.record["metadata"] == reader.facts(data)
        assert other.record["metadata"] is None
        changed = {key for key in one.record if one.record[key] != other.record[key]} - {"timing_ms"}
        assert changed == {"metadata"}
        for found in (one, other):
            jsonschema.validate(json.loads(chain.seal(found.record, previous=None, signer=None)), schema)


def test_facts_in_words(reader, picture, manifested, monkeypatch):
    words = dict(said(reader.facts(photograph(picture)), when="2026-11-21"))
    assert (words["Camera"], words["Size in EXIF"], words["C2PA manifest"]) == ("Model", "4000 x 3000 px", "none")
    assert words["Place"] == "has coordinates, which are not repeated here"
    words = dict(said(reader.facts(manifested), when="2026-11-21"))
    assert words["Metadata"] == "no EXIF"
    assert (words["Signed by"], words["Actions"]) == ("Test Press", "c2pa.created, trainedAlgorithmicMedia")
    monkeypatch.setattr(metadata, "_readers", lambda: {"exif": "Pillow 1", "c2pa": None})
    assert (
        dict(said(reader.facts(b"-"), when="2026-11-21"))["C2PA manifest"]
        == "not looked for: c2pa-python is not installed"
    )
    assert said(None, when="2026-11-21") == [("Metadata", "not read")]
