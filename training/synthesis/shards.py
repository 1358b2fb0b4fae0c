"""Samples in tar files, as WebDataset has them: of sample 000012 a frame, a mask and a recipe, side by side.

``000012.png`` is the frame, ``000012.mask.png`` the mask (0 or 255), ``000012.json`` label and recipe. Any tar reader
opens them; :class:`Shards` reads them in any order.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import tarfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import groupby
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.errors import NoPhotographs, Undecodable
from training.synthesis.sample import Recipe, Sample

FAST = [cv2.IMWRITE_PNG_COMPRESSION, 1]
"""Noise hardly compresses; the lowest level is several times faster and a tenth larger."""
PARTS = (".png", ".mask.png", ".json")


def write(path: Path, samples: Iterable[tuple[int, Sample]]) -> None:
    """One shard of (index, sample) pairs; the same samples make the same bytes."""
    unfinished = path.with_suffix(".part")
    with tarfile.open(unfinished, "w") as tar:
        for index, sample in samples:
            mask = sample.mask.astype(np.uint8) * np.uint8(255)
            recipe = json.dumps({"index": index, "label": sample.label, **sample.recipe}, sort_keys=True)
            contents = (_png(sample.frame[..., ::-1]), _png(mask), recipe.encode())
            for part, content in zip(PARTS, contents, strict=True):
                member = tarfile.TarInfo(f"{index:06d}{part}")  # no time, no owner: nothing but the samples decides
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    unfinished.replace(path)


def write_folder(
    folder: Path, sample: Callable[[int], Sample], *, count: int, shards: int, workers: int = 1
) -> list[Path]:
    """Samples 0 to ``count - 1`` in ``shards`` files, as even as can be, made by ``workers`` processes."""
    if not 1 <= shards <= count:
        raise ValueError(f"cannot spread {count} samples over {shards} shards\n  -> write 1 to {count}")
    bounds = [count * shard // shards for shard in range(shards + 1)]
    paths = [folder / f"shard-{shard:05d}.tar" for shard in range(shards)]
    if others := set(folder.glob("*.tar")) - set(paths):
        raise ValueError(f"{folder} holds {min(others).name} of another set of shards\n  -> write to an empty folder")
    if workers == 1:
        for path, first, end in zip(paths, bounds[:-1], bounds[1:], strict=True):
            _write_range(sample, path, first, end)
        return paths
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, shards), spawn, initializer=cv2.setNumThreads, initargs=(1,)) as pool:
        list(pool.map(partial(_write_range, sample), paths, bounds[:-1], bounds[1:]))
    return paths


def _write_range(sample: Callable[[int], Sample], path: Path, first: int, end: int) -> None:
    write(path, ((index, sample(index)) for index in range(first, end)))


class Shards:
    """Every sample of the ``*.tar`` files of a folder: files by name, samples as they lie in them; picklable."""

    def __init__(self, folder: Path) -> None:
        self._places: list[tuple[Path, dict[str, tuple[int, int]]]] = []
        for path in sorted(folder.glob("*.tar")):
            self._places += _places(path)
        if not self._places:
            raise NoPhotographs(
                folder, "it holds no shard", remedy="write some: python -m training synthesize --shards"
            )

    def __len__(self) -> int:
        return len(self._places)

    def sample(self, index: int) -> Sample:
        """Sample ``index`` of all, from 0, as it was written."""
        path, parts = self._places[index]
        with path.open("rb") as file:
            frame, mask, recipe = (_bytes(file, *parts[part]) for part in PARTS)
        pixels = _decoded(frame, cv2.IMREAD_COLOR, path)
        covered = _decoded(mask, cv2.IMREAD_GRAYSCALE, path) > 127
        return Sample(np.ascontiguousarray(pixels[..., ::-1]), covered, json.loads(recipe))

    def recipes(self) -> Iterator[Recipe]:
        """The recipes alone, in order."""
        for path, places in groupby(self._places, key=lambda place: place[0]):
            with path.open("rb") as file:
                for _, parts in places:
                    yield json.loads(_bytes(file, *parts[".json"]))


def _places(path: Path) -> list[tuple[Path, dict[str, tuple[int, int]]]]:
    """Where in a shard the parts of each sample lie: first byte and length."""
    found: dict[str, dict[str, tuple[int, int]]] = {}
    try:
        with tarfile.open(path) as tar:
            for member in tar:
                name, dot, part = member.name.partition(".")
                found.setdefault(name, {})[dot + part] = (member.offset_data, member.size)
    except tarfile.TarError as error:
        raise Undecodable(path) from error
    for name, parts in found.items():
        if missing := set(PARTS) - set(parts):
            raise Undecodable(path, f"lacks {name}{min(missing)}")
    return [(path, parts) for parts in found.values()]


def _bytes(file: io.BufferedReader, start: int, length: int) -> bytes:
    file.seek(start)
    return file.read(length)


def _png(pixels: NDArray[np.uint8]) -> bytes:
    return bytes(cv2.imencode(".png", pixels, FAST)[1])


def _decoded(content: bytes, how: int, path: Path) -> NDArray[np.uint8]:
    pixels = cv2.imdecode(np.frombuffer(content, np.uint8), how) if content else None
    if pixels is None:
        raise Undecodable(path, "holds a picture that cannot be decoded")
    return np.asarray(pixels, np.uint8)
