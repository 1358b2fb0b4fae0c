"""Records in a file: chained, whole after a crash, each once."""

from __future__ import annotations

import json

import pytest

from sdk.errors import BadSetting, EvidenceInvalid
from sdk.evidence.chain import check_chain
from sdk.integrations import locks
from sdk.integrations.outputs import Lines


@pytest.fixture
def records(examiner, upload):
    """Of a file that is analysed, of the same under another content type's name, and of one that is none."""
    first = examiner.examine(upload).record
    other = json.loads(json.dumps(first))
    other["decision"]["content"] = "scan"
    return [first, other, examiner.examine(b"no image").record]


def written(path, records) -> list[bool]:
    lines = Lines(path)
    new = [lines.write(each, key="", headers={}) for each in records]
    lines.flush()
    lines.close()
    return new


def texts(path) -> list[str]:
    return path.read_text("ascii").splitlines()


def test_each_examination_is_written_once_over_any_number_of_runs(tmp_path, records):
    path = tmp_path / "records.jsonl"
    assert written(path, [*records, records[0]]) == [True, True, True, False]
    assert written(path, records) == [False, False, False]
    assert len(texts(path)) == 3
    check_chain(texts(path))


@pytest.mark.parametrize("cut", [1, 20, 300])
def test_a_line_that_a_crash_cut_off_is_removed_and_written_anew(tmp_path, records, cut):
    path = tmp_path / "records.jsonl"
    written(path, records)
    path.write_bytes(path.read_bytes()[:-cut])
    assert written(path, records) == [False, False, True]
    assert len(texts(path)) == 3
    check_chain(texts(path))


def test_a_file_of_something_else_is_left_alone(tmp_path, records):
    path = tmp_path / "notes.txt"
    path.write_text("buy milk\n")
    with pytest.raises(EvidenceInvalid, match=r"notes\.txt, line 1: .* not JSON"):
        Lines(path)
    assert path.read_text() == "buy milk\n"


def test_a_second_writer_is_refused_until_the_first_has_closed_its_file(tmp_path, records, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE_S", 0.0)
    path = tmp_path / "records.jsonl"
    first = Lines(path)
    with pytest.raises(BadSetting, match=r"another process writes .*records\.jsonl(.|\n)*a file of its own"):
        Lines(path)
    first.close()
    assert written(path, records[:1]) == [True]
