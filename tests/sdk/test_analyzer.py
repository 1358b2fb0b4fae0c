"""An Analyzer gives the same answer whatever the input comes in, from any thread, after a fork and from a pickle."""

from __future__ import annotations

import io
import os
import pickle
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

import sdk
from sdk import analyzer as module
from sdk import backends, batches
from sdk.frames import to_display
from sdk.results import Analysis
from tests.sdk import toy


def png(frame: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(frame).save(stream, "PNG", **options)
    return stream.getvalue()


def assert_same(found: Analysis, expected: Analysis) -> None:
    assert found.score == expected.score
    np.testing.assert_array_equal(found.heatmap, expected.heatmap)


def test_finds_what_numpy_finds(analyzer, frame):
    found = analyzer.analyze(frame)
    assert found.heatmap.shape == frame.shape[:2]
    assert found.heatmap.dtype == np.float32
    assert found.score == pytest.approx(frame.mean() / 255, abs=0.02)  # the toy's score is the brightness
    assert found.verdict.name == "no_evidence"
    assert found.runtime.model == "toy"
    assert found.runtime.artifact == analyzer.artifact.digest
    assert set(found.latency.stages) == {"decode", "local", "rest", "locate", "result"}
    assert sum(found.latency.stages.values()) <= found.latency.total


def test_every_kind_of_input_is_the_same_frame(analyzer, frame, tmp_path):
    path = tmp_path / "frame.png"
    path.write_bytes(png(frame))
    expected = analyzer.analyze(frame)
    for source in (path, str(path), png(frame), bytearray(png(frame)), memoryview(png(frame)), Image.fromarray(frame)):
        assert_same(analyzer.analyze(source), expected)
    assert_same(analyzer.analyze(frame[:, :, ::-1], color="bgr"), expected)
    frozen = frame.copy()
    frozen.flags.writeable = False
    assert_same(analyzer.analyze(frozen), expected)
    assert expected.runtime.decoder == "none: numpy.ndarray"
    assert "none" not in analyzer.analyze(path).runtime.decoder


def test_what_made_an_array_is_told_as_its_owner_says_and_of_a_file_as_it_was(analyzer, frame):
    assert analyzer.analyze(frame, decoder="made 1.0").runtime.decoder == "none: numpy.ndarray, decoded by made 1.0"
    assert analyzer.read(frame, decoder="made 1.0").decoder == "none: numpy.ndarray, decoded by made 1.0"
    assert analyzer.analyze(png(frame), decoder="made 1.0").runtime.decoder.startswith("Pillow ")


class OnlyDlpack:
    """An array that offers nothing but its memory."""

    def __init__(self, array):
        self.array = array

    def __dlpack__(self, **settings):
        return self.array.__dlpack__(**settings)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


def tensor(array: np.ndarray) -> object:
    return pytest.importorskip("torch").from_numpy(array)


@pytest.mark.parametrize("given", [np.asarray, lambda array: array[:], OnlyDlpack, tensor])
def test_the_result_does_not_change_with_the_callers_array(analyzer, frame, given):
    found = analyzer.analyze(given(frame))
    frame[:] = 0
    assert found.frame.any()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_stored_pixels_are_analysed_and_results_are_upright(analyzer, frame, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored, found = analyzer.analyze(frame), analyzer.analyze(png(frame, exif=exif))
    assert found.orientation == orientation
    assert found.score == stored.score
    np.testing.assert_array_equal(found.frame, to_display(frame, orientation))
    np.testing.assert_array_equal(found.heatmap, to_display(stored.heatmap, orientation))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_a_pil_image_is_the_file_it_was_opened_from(analyzer, frame, tmp_path, kind):
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned"
    Image.fromarray(frame).save(path, kind, exif=exif)
    by_path = analyzer.analyze(path)
    with Image.open(path) as image:
        opened = analyzer.analyze(image)
    assert by_path.heatmap.shape == opened.heatmap.shape == frame.shape[1::-1]
    np.testing.assert_array_equal(opened.frame, by_path.frame)
    if kind != "TIFF":  # Pillow turns a TIFF itself, so its pixels are analysed upright
        assert opened.orientation == by_path.orientation == 6
        assert_same(opened, by_path)


def test_notes_on_images_and_arrays_are_those_on_files(analyzer, frame):
    alpha = np.dstack([frame, frame[:, :, :1]])
    sixteen = Image.fromarray(frame[:, :, 0].astype(np.uint16) << 8)
    assert analyzer.analyze(frame).notes == ()
    composited = ("transparent pixels were composited on white",)
    for source in (alpha, Image.fromarray(alpha), png(alpha)):
        assert analyzer.analyze(source).notes == composited
    assert analyzer.analyze(sixteen).notes == ("16 bits reduced to 8 by dropping the low byte",)
    with Image.open(io.BytesIO(png(frame, icc_profile=b"profile"))) as image:
        assert analyzer.analyze(image).notes == ("the colour profile was not applied",)


@pytest.mark.parametrize(("quality", "judged"), [(20, False), (95, True)])
def test_a_jpegs_quality_is_known_however_it_is_given(analyzer, toy_path, frame, tmp_path, quality, judged):
    path = tmp_path / "frame.jpg"
    Image.fromarray(frame).save(path, quality=quality)
    with sdk.load(toy_path, decode="inline") as inline:
        found = [analyzer.analyze(path), analyzer.analyze(Image.open(path)), inline.analyze(path.read_bytes())]
    folder = [moment.analysis for moment in sdk.stream(tmp_path, analyzer)]
    for analysis in (*found, *folder):
        assert (analysis.verdict.name != "inconclusive") == judged
        assert (f"JPEG of quality {quality} or the like" in analysis.verdict.reason) != judged


def test_a_batch_is_the_inputs_in_order(analyzer, rng):
    shapes = [(64, 64), (70, 90), (64, 64), (90, 70), (70, 90), (64, 64)]
    frames = [rng.integers(0, 200, (*shape, 3), np.uint8) // (i + 1) for i, shape in enumerate(shapes)]
    found = analyzer.analyze_batch(frames)
    assert [one.latency.batch for one in found] == [3, 2, 3, 1, 2, 3]
    for frame, one in zip(frames, found, strict=True):
        np.testing.assert_array_equal(one.frame, frame)
        np.testing.assert_allclose(one.heatmap, analyzer.analyze(frame).heatmap, atol=1e-6)
    assert analyzer.analyze_batch([]) == []


def test_large_frames_are_not_stacked(monkeypatch):
    shapes = [(1000, 2000, 3), (64, 64, 3), (1000, 2000, 3), (1000, 2000, 3)]
    assert list(batches.groups(shapes, 0)) == [[0, 2], [3], [1]]
    assert list(batches.groups(shapes, 100)) == [[0, 2, 3], [1]]


def test_thin_frames_are_analysed_in_f32(tmp_path, rng, monkeypatch):
    openvino = backends.get("openvino")
    opened, open_it = [], openvino.open

    def record(artifact, graph, **terms):
        opened.append((graph, terms["precision"]))
        return open_it(artifact, graph, **terms | {"precision": "f32"})

    monkeypatch.setattr(openvino, "precisions", lambda device: ("f32", "bf16"))
    monkeypatch.setattr(openvino, "open", record)
    path = toy.build(tmp_path / "toy", precisions=("f32", "bf16"))
    with sdk.load(path, backend="openvino", working_size=128, decode="inline", threads=1) as both:
        assert set(opened) == {(name, "bf16") for name in toy.GRAPHS}
        found = [both.analyze(rng.integers(0, 200, (*size, 3), np.uint8)) for size in ((128, 64), (256, 126), (63, 63))]
    assert [one.runtime.precision for one in found] == ["bf16", "f32", "f32"]
    assert {name for name, precision in opened if precision == "f32"} == set(toy.GRAPHS)


def test_below_min_score_a_frame_is_not_localised(analyzer, rng):
    frames = [rng.integers(0, level, (64, 64, 3), np.uint8) for level in (250, 50, 250)]
    found = analyzer.analyze_batch(frames, min_score=0.3)
    assert [one.localised for one in found] == [True, False, True]
    assert found[1].heatmap is None
    assert_same(found[2], analyzer.analyze_batch(frames)[2])


def test_working_size_is_the_default_of_the_artifact_or_the_callers(toy_path, frame):
    with sdk.load(toy_path, working_size=64, threads=1) as small:
        found = small.analyze(frame)
    assert "shrink" in found.latency.stages
    assert found.runtime.working_size == 64
    assert found.heatmap.shape == frame.shape[:2]
    with sdk.load(toy_path, working_size=48, threads=1) as other:
        assert other.analyze(frame).verdict.name == "inconclusive"
    with pytest.raises(sdk.BadSetting, match="working_size is -1"):
        sdk.load(toy_path, working_size=-1)


def test_eight_threads_equal_one(analyzer, rng):
    frames = [rng.integers(0, 256, (64 + 7 * (i % 3), 80, 3), np.uint8) for i in range(32)]
    expected = [analyzer.analyze(frame) for frame in frames]
    with ThreadPoolExecutor(8) as pool:
        for found, right in zip(pool.map(analyzer.analyze, frames), expected, strict=True):
            assert_same(found, right)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")
def test_works_in_a_forked_child(analyzer, frame):
    expected = analyzer.analyze(frame)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # leaves by _exit alone: pytest must not go on twice
        signal.alarm(30)  # ends a child that hangs
        try:
            found = analyzer.analyze(frame)
            os.write(writer, b"same" if np.array_equal(found.heatmap, expected.heatmap) else b"other")
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as answer:
        assert answer.read() == b"same"
    os.waitpid(child, 0)
    assert_same(analyzer.analyze(frame), expected)


def test_a_pickle_is_the_recipe(analyzer, frame):
    data = pickle.dumps(analyzer)
    assert len(data) < 1000
    with pickle.loads(data) as copy:
        assert copy.recipe == analyzer.recipe
        assert_same(copy.analyze(frame), analyzer.analyze(frame))


def test_after_close_it_says_so(toy_path, frame):
    with sdk.load(toy_path, threads=1) as closed:
        closed.warmup(64, 64)
        assert "toy 0.1, PREVIEW weights, working size native" in repr(closed)
    closed.close()
    for use in (lambda: closed.analyze(frame), closed.warmup, closed.open):
        with pytest.raises(sdk.AnalyzerClosed, match=r"this Analyzer was closed\n  -> load another"):
            use()


@pytest.mark.parametrize(
    ("use", "error", "words"),
    [
        (lambda it: it.warmup("a", "b"), sdk.BadSetting, "height is 'a'\n  -> give a whole number of pixels"),
        (lambda it: it.warmup(70, 70.5), sdk.BadSetting, r"width is 70\.5\n"),
        (lambda it: it.warmup(np.int64(-70), 70), sdk.BadSetting, "height is .*-70.*\n  -> give .*, 1 or more"),
        (lambda it: it.warmup(10**6, 10**6), sdk.LimitExceeded, "the frame to warm up with is 1000000 x 1000000"),
        (lambda it: it.analyze(np.zeros((64, 64, 3), np.uint8), progress=3), sdk.BadSetting, "progress is 3"),
    ],
)
def test_what_makes_no_sense_is_refused(toy_path, use, error, words):
    with sdk.load(toy_path, backend="onnxruntime", threads=1) as loaded, pytest.raises(error, match=words):
        use(loaded)


def test_warms_up_with_whole_numbers_of_any_kind(toy_path, monkeypatch):
    with sdk.load(toy_path, backend="onnxruntime", threads=1) as loaded:
        shapes = []
        run = loaded._run
        monkeypatch.setattr(loaded, "_run", lambda frames, *rest: shapes.append(frames.shape) or run(frames, *rest))
        loaded.warmup(np.int64(70), np.uint8(80))
    assert shapes == [(1, 70, 80, 3)]


def test_closing_while_others_analyse_ends_in_results_or_the_one_error(toy_path, frame):
    busy = sdk.load(toy_path, threads=1)

    def work(_):
        try:
            return busy.analyze(frame).score
        except sdk.AnalyzerClosed:
            return None

    with ThreadPoolExecutor(4) as pool:
        pending = [pool.submit(work, i) for i in range(40)]
        pending[3].result()
        busy.close()
        scores = {one.result() for one in pending} - {None}
    assert len(scores) == 1


def test_what_fails_because_of_a_close_says_so(toy_path, frame, monkeypatch):
    closed = sdk.load(toy_path, decode="inline", threads=1)

    def fail(*_, **__):
        closed.close()
        raise RuntimeError("the session is gone")

    monkeypatch.setattr(module.plan, "execute", fail)
    with pytest.raises(sdk.AnalyzerClosed, match="was closed during an analysis"):
        closed.analyze(frame)


def test_a_runtime_that_fails_is_a_typed_error(toy_path, frame, monkeypatch):
    with sdk.load(toy_path, backend="onnxruntime", decode="inline", threads=1) as broken:

        def fail(*_, **__):
            raise RuntimeError("out of\nmemory")

        monkeypatch.setattr(module.plan, "execute", fail)
        with pytest.raises(sdk.RunFailed, match=r"failed on frames of shape \(1, 95, 133, 3\): out of memory"):
            broken.analyze(frame)


def test_what_onnxruntime_raises_is_a_typed_error(toy_path, frame, monkeypatch):
    """Its exceptions derive from nothing but ``Exception``."""
    with sdk.load(toy_path, backend="onnxruntime", decode="inline", threads=1) as broken:

        def execute(contract, session, frames, **_):
            return session("local").run({"pixels": np.zeros((2, 2), np.float32)})

        monkeypatch.setattr(module.plan, "execute", execute)
        with pytest.raises(sdk.RunFailed, match=r"onnxruntime failed on frames of shape .*Invalid rank for input"):
            broken.analyze(frame)


def test_closing_during_the_first_analysis_leaves_nothing_open(toy_path, frame, monkeypatch):
    closed = module.Analyzer(module.Recipe(model=toy_path, threads=1))
    made = []

    class Raced(module.Opened):
        def __init__(self, *arguments):
            super().__init__(*arguments)
            made.append(self)
            closed.close()

    monkeypatch.setattr(module, "Opened", Raced)
    with pytest.raises(sdk.AnalyzerClosed, match="was closed during an analysis"):
        closed.analyze(frame)
    with pytest.raises(sdk.AnalyzerClosed, match="was closed during an analysis"):
        made[0].session("local", precision="f32")


def test_cuda_is_never_silently_a_cpu(toy_path):
    try:
        analyzer = sdk.load(toy_path, device="cuda")
    except sdk.DeviceUnavailable as error:
        assert "toy-0.1 cannot run on cuda" in str(error)
    else:
        assert analyzer.choice.device == "cuda"


def test_no_socket_is_opened(toy_path, frame, monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for backend in ("onnxruntime", "openvino"):
        with sdk.load(toy_path, backend=backend, decode="inline", threads=1) as offline:
            offline.analyze(png(frame)).save_overlay(tmp_path / "overlay.png")


PROGRAM = """
import sys

class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"torch", "onnx", "onnxscript", "export", "training"}:
            raise ImportError(name)

sys.meta_path.insert(0, Refuse())

def audit(event, args):
    if event.startswith("socket.") and args and "AF_INET" in repr(args):
        raise SystemExit(f"{event} {args}")

sys.addaudithook(audit)
import numpy as np, sdk
assert not {"cv2", "onnxruntime", "openvino"} & set(sys.modules)
for backend in ("onnxruntime", "openvino"):
    with sdk.load(sys.argv[1], backend=backend, threads=1) as analyzer:
        print(analyzer.analyze(sys.argv[2]).verdict)
assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]
"""


def test_runs_in_a_process_of_its_own_without_torch_onnx_or_network(toy_path, frame, tmp_path, repository):
    path = tmp_path / "frame.png"
    path.write_bytes(png(frame))
    command = [sys.executable, "-W", "error", "-c", PROGRAM, toy_path, path]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["no_evidence"] * 2, done.stderr
    assert done.stderr == ""
