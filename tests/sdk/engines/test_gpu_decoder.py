"""What docs/gpu.md shows of decoders on the GPU.

That of videos is one of the published signatures that is not there, that of images the real one, on the CPU.
"""

# ruff: noqa: N803  a name is NVIDIA's
from __future__ import annotations

import dataclasses
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import sdk
from tests.sdk.clips import grey
from tests.sdk.engines.test_resident import Owner
from tests.sdk.files import scene

PAGE = Path(__file__).parents[3] / "docs" / "gpu.md"
LENGTH, RATE = 11, 25.0


class Surfaces:
    """Memory of a decoder: written late, on its stream, and again for every batch."""

    def __init__(self, gpu, count: int) -> None:
        self.gpu = gpu
        self.owners = [Owner(gpu, np.zeros((64, 64, 3), np.uint8)) for _ in range(count)]
        self.written: list[np.ndarray] = []

    def hold(self, place: int, frame: np.ndarray) -> object:
        owner = self.owners[place]
        self.written.append(frame)
        self.gpu.cudaMemcpyAsync(owner.address, frame.ctypes.data, frame.nbytes, 1, owner.stream)
        capsule = owner.capsule()
        methods = {"__dlpack__": capsule.__dlpack__, "__dlpack_device__": capsule.__dlpack_device__}
        kind = type("DecodedFrame", (), {name: staticmethod(method) for name, method in methods.items()})
        kind.__module__ = "PyNvVideoCodec._PyNvVideoCodec"
        return kind()


def module(gpu, ended: list[str]) -> ModuleType:
    """PyNvVideoCodec 2.2.4, as far as it is used."""
    made = ModuleType("PyNvVideoCodec")
    made.__version__ = "2.2.4"
    made.OutputColorType = SimpleNamespace(NATIVE=0, RGB=1, RGBP=2)

    class ThreadedDecoder:
        def __init__(
            self, enc_file_path, buffer_size, gpu_id=0, cuda_context=0, cuda_stream=0, use_device_memory=True,
            max_width=0, max_height=0, need_scanned_stream_metadata=0, decoder_cache_size=4, output_color_type=0,
            start_frame=0, enableDecodeStats=False,
        ) -> None:  # fmt: skip
            assert (output_color_type, use_device_memory) == (made.OutputColorType.RGB, True)
            self.path, self.size, self.next = enc_file_path, buffer_size, start_frame
            self.surfaces = Surfaces(gpu, buffer_size)

        def get_stream_metadata(self):
            return SimpleNamespace(average_fps=RATE, num_frames=LENGTH)

        def get_batch_frames(self, batch_size):
            assert batch_size <= self.size
            numbers = range(self.next, min(self.next + batch_size, LENGTH))
            self.next += len(numbers)
            return [self.surfaces.hold(place, grey(10 + number)) for place, number in enumerate(numbers)]

        def end(self):
            ended.append(self.path)

    made.ThreadedDecoder = ThreadedDecoder
    return made


def shown(name: str, monkeypatch, changes: dict[str, str]) -> list[sdk.Moment]:
    """The moments of the page's example of a decoder, run with some of its words changed."""
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    (code,) = (block for block in blocks if name in block)
    for words, others in changes.items():
        assert words in code
        code = code.replace(words, others)
    seen, stream = [], sdk.stream

    def watched(*arguments, **options):
        for moment in stream(*arguments, **options):
            seen.append(moment)
            yield moment

    monkeypatch.setattr(sdk, "stream", watched)
    exec(code, {})
    return seen


def test_its_frames_are_analysed_in_order_where_they_are_and_the_decoder_is_told(
    package, device, artifact_path, monkeypatch, capsys
):
    ended: list[str] = []
    monkeypatch.setitem(sys.modules, "PyNvVideoCodec", module(device, ended))
    with sdk.load(artifact_path, backend="tensorrt", device="cuda") as analyzer:
        analyzer.warmup(64, 64)
    seen = shown("PyNvVideoCodec", monkeypatch, {'"artifacts/psccnet"': repr(str(artifact_path))})
    assert [round(255 * moment.analysis.score) for moment in seen] == list(range(10, 10 + LENGTH))
    assert [moment.time_s for moment in seen] == [index / RATE for index in range(LENGTH)]
    told = "none: PyNvVideoCodec.DecodedFrame, decoded by PyNvVideoCodec 2.2.4"
    assert {moment.analysis.runtime.decoder for moment in seen} == {told}
    assert not any(isinstance(moment.analysis.pixels, np.ndarray) for moment in seen)
    assert ended == ["clip.mp4"]
    assert len(capsys.readouterr().out.splitlines()) == LENGTH


def test_image_files_that_nvimagecodec_decodes_are_analysed_as_ours_are(toy_path, tmp_path, monkeypatch, rng):
    nvimgcodec = pytest.importorskip("nvidia.nvimgcodec", reason="nvidia-nvimgcodec-cu13 is not installed")
    for number, subsampling in enumerate((0, 2)):
        exif = Image.Exif()
        exif[0x0112] = 1 + 5 * number
        picture = Image.fromarray(scene(rng, 70, 90))
        picture.save(tmp_path / f"{number}.jpg", quality=80, subsampling=subsampling, exif=exif)
    (tmp_path / "2.jpg").write_bytes(b"no picture")
    Image.fromarray(scene(rng, 70, 90)).save(tmp_path / "3.gif")
    on_cpu = "nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY, backends=[nvimgcodec.Backend(nvimgcodec.CPU_ONLY)], "
    changes = {
        "Decoder(": f"Decoder({on_cpu}",
        'device="cuda"': 'device="cpu"',
        '"artifacts/psccnet"': repr(str(toy_path)),
        '"photographs"': repr(str(tmp_path)),
    }
    seen = shown("nvimgcodec", monkeypatch, changes)
    told = f"none: nvidia.Image, decoded by nvImageCodec {nvimgcodec.__version__}"
    with sdk.load(toy_path, device="cpu", decode="inline") as analyzer:
        for moment, name in zip(seen[:2], ("0.jpg", "1.jpg"), strict=True):
            own = analyzer.read(tmp_path / name)
            stored = analyzer.analyze(dataclasses.replace(own, orientation=1, quality=None))
            np.testing.assert_array_equal(moment.analysis.frame, stored.frame)
            assert (moment.analysis.score, moment.analysis.verdict) == (stored.score, stored.verdict)
            assert moment.analysis.runtime.decoder == told
    assert "2.jpg is of no kind that is known here" in seen[2].error.problem
    assert seen[3].analysis.runtime.decoder.startswith("Pillow ")
