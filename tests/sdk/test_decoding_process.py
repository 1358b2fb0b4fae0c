"""Every way for a worker to end."""

from __future__ import annotations

import errno
import io
import os
import select
import signal
import time

import numpy as np
import pytest

from sdk import decoding_process
from sdk.decoding import Decoder, Limits
from sdk.errors import DecodeFailed, LimitExceeded, RunFailed
from tests.sdk.files import png_header, processes, saved


def test_memory_is_limited(picture):
    with Decoder(Limits(memory=150 * 2**20, pixels=10**9)) as decoder:
        with pytest.raises(LimitExceeded, match="needs more memory than the limit memory=157,286,400 bytes"):
            decoder.decode(png_header(15_000, 15_000))
        np.testing.assert_array_equal(decoder.decode(saved(picture, "PNG")).frame, picture)


def test_the_deadline_is_kept_and_the_worker_replaced(picture):
    data = saved(picture, "PNG")
    with Decoder(Limits(seconds=1.0), workers=1) as decoder:
        decoder.decode(data)
        (process,) = processes(decoder)
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(LimitExceeded, match=r"the file given as .* took longer than the limit seconds=1\n"):
            decoder.decode(data)
        np.testing.assert_array_equal(decoder.decode(data).frame, picture)
        assert processes(decoder)[0].pid != process.pid


def test_a_worker_that_was_killed_is_replaced(picture):
    data = saved(picture, "PNG")
    with Decoder(workers=1) as decoder:
        decoder.decode(data)
        (process,) = processes(decoder)
        process.kill()
        process.wait()
        np.testing.assert_array_equal(decoder.decode(data).frame, picture)


@pytest.mark.parametrize("end", ["closed", "crashed"])
def test_what_a_worker_started_ends_with_it(picture, monkeypatch, end):
    forking = f"""
from sdk import pillow
import os, time
rightly = pillow.read
def read(*given, **named):
    if os.fork() == 0:
        time.sleep(600)
    {"os.abort()" if end == "crashed" else ""}
    return rightly(*given, **named)
pillow.read = read
serve(start)"""
    monkeypatch.setattr(decoding_process, "BOOTSTRAP", decoding_process.BOOTSTRAP.replace("serve(start)", forking))
    process = decoding_process.WorkerProcess(Limits(seconds=2.0))
    leader, answers = process._process.pid, os.dup(process._process.stdout.fileno())
    if end == "crashed":
        # What it started holds the other end, so that its own end is not noticed before the deadline.
        with pytest.raises(LimitExceeded, match="the file took longer"):
            process.decode("the file", memoryview(saved(picture, "PNG")))
    else:
        process.decode("the file", memoryview(saved(picture, "PNG")))
        os.kill(leader, signal.SIGKILL)  # it alone: that it is seen to be gone must not hide the others
        while process.alive:
            time.sleep(0.001)
        process.close()
    assert select.select([answers], [], [], 10)[0], "what it started still has the other end"
    assert os.read(answers, 1) == b""
    os.close(answers)


def test_a_crash_is_an_error_that_carries_what_was_printed(picture, monkeypatch):
    crash = """
from sdk import pillow
import os
pillow.read = lambda *a, **k: (os.write(2, b'first\\nboom \\x1b\\n'), os.abort())
serve(start)"""
    bootstrap = decoding_process.BOOTSTRAP.replace("serve(start)", crash)
    monkeypatch.setattr(decoding_process, "BOOTSTRAP", bootstrap)
    with Decoder(workers=1) as decoder:
        with pytest.raises(DecodeFailed, match="the decoding process was stopped by signal 6 and printed: boom\n  -> "):
            decoder.decode(saved(picture, "PNG"))
        monkeypatch.undo()
        np.testing.assert_array_equal(decoder.decode(saved(picture, "PNG")).frame, picture)


