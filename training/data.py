"""Photographs on disk as weighted sources, their split into training and validation, and endless samples of them.

Any folder of photographs will do. A ``SOURCES.csv`` in it (columns file, mask, source_path, camera) says what else is
known; without one every picture below the folder is a photograph, and a label map of its objects, if there is one, is
the PNG of its name in a folder ``masks`` beside it or beside its own folder.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from training.errors import NoPhotographs, Undecodable
from training.synthesis import Finish, synthesize
from training.synthesis.sample import Crop, Frame, Sample, between
from training.synthesis.shards import Shards

Part = Literal["train", "validation", "demo", "all"]

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
"""What counts as a photograph in a folder without a listing."""
HELD_OUT = 8
"""One in so many photographs of a folder without a listing validates, and cameras of a listing of one's own."""
VALIDATION_FOLDERS = ("lire_cc", "lire_cc_crops", "exif_samples", "exif_samples_crops", "prnu_python_crops")
"""Folders held out as a whole, with every photograph of a camera that occurs in them."""
HALVED_FOLDERS = ("metadata_extractor", "metadata_extractor_crops")
"""Folders of which about half of the cameras are held out."""
DEMO_STEMS = frozenset({
    "Canon PowerShot S230", "Kodak ProBack", "Sony DCR-PC110E (2)", "Kodak DX4330", "Nikon E950",
    "Trust PowerCam Zoom LCD 710", "FujiFilm FinePixS1Pro (2)", "Sony DSC-HX5V (2)", "Panasonic DMC-LC40",
    "Olympus μ Digital 800", "Nikon E775", "Ricoh RDC5300", "Olympus C960",
})  # fmt: skip
"""File stems of the photographs that the demo shows or that its forgeries are made of."""
CAMERA_WEIGHT = 2.0
"""How much more often a camera's own file is drawn than a picture that a web service has processed."""
CACHE_BYTES = 3 << 30
"""Decoded photographs kept in memory by one process; beyond it they are decoded again."""
FLAT = 6.0
"""Standard deviation in grey levels under which a crop shows nothing and is drawn again."""


@dataclass(frozen=True, slots=True)
class Row:
    """One photograph of a ``SOURCES.csv``."""

    file: str
    """Path from the folder above the photographs' own, as the CSV has it."""
    mask: str
    """Path of its label map, or empty."""
    source_path: str
    """The photograph in its source; all crops of one photograph share it."""
    camera: str
    """Maker and model, or empty."""

    @property
    def folder(self) -> str:
        """The source's folder, second component of ``file``; empty for files that lie in none."""
        return self.file.split("/")[1] if self.file.count("/") > 1 else ""

    @property
    def camera_key(self) -> str:
        """The camera without case and spacing; photographs of unknown cameras stand for themselves."""
        return " ".join(self.camera.lower().split()) or f"photograph {self.source_path}"


def rows(photographs: Path) -> list[Row]:
    """The rows of ``photographs/SOURCES.csv``, or one for each picture below a folder without it, by name."""
    listing = photographs / "SOURCES.csv"
    if not listing.is_file():
        return found(photographs)
    with listing.open(newline="", encoding="utf-8") as lines:
        listed = csv.DictReader(lines)
        if "file" not in (listed.fieldnames or ()):
            raise NoPhotographs(photographs, "its SOURCES.csv has no column 'file'", remedy="add it, or remove the CSV")
        return [
            Row(row["file"], row.get("mask") or "", row.get("source_path") or row["file"], row.get("camera") or "")
            for row in listed
        ]


def found(photographs: Path) -> list[Row]:
    """The pictures below a folder, label maps left out; whatever is named like a picture has to be one."""
    if not photographs.is_dir():
        raise NoPhotographs(photographs, "it is no folder", remedy="give a folder of photographs")
    root = photographs.parent
    listed = []
    for path in sorted(photographs.rglob("*")):
        is_map = path.stem.endswith(".mask") or "masks" in path.relative_to(photographs).parts[:-1]
        if path.suffix.lower() not in SUFFIXES or is_map:
            continue
        try:
            Image.open(path).close()  # reads the header only
        except (OSError, SyntaxError, ValueError) as error:
            raise Undecodable(path) from error
        places = (folder / "masks" / f"{path.stem}.png" for folder in (path.parent, path.parent.parent))
        mask = next((place for place in places if place.is_file() and photographs in place.parents), None)
        file = path.relative_to(root).as_posix()
        listed.append(Row(file, mask.relative_to(root).as_posix() if mask else "", file, ""))
    if not listed:
        kinds = ", ".join(sorted(SUFFIXES))
        raise NoPhotographs(photographs, "nothing below it is a picture", remedy=f"give a folder with files {kinds}")
    return listed


