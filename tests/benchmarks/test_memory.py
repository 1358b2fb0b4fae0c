"""Peak memory counts the process and what it starts."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from benchmarks import memory
from benchmarks.memory import high_water_mib, main, peak_rss_mib
from tests.sdk import toy

HOLD = "import time; block = bytearray(150 << 20); time.sleep(0.2)"
FAMILY = f"import subprocess, sys; {HOLD}; subprocess.run([sys.executable, '-c', {HOLD!r}])"


def test_a_process_and_its_child_are_summed():
    alone, family = (peak_rss_mib([sys.executable, "-c", program]) for program in (HOLD, FAMILY))
    assert 150 < alone < 250
    assert 300 < family < 500


def test_a_command_that_fails_is_an_error():
    program = "import sys, time; time.sleep(0.1); print('no such thing', file=sys.stderr); sys.exit(3)"
    with pytest.raises(RuntimeError, match=r"(?s)ended with 3.*no such thing"):
        peak_rss_mib([sys.executable, "-c", program])


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system has no affinity of processes")
def test_what_is_measured_has_the_cores_that_were_asked_for():
    mine = os.sched_getaffinity(0)
    with memory.on_cores(1):
        count = subprocess.check_output([sys.executable, "-c", "import os; print(len(os.sched_getaffinity(0)))"])
    assert int(count) == 1
    assert os.sched_getaffinity(0) == mine


def test_the_high_water_mark_stays_when_memory_is_returned():
    block = bytearray(b"1") * (300 << 20)
    held = high_water_mib()
    del block
    assert held > 300
    assert high_water_mib() == pytest.approx(held, abs=2)  # the kernel counts pages in batches


def test_startup_and_peak_are_written_for_an_artifact(tmp_path):
    model = toy.build(tmp_path / "toy")
    main(["--artifact", str(model), "--results", str(tmp_path), "--repeats", "1", "--threads", "1"])
    result = json.loads((tmp_path / "memory-toy-cpu.json").read_text(encoding="utf-8"))
    assert 0 < result["import_s"] < result["first_analysis_s"]
    assert result["analyze_1080p_native_peak_rss_mib"] > 50
    assert "analyze_24mp_native_peak_rss_mib" not in result
    assert result["analyze_1080p_native_s"] > 0
    assert result["precision"] == "f32"


def test_a_frame_with_a_ceiling_is_judged_by_it(tmp_path, monkeypatch):
    model = toy.build(tmp_path / "toy")
    monkeypatch.setitem(memory.FRAMES, "8k", (64, 96))
    for ceiling, kept in ((4096, True), (1, False)):
        monkeypatch.setitem(memory.CEILING, "8k", ceiling)
        found = memory.peaks(model, tmp_path, frames=["8k"])
        assert found[f"analyze_8k_native_stays_below_{ceiling}_mib"] is kept
