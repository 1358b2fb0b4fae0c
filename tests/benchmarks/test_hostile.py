"""What damaged files do to the service is counted, and whatever is no answer is told."""

from __future__ import annotations

import json
import os

import pytest

pytest.importorskip("fastapi", reason="the extra serve is not installed")

from benchmarks import hostile
from benchmarks.mutation import mutated
from tests.sdk import toy


def test_odd_files_come_between_the_damaged_ones_and_after_them(tmp_path):
    odd = [tmp_path / name for name in ("a", "b", "c")]
    for path in odd:
        path.write_text(path.name)
    sent = list(hostile.mixed(range(5, 21), odd, root=tmp_path))
    assert [name for name, _ in sent if len(name) == 1] == ["a", "b", "c"]
    assert [name for name, _ in sent][5] == "a"
    assert {name: read() for name, read in sent}["mutated 9"] == mutated(9)[1]
    assert len(sent) == 19


def test_what_is_no_answer_is_told():
    seen = hostile.Seen()
    hostile.note(seen, "one", 200, {"action": "pass", "error": None})
    lost = "the file cannot be decoded: the decoding process was stopped by signal 11"
    hostile.note(seen, "two", 200, {"action": "review", "error": {"type": "DecodeFailed", "problem": lost}})
    hostile.note(seen, "three", 500, {"error": {"type": "ServiceRefused", "problem": "fault"}})
    hostile.note(seen, "four", None, {"error": {"type": "ConnectionResetError"}})
    assert seen.statuses == {"200": 2, "500": 1, "None": 1}
    assert seen.outcomes == {"pass": 1, "DecodeFailed": 1, "ServiceRefused": 1, "ConnectionResetError": 1}
    assert seen.unexpected == ["three: 500 ServiceRefused", "four: None ConnectionResetError"]
    assert seen.decoders_lost == 1


def test_memory_is_that_of_the_process_and_what_it_starts():
    watch = hostile.Watch(os.getpid())
    with watch:
        watch._ending.wait(3 * hostile.SAMPLE_SECONDS)
    assert os.getpid() in watch.processes
    assert all(mib > 10 for mib in watch.mib)


@pytest.mark.slow
def test_a_run_is_written(tmp_path):
    model = toy.build(tmp_path / "toy")
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "empty").touch()
    (tmp_path / "odd" / "text").write_text("no picture")
    sent = ["--mutated", "30", "--odd", str(tmp_path / "odd"), "--connections", "3"]
    assert hostile.main(["--artifact", str(model), "--results", str(tmp_path), *sent]) == 0
    result = json.loads((tmp_path / "hostile-toy-cpu.json").read_text())
    assert (result["uploads"], result["statuses"], result["unexpected"]) == (32, {"200": 31, "422": 1}, [])
    assert result["service_lasted"] and result["traces_in_log"] == 0
    assert result["outcomes"]["DecodeFailed"] >= 10
    assert 0 < result["memory_mib"]["second_tenth"] <= result["memory_mib"]["peak"]