def held_out_by_hash(camera_key: str) -> bool:
    """The exact rule for halved folders: the first byte of the SHA-256 of the camera key is even."""
    return hashlib.sha256(camera_key.encode()).digest()[0] % 2 == 0


def held_out(row: Row) -> bool:
    """Whether a photograph of which only the file is known validates: by the SHA-256 of its name."""
    return one_in_so_many(Path(row.file).name)


def one_in_so_many(name: str) -> bool:
    """Whether the first byte of the SHA-256 of ``name`` is a multiple of :data:`HELD_OUT`."""
    return hashlib.sha256(name.encode()).digest()[0] % HELD_OUT == 0


def split(photographs: Iterable[Row]) -> dict[str, Part]:
    """The part of every file: demo cameras first, then validation folders and cameras, the rest trains.

    A camera is in one part only, whichever folders its photographs lie in. A listing that names none of these folders
    has one in so many cameras held out by their hash.
    """
    listed = list(photographs)
    halved = [row for row in listed if row.folder in HALVED_FOLDERS]
    demo = {row.camera_key for row in halved if Path(row.source_path).stem in DEMO_STEMS}
    held = {row.camera_key for row in listed if row.folder in VALIDATION_FOLDERS}
    held |= {row.camera_key for row in halved if held_out_by_hash(row.camera_key)}
    if not held and not halved:
        held = {row.camera_key for row in listed if one_in_so_many(row.camera_key)}
    parts: dict[str, Part] = {}
    for row in listed:
        parts[row.file] = "demo" if row.camera_key in demo else "validation" if row.camera_key in held else "train"
    return parts


def weights(listed: Sequence[Row]) -> NDArray[np.float64]:
    """Probability of each photograph.

    Folders by the square root of their size, camera files ``CAMERA_WEIGHT`` times that.
    """
    sizes = Counter(row.folder for row in listed)
    raw = np.array([(CAMERA_WEIGHT if row.camera else 1.0) / np.sqrt(sizes[row.folder]) for row in listed])
    return np.asarray(raw / raw.sum(), np.float64)


