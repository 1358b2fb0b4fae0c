"""Files to frames: every rule, every limit, every way for a worker to end."""

from __future__ import annotations

import concurrent.futures
import gc
import io
import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import textwrap
import time
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from sdk import decoding_process
from sdk.decoding import Decoder, Limits
from sdk.errors import DecodeFailed, LimitExceeded, MissingExtra, UnknownName, UnsupportedImage


@pytest.fixture(scope="module")
def worker():
    with Decoder() as decoder:
        yield decoder


@pytest.fixture(params=["worker", "inline"])
def decoder(request, worker):
    return worker if request.param == "worker" else Decoder(mode="inline")


@pytest.fixture
def picture(rng):
    """A smooth random picture, [48, 64, 3]."""
    return cv2.resize(rng.integers(0, 256, (6, 8, 3), np.uint8), (64, 48), interpolation=cv2.INTER_CUBIC)


def saved(image, kind, **settings) -> bytes:
    buffer = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(buffer, kind, **settings)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that says its size and holds almost no pixels."""
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(bytes(100)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + pixels + chunk(b"IEND", b"")


def tagged(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP", "JPEG2000"])
def test_lossless_formats_return_the_stored_pixels(kind, decoder, picture):
    settings = {"WEBP": {"lossless": True}, "TIFF": {"compression": "tiff_lzw"}}.get(kind, {})
    decoded = decoder.decode(saved(picture, kind, **settings))
    np.testing.assert_array_equal(decoded.frame, picture)
    assert (decoded.format, decoded.orientation, decoded.notes) == (kind, 1, ())
    assert (decoded.width, decoded.height) == (64, 48)
    assert decoded.frame.flags.c_contiguous
    assert decoded.frame.flags.writeable


@pytest.mark.parametrize("settings", [{"subsampling": 0}, {"subsampling": 1}, {"subsampling": 2},
                                      {"subsampling": 2, "progressive": True}], ids=str)
def test_jpeg_pixels_equal_those_of_opencv(settings, decoder, picture):
    data = saved(picture[:47, :61], "JPEG", quality=85, **settings)
    decoded = decoder.decode(data)
    bgr = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    np.testing.assert_array_equal(decoded.frame, bgr[:, :, ::-1])
    assert re.fullmatch(r"Pillow [\d.]+, libjpeg-turbo [\d.]+", decoded.decoder)


def test_path_text_and_bytes_agree(decoder, picture, tmp_path):
    path = tmp_path / "ü \udcff 图.png"
    path.write_bytes(saved(picture, "PNG"))
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), memoryview(path.read_bytes())):
        np.testing.assert_array_equal(decoder.decode(source).frame, picture)


def test_bytes_after_a_larger_frame_are_read_alone(worker, picture):
    worker.decode(saved(np.zeros((300, 300, 3), np.uint8), "PNG"))
    np.testing.assert_array_equal(worker.decode(saved(picture, "TIFF")).frame, picture)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pixels_stay_as_stored_and_the_tag_is_reported(kind, orientation, worker, picture):
    plain = worker.decode(saved(picture, kind))
    turned = worker.decode(saved(picture, kind, exif=tagged(orientation)))
    assert turned.orientation == orientation
    np.testing.assert_array_equal(turned.frame, plain.frame)


def test_sixteen_bit_grey_drops_the_low_byte(decoder, rng):
    grey = rng.integers(0, 65536, (9, 7), np.uint16)
    for kind in ("PNG", "TIFF", "PPM"):
        decoded = decoder.decode(saved(grey, kind))
        np.testing.assert_array_equal(decoded.frame, np.repeat((grey >> 8).astype(np.uint8)[:, :, None], 3, 2))
        assert "16 bits reduced to 8 by dropping the low byte" in decoded.notes


def test_sixteen_bit_colour_drops_the_low_byte(decoder, rng):
    colour = rng.integers(0, 65536, (9, 7, 3), np.uint16)
    data = cv2.imencode(".png", colour)[1].tobytes()
    np.testing.assert_array_equal(decoder.decode(data).frame, (colour >> 8).astype(np.uint8)[:, :, ::-1])


def test_cmyk_follows_the_plain_formula(decoder, rng):
    inks = rng.integers(0, 256, (9, 7, 4), np.uint8)
    decoded = decoder.decode(saved(Image.fromarray(inks, "CMYK"), "TIFF"))
    cmy, k = inks[:, :, :3].astype(float), inks[:, :, 3:].astype(float)
    assert np.abs(decoded.frame - (255 - cmy) * (255 - k) / 255).max() <= 1
    assert decoded.notes == ("CMYK converted to RGB by the plain formula, without a colour profile",)


def test_transparency_is_composited_on_white(decoder):
    palette = Image.new("P", (2, 1))
    palette.putpalette([200, 100, 0, 0, 0, 0])
    palette.putpixel((1, 0), 1)
    for data in (saved(palette, "PNG", transparency=1), saved(palette, "GIF", transparency=1)):
        decoded = decoder.decode(data)
        assert decoded.frame.tolist() == [[[200, 100, 0], [255, 255, 255]]]
        assert decoded.notes == ("transparent pixels were composited on white",)


def test_an_opaque_alpha_channel_changes_nothing(decoder, picture):
    opaque = np.dstack([picture, np.full(picture.shape[:2], 255, np.uint8)])
    decoded = decoder.decode(saved(opaque, "PNG"))
    np.testing.assert_array_equal(decoded.frame, picture)
    assert decoded.notes == ()


def test_compositing_in_strips_equals_compositing_at_once(decoder, rng):
    rgba = rng.integers(0, 256, (300, 700, 4), np.uint8)
    image = Image.fromarray(rgba)
    white = Image.new("RGBA", image.size, "white")
    expected = np.array(Image.alpha_composite(white, image).convert("RGB"))
    np.testing.assert_array_equal(decoder.decode(saved(rgba, "PNG")).frame, expected)


def test_a_colour_profile_is_noted_and_not_applied(decoder, picture):
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    decoded = decoder.decode(saved(picture, "PNG", icc_profile=profile))
    np.testing.assert_array_equal(decoded.frame, picture)
    assert decoded.notes == ("the colour profile was not applied",)


def test_pictures_beside_a_photograph_are_left_aside(decoder, picture):
    data = saved(picture, "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    decoded = decoder.decode(data)
    assert decoded.frame.shape == picture.shape
    assert decoded.notes == ("1 pictures beside the photograph (previews, depth or gain maps) were left aside",)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_more_than_one_frame_is_refused_unless_allowed(kind, picture):
    frames = [Image.fromarray(picture), Image.fromarray(picture[::-1].copy()), Image.fromarray(255 - picture)]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = saved(frames[0], kind, save_all=True, append_images=frames[1:], **lossless)
    with pytest.raises(LimitExceeded, match=r"has 3 frames or pages, over the limit frames=1\n.*Limits\(frames=3\)"):
        Decoder(mode="inline").decode(data)
    decoded = Decoder(Limits(frames=3), mode="inline").decode(data)
    assert decoded.notes == ("the first of 3 frames or pages was analysed",)
    if kind != "GIF":
        np.testing.assert_array_equal(decoded.frame, picture)


@pytest.mark.parametrize("size", [(20_000, 20_000), (12_000, 12_000), (2_000_000_000, 2)])
def test_bombs_are_refused_from_the_header(size, worker):
    worker.decode(saved(np.zeros((8, 8, 3), np.uint8), "PNG"))
    start = time.perf_counter()
    with pytest.raises(LimitExceeded, match="over the limit pixels=100,000,000"):
        worker.decode(png_header(*size))
    assert time.perf_counter() - start < 1


def test_the_pixel_limit_is_exact(decoder, picture):
    data = saved(picture, "PNG")
    mode = decoder.mode
    with Decoder(Limits(pixels=64 * 48), mode=mode) as enough:
        enough.decode(data)
    with Decoder(Limits(pixels=64 * 48 - 1), mode=mode) as less, pytest.raises(LimitExceeded, match="pixels=3,071"):
        less.decode(data)


def test_the_byte_limit_is_exact(tmp_path, picture):
    path = tmp_path / "a.png"
    path.write_bytes(saved(picture, "PNG"))
    size = path.stat().st_size
    Decoder(Limits(bytes=size), mode="inline").decode(path)
    for source in (path, path.read_bytes()):
        with pytest.raises(LimitExceeded, match=rf"has {size:,} bytes, over the limit bytes={size - 1:,}\n"):
            Decoder(Limits(bytes=size - 1), mode="inline").decode(source)


def test_limits_below_one_are_refused():
    with pytest.raises(LimitExceeded, match=r"Limits\(frames=0\) lets no file pass"):
        Limits(frames=0)


def test_memory_is_limited(picture):
    with Decoder(Limits(memory=150 * 2**20, pixels=10**9)) as decoder:
        with pytest.raises(LimitExceeded, match="needs more memory than the limit memory=157,286,400 bytes"):
            decoder.decode(png_header(15_000, 15_000))
        np.testing.assert_array_equal(decoder.decode(saved(picture, "PNG")).frame, picture)


def test_the_deadline_is_kept_and_the_worker_replaced(picture):
    data = saved(picture, "PNG")
    with Decoder(Limits(seconds=0.3), workers=1) as decoder:
        decoder.decode(data)
        (process,) = processes(decoder)
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(LimitExceeded, match=r"the file given as .* took longer than the limit seconds=0.3\n"):
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
    with pytest.raises(DecodeFailed, match="the decoding process did not start: no such thing"):
        Decoder().decode(saved(picture, "PNG"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
def test_a_file_cut_off_is_an_error(kind, decoder, rng):
    data = saved(rng.integers(0, 256, (64, 64, 3), np.uint8), kind)
    with pytest.raises(DecodeFailed, match="the file is damaged or incomplete"):
        decoder.decode(data[: len(data) * 2 // 3])


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"", DecodeFailed, "is empty"),
        (b"hello, world", UnsupportedImage, "of no kind that is known here\n  -> convert it to JPEG"),
        (b"%PDF-1.7", UnsupportedImage, "is a PDF document"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", UnsupportedImage, "is a video\n  -> extract the frames"),
        (b"G" + bytes(187) + b"G" + bytes(187), UnsupportedImage, "is a video"),
        (b"\x89PNGnonsense", DecodeFailed, "starts like a PNG file and has no header"),
        (b"\xff\xd8\xff\xe0", DecodeFailed, "starts like a JPEG file|cannot be decoded"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", UnsupportedImage, "is a PostScript file"),
    ],
)
def test_what_is_no_picture_is_named(data, error, words, decoder):
    with pytest.raises(error, match=words):
        decoder.decode(data)


def test_heic_names_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(MissingExtra, match=r"needs the package pillow-heif.*\n  -> pip install 'imdl-sdk\[heif\]'"):
        Decoder(mode="inline").decode(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


def test_a_raw_photograph_is_refused(decoder, picture):
    info = {50706: b"\1\4\0\0"}
    with pytest.raises(UnsupportedImage, match="a raw photograph or starts with a preview"):
        decoder.decode(saved(picture, "TIFF", tiffinfo=info))


def test_paths_that_are_no_files_are_errors(decoder, tmp_path):
    with pytest.raises(DecodeFailed, match="gone.jpg cannot be opened: No such file or directory\n"):
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


def test_one_thread_starts_one_worker(picture):
    with Decoder(workers=4) as decoder:
        for _ in range(3):
            decoder.decode(saved(picture, "PNG"))
        assert len(processes(decoder)) == 1


def test_close_stops_the_workers_and_leaves_no_descriptor(picture):
    before = len(list(Path("/proc/self/fd").iterdir()))
    decoder = Decoder(workers=1)
    decoder.decode(saved(picture, "PNG"))
    (process,) = processes(decoder)
    decoder.close()
    decoder.close()
    assert process.poll() is not None
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    np.testing.assert_array_equal(decoder.decode(saved(picture, "PNG")).frame, picture)
    (process,) = processes(decoder)
    del decoder
    gc.collect()
    assert process.poll() is not None
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_the_settings_travel_in_a_pickle(picture):
    decoder = Decoder(Limits(frames=7), mode="inline")
    copy = pickle.loads(pickle.dumps(decoder))
    assert (copy.limits, copy.mode) == (decoder.limits, "inline")
    np.testing.assert_array_equal(copy.decode(saved(picture, "PNG")).frame, picture)


def test_the_way_of_decoding_is_one_of_two():
    with pytest.raises(UnknownName, match="no way of decoding named 'outline'"):
        Decoder(mode="outline")


def run(script: str, folder) -> str:
    path = folder / "script.py"
    path.write_text(textwrap.dedent(script))
    search = os.pathsep.join(str(entry) for entry in sys.path if entry)
    done = subprocess.run([sys.executable, "-W", "error", path.name], cwd=folder, capture_output=True, text=True,
                          check=False, env={**os.environ, "PYTHONPATH": search}, timeout=60)
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


def processes(decoder: Decoder) -> list[subprocess.Popen]:
    """The workers that are running."""
    places = decoder._pools[os.getpid()]._places.queue
    return [place._process for place in places if place is not None]
