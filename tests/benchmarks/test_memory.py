"""Peak memory counts the process and what it starts."""

from __future__ import annotations

import sys

import pytest

from benchmarks.memory import peak_rss_mib

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