class Photographs:
    """The photographs of one part, decoded on first use and kept; picklable, so that workers open their own."""

    def __init__(self, folder: Path, part: Part) -> None:
        self.folder = folder = folder.resolve()
        listed = rows(folder)
        if (folder / "SOURCES.csv").is_file():
            parts = split(listed)
        else:
            parts = {row.file: "validation" if held_out(row) else "train" for row in listed}
        self.rows = [row for row in listed if part in {"all", parts[row.file]}]
        if not self.rows:
            raise NoPhotographs(folder, f"none is in part {part!r}", remedy="add photographs, or use part 'all'")
        self.cumulative = np.cumsum(weights(self.rows))
        self._kept: dict[int, tuple[Frame, NDArray[np.uint8] | None]] = {}
        self._kept_bytes = 0

    def __getstate__(self) -> dict[str, object]:
        """Without the decoded pixels."""
        return {**self.__dict__, "_kept": {}, "_kept_bytes": 0}

    def pixels(self, index: int) -> tuple[Frame, NDArray[np.uint8] | None]:
        """RGB [H, W, 3] and the label map [H, W] or None."""
        if index in self._kept:
            return self._kept[index]
        row, root = self.rows[index], self.folder.parent
        bgr = cv2.imread(str(root / row.file), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if bgr is None:
            raise Undecodable(root / row.file)
        labels = label_map(root / row.mask, bgr.shape[:2]) if row.mask else None
        decoded = (np.ascontiguousarray(bgr[..., ::-1]), labels)
        if self._kept_bytes + bgr.nbytes < CACHE_BYTES:
            self._kept[index] = decoded
            self._kept_bytes += bgr.nbytes
        return decoded

    def crop(self, rng: np.random.Generator, side: int) -> Crop:
        """A random window, half of the time mirrored; at native size or, as often, with the photograph shrunk."""
        for attempt in range(3):
            index = min(int(np.searchsorted(self.cumulative, rng.random(), side="right")), len(self.rows) - 1)
            frame, labels = window(*self.pixels(index), rng, side)
            if attempt == 2 or frame.std() >= FLAT:  # the third crop is taken whatever it shows
                break
        if rng.random() < 0.5:
            frame = np.ascontiguousarray(frame[:, ::-1])
            labels = None if labels is None else np.ascontiguousarray(labels[:, ::-1])
        return Crop(frame, labels, self.rows[index].file)


def label_map(file: Path, shape: tuple[int, ...] | None = None) -> NDArray[np.uint8]:
    """Object labels [H, W], 0 = background, of colours their strongest channel; refused unless of a given ``shape``."""
    values = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise Undecodable(file)
    if shape is not None and values.shape[:2] != tuple(shape):
        raise Undecodable(file, f"is {values.shape[1]}x{values.shape[0]}, its photograph {shape[1]}x{shape[0]}")
    flat = values if values.ndim == 2 else values[..., :3].max(-1)
    return np.asarray(np.minimum(flat, 255), np.uint8)


def window(
    pixels: Frame, labels: NDArray[np.uint8] | None, rng: np.random.Generator, side: int
) -> tuple[Frame, NDArray[np.uint8] | None]:
    """A ``side`` x ``side`` window; half of the time of the photograph shrunk; photographs that are too small grow."""
    short = min(pixels.shape[:2])
    scale = 1.0 if rng.random() < 0.5 else between(rng, min(side / short, 1.0), 1.0)
    span = min(round(side / max(scale, side / short)), short)
    top, left = (int(rng.integers(0, extent - span + 1)) for extent in pixels.shape[:2])
    where = np.s_[top : top + span, left : left + span]
    frame = _resized(pixels[where], side, cv2.INTER_AREA if span > side else cv2.INTER_CUBIC)
    return frame, None if labels is None else _resized(labels[where], side, cv2.INTER_NEAREST)


def _resized(pixels: NDArray[np.uint8], side: int, how: int) -> NDArray[np.uint8]:
    if len(pixels) == side:
        return np.ascontiguousarray(pixels)
    return np.asarray(cv2.resize(pixels, (side, side), interpolation=how), np.uint8)


class Samples(Dataset[tuple[Tensor, Tensor]]):
    """Sample ``index`` of a seed as tensors, frame uint8 [s, s, 3], mask bool [s, s]; the sampler makes the order."""

    def __init__(
        self, photographs: Photographs, *, seed: int, size: int, ramp: int = 0, hardness: float = 1.0,
        video: bool = True, kinds: Collection[str] | None = None, finish: Finish | None = None,
    ) -> None:  # fmt: skip
        """Over the first ``ramp`` samples hardness rises from 0 to ``hardness``; 0 means that it does not change.

        ``video=False`` leaves passes through a video codec out, for machines without PyAV. ``kinds`` and ``finish`` as
        in :func:`training.synthesis.synthesize`.
        """
        self.photographs, self.seed, self.size = photographs, seed, size
        self.ramp, self.hardness, self.video = ramp, hardness, video
        self.kinds, self.finish = kinds, finish

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Frame and mask of sample ``index``, the same on every call."""
        sample = self.sample(index)
        return torch.from_numpy(sample.frame), torch.from_numpy(sample.mask)

    def sample(self, index: int) -> Sample:
        """The sample itself, with its recipe."""
        hardness = self.hardness * (min(index / self.ramp, 1.0) if self.ramp else 1.0)
        how = {"seed": self.seed, "index": index, "size": self.size, "kinds": self.kinds, "finish": self.finish}
        return synthesize(self.photographs, **how, hardness=hardness, video=self.video)


class ShardSamples(Dataset[tuple[Tensor, Tensor]]):
    """Samples that ``python -m training synthesize --shards`` wrote, in place of :class:`Samples`.

    Indices beyond the last begin again at the first, so that an endless sampler can be used with either.
    """

    def __init__(self, folder: Path) -> None:
        self.shards = Shards(folder)

    def __len__(self) -> int:
        return len(self.shards)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Frame uint8 [s, s, 3] and mask bool [s, s]."""
        sample = self.sample(index)
        return torch.from_numpy(sample.frame), torch.from_numpy(sample.mask)

    def sample(self, index: int) -> Sample:
        """The sample itself, with its recipe."""
        return self.shards.sample(index % len(self))

    def origins(self) -> set[str]:
        """Every photograph that a sample is made of."""
        return {str(recipe[key]) for recipe in self.shards.recipes() for key in ("origin", "donor") if key in recipe}
