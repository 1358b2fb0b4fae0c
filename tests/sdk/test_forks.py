"""A forked child ends as it would without a runtime: with its own exit code, at once, its output written."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.sdk.files import saved
from tests.sdk.videos import make, noise

PROGRAM = """
import os, sys, warnings
import numpy as np
import sdk
warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 and later warn of any fork with threads
frame = np.full((80, 90, 3), 100, np.uint8)
analyzer = sdk.load(sys.argv[1], backend=sys.argv[2])
score = analyzer.analyze(frame).score
child = os.fork()
if child == 0:
    if sys.argv[3] == "used":
        assert analyzer.analyze(frame).score == score
    print("output of the child")
    sys.exit(3)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("use", ["used", "unused"])
@pytest.mark.parametrize("backend", ["onnxruntime", "openvino"])
def test_a_child_ends_in_the_ordinary_way(toy_path, repository, backend, use):
    command = [sys.executable, "-c", PROGRAM, toy_path, backend, use]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "output of the child\n", "")


VIDEO = """
import os, sys, warnings
import sdk.sources
from sdk.source import Settings
warnings.simplefilter("ignore", DeprecationWarning)
frames = sdk.sources.read(sys.argv[1], Settings())
next(frames)
child = os.fork()
if child == 0:
    if sys.argv[2] == "closed":
        frames.close()
    sys.exit(3)
code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
print(1 + sum(1 for _ in frames))
sys.exit(code)
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system cannot fork")
@pytest.mark.parametrize("end", ["closed", "left"])
def test_a_child_leaves_the_video_of_its_parent_alone(repository, tmp_path, rng, end):
    clip = make(tmp_path / "a.mp4", noise(rng, 5))
    command = [sys.executable, "-c", VIDEO, clip, end]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (3, "5\n", "")


EXAMINER = """
import os, sys, warnings
from pathlib import Path
from sdk.examiner import opened
warnings.simplefilter("ignore", DeprecationWarning)
data = Path(sys.argv[2]).read_bytes()
with opened([sys.argv[1]]) as examiner:
    action = examiner.examine(data).decision.action
    child = os.fork()
    if child == 0:
        found = examiner.examine(data)
        assert found.decision.action == action
        assert found.record["metadata"]["problem"] is None
        sys.exit(3)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert examiner.examine(data).decision.action == action
sys.exit(code)
"""


@pytest.mark.skipif(not hasattr(__import__("os"), "fork"), reason="this system cannot fork")
def test_a_child_examines_as_its_parent_did(repository, toy_path, tmp_path, picture):
    (tmp_path / "a.png").write_bytes(saved(picture, "PNG"))
    command = [sys.executable, "-c", EXAMINER, toy_path, tmp_path / "a.png"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (3, "")
