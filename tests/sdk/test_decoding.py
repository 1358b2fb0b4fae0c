"""Files to frames, from any thread, in any process."""

from __future__ import annotations

import concurrent.futures
import gc
import os
import pickle
import subprocess
import sys
import textwrap
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from sdk.decoding import Decoder, Limits
from sdk.errors import DecodeFailed, UnknownName, UnsupportedImage
from tests.sdk.files import processes, saved


def test_path_text_and_bytes_agree(decoder, picture, tmp_path):
    path = tmp_path / "ü \udcff 图.png"
    path.write_bytes(saved(picture, "PNG"))
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), memoryview(path.read_bytes())):
        np.testing.assert_array_equal(decoder.decode(source).frame, picture)


def test_bytes_after_a_larger_frame_are_read_alone(worker, picture):
    worker.decode(saved(np.zeros((300, 300, 3), np.uint8), "PNG"))
    np.testing.assert_array_equal(worker.decode(saved(picture, "TIFF")).frame, picture)


def test_paths_that_are_no_files_are_errors(decoder, tmp_path):
    with pytest.raises(DecodeFailed, match=r"gone\.jpg cannot be opened: No such file"):
        decoder.decode(tmp_path / "gone.jpg")
    with pytest.raises(DecodeFailed, match="is a folder"):
        decoder.decode(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DecodeFailed, match="is not a regular file"):
        decoder.decode(tmp_path / "pipe")


def test_messages_carry_no_control_characters(decoder, tmp_path):
    path = tmp_path / "a\x1b[31m\nb.png"
    path.write_bytes(b"\x89PNGnonsense")
    with pytest.raises(DecodeFailed, match=r"a \[31m b.png starts like a PNG file"):
        decoder.decode(path)


def test_eight_threads_get_what_one_gets(worker, rng):
    pictures = [rng.integers(0, 256, (rng.integers(9, 99), 40, 3), np.uint8) for _ in range(32)]
    files = [saved(picture, "PNG") for picture in pictures]
    files[5:6] = [b"nonsense"]
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(worker.decode, data) for data in files]
    for number, (answer, picture) in enumerate(zip(answers, pictures, strict=True)):
        if number == 5:
            assert isinstance(answer.exception(), UnsupportedImage)
        else:
            np.testing.assert_array_equal(answer.result().frame, picture)


def test_bytes_that_do_not_lie_together_are_a_file(decoder, picture):
    data = saved(picture, "PNG")
    apart = memoryview(np.frombuffer(data, np.uint8).repeat(2))[::2]
    np.testing.assert_array_equal(decoder.decode(apart).frame, picture)


def test_an_empty_path_is_named(decoder):
    with pytest.raises(DecodeFailed, match="the empty path is a folder\n  -> give the path of a file, or the"):
        decoder.decode("")


def test_one_thread_starts_one_worker(picture):
    with Decoder(workers=4) as decoder:
        for _ in range(3):
            decoder.decode(saved(picture, "PNG"))
        assert len(processes(decoder)) == 1


def descriptors():
    """What is open, by number and what is behind it; less the listing itself."""
    links = {}
    for link in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):
            links[link.name] = link.readlink()
    return links.items()


def test_close_stops_the_workers_and_leaves_no_descriptor(picture):
    before = descriptors()  # what other tests left may be closed meanwhile, but none may be added
    decoder = Decoder(workers=1)
    decoder.decode(saved(picture, "PNG"))
    (process,) = processes(decoder)
    decoder.close()
    decoder.close()
    assert process.poll() is not None
    assert not descriptors() - before
    np.testing.assert_array_equal(decoder.decode(saved(picture, "PNG")).frame, picture)
    (process,) = processes(decoder)
    del decoder
    gc.collect()
    assert process.poll() is not None
    assert not descriptors() - before


def test_the_settings_travel_in_a_pickle(picture):
    decoder = Decoder(Limits(frames=7), mode="inline")
    copy = pickle.loads(pickle.dumps(decoder))
    assert (copy.limits, copy.mode) == (decoder.limits, "inline")
    np.testing.assert_array_equal(copy.decode(saved(picture, "PNG")).frame, picture)


def test_fresh_workers_take_one_file_each_and_the_next_is_started(picture):
    data, used = saved(picture, "PNG"), []
    with Decoder(mode="fresh", workers=1) as decoder:
        for _ in range(3):
            np.testing.assert_array_equal(decoder.decode(data).frame, picture)
            used += processes(decoder)
            assert used[-1].poll() is None
    assert len({process.pid for process in used}) == 3
    assert all(process.poll() is not None for process in used)


def test_a_fresh_worker_that_died_before_its_file_is_replaced(picture):
    with Decoder(mode="fresh", workers=1) as decoder:
        decoder.decode(saved(picture, "PNG"))
        (spare,) = processes(decoder)
        spare.kill()
        spare.wait()
        np.testing.assert_array_equal(decoder.decode(saved(picture, "PNG")).frame, picture)


def test_the_way_of_decoding_is_one_of_three():
    with pytest.raises(UnknownName, match="no way of decoding named 'outline'"):
        Decoder(mode="outline")


def run(script: str, folder) -> str:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(script))
    search = os.pathsep.join(str(entry) for entry in sys.path if entry)
    done = subprocess.run(
        [sys.executable, "-W", "error", path.name],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": search},
        timeout=300,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_script_without_a_guard_beside_modules_of_odd_names(tmp_path, picture):
    (tmp_path / "photo.png").write_bytes(saved(picture, "PNG"))
    for name in ("signal.py", "sdk_artifact.py", "resource.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong module')")
    script = """
        import sys
        here = sys.path.pop(0)
        from sdk.decoding import Decoder
        sys.path.insert(0, here)
        decoder = Decoder()
        print(decoder.decode("photo.png"), sorted({"torch", "onnx", "multiprocessing"} & set(sys.modules)))
    """
    assert run(script, tmp_path) == "Decoded(64x48, PNG, orientation=1, notes=()) []\n"


def test_a_forked_child_makes_its_own_workers(tmp_path, picture):
    (tmp_path / "photo.png").write_bytes(saved(picture, "PNG"))
    script = """
        import os, warnings
        from sdk.decoding import Decoder
        warnings.simplefilter("ignore", DeprecationWarning)
        decoder = Decoder(workers=1)
        def pids():
            pool = decoder._pools[os.getpid()]
            return {place._process.pid for place in pool._places.queue if place}
        first = decoder.decode("photo.png").frame
        parents = pids()
        child = os.fork()
        if child == 0:
            same = (decoder.decode("photo.png").frame == first).all() and not pids() & parents
            decoder.close()
            os._exit(0 if same else 1)
        print(os.waitpid(child, 0)[1], (decoder.decode("photo.png").frame == first).all(), pids() == parents)
    """
    assert run(script, tmp_path) == "0 True True\n"