@pytest.mark.parametrize("answer", ["[]", '{"width": null}', '{"width": 1e999}', "[" * 60_000], ids=lambda one: one[:9])
def test_an_answer_that_is_none_is_an_error_of_ours(picture, monkeypatch, answer):
    nonsense = f"""
from sdk import decoding_worker
decoding_worker._answer = lambda *_: None
rightly = decoding_worker._reply
decoding_worker._reply = lambda replies, said: (
    rightly(replies, said) if said else __import__("os").write(replies, b'{answer}\\n'))
serve(start)"""
    bootstrap = decoding_process.BOOTSTRAP.replace("serve(start)", nonsense)
    monkeypatch.setattr(decoding_process, "BOOTSTRAP", bootstrap)
    with Decoder(workers=1) as decoder, pytest.raises(DecodeFailed, match="the decoding process "):
        decoder.decode(saved(picture, "PNG"))


def test_what_a_codec_prints_is_a_note(picture, monkeypatch):
    noisy = """
from sdk import pillow
read = pillow.read
pillow.read = lambda *a, **k: (print("odd colours", file=sys.stderr), print("hello", flush=True)) and read(*a, **k)
serve(start)"""
    bootstrap = decoding_process.BOOTSTRAP.replace("serve(start)", noisy)
    monkeypatch.setattr(decoding_process, "BOOTSTRAP", bootstrap)
    with Decoder(workers=1) as decoder:
        assert decoder.decode(saved(picture, "PNG")).notes == ("the decoder printed: hello",)


def test_a_worker_that_cannot_start_says_why(picture, monkeypatch):
    monkeypatch.setattr(decoding_process, "BOOTSTRAP", "raise SystemExit('no such thing')")
    with pytest.raises(RunFailed, match="the decoding process did not start: no such thing"):
        Decoder().decode(saved(picture, "PNG"))


def test_a_machine_without_descriptors_is_at_fault_and_not_the_file(picture, monkeypatch):
    def none_left(name: str) -> int:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(decoding_process, "anonymous_file", none_left)
    with pytest.raises(RunFailed, match=r"did not start: .*Too many open files"):
        Decoder().decode(saved(picture, "PNG"))


@pytest.mark.parametrize(
    "lie",
    [
        {"orientation": 9},
        {"orientation": "6"},
        {"orientation": None},
        {"notes": None},
        {"notes": {"a": 1}},
        {"quality": 0},
        {"quality": [75]},
    ],
    ids=str,
)
def test_what_a_worker_says_of_a_frame_is_not_trusted(picture, monkeypatch, lie):
    lying = f"""
from sdk import decoding_worker
rightly = decoding_worker._answer
decoding_worker._answer = lambda *a: rightly(*a) | {lie!r}
serve(start)"""
    monkeypatch.setattr(decoding_process, "BOOTSTRAP", decoding_process.BOOTSTRAP.replace("serve(start)", lying))
    with Decoder(workers=1) as decoder, pytest.raises(DecodeFailed, match="the decoding process "):
        decoder.decode(saved(picture, "PNG"))


def test_words_of_a_worker_are_made_readable_and_few(picture, monkeypatch):
    lying = r"""
from sdk import decoding_worker
rightly = decoding_worker._answer
decoding_worker._answer = lambda *a: rightly(*a) | {"decoder": "x\x1b[2J" * 99, "notes": ["a\nb"] * 99}
serve(start)"""
    monkeypatch.setattr(decoding_process, "BOOTSTRAP", decoding_process.BOOTSTRAP.replace("serve(start)", lying))
    with Decoder(workers=1) as decoder:
        decoded = decoder.decode(saved(picture, "PNG"))
    assert decoded.decoder.startswith("x [2Jx") and len(decoded.decoder) <= 200
    assert decoded.notes == ("a b",) * 20


def test_a_file_that_grows_is_copied_up_to_its_limit():
    file = io.BytesIO(bytes(3 * decoding_process.COPIED_BYTES))
    process = decoding_process.WorkerProcess(Limits(bytes=decoding_process.COPIED_BYTES + 5))
    try:
        with pytest.raises(LimitExceeded, match="the file has 1,048,582 bytes, over the limit bytes=1,048,581"):
            process.decode("the file", file)
        assert file.tell() == decoding_process.COPIED_BYTES + 6
        assert process.alive
    finally:
        process.close()
