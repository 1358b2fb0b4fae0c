"""Photographs on disk as weighted sources, their split into training and validation, and endless samples of them."""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from training.synthesis import synthesize
from training.synthesis.sample import Crop, Frame, Sample, between

Part = Literal["train", "validation", "demo"]

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
        """The source's folder, second component of ``file``."""
        return self.file.split("/")[1]

    @property
    def camera_key(self) -> str:
        """The camera without case and spacing; photographs of unknown cameras stand for themselves."""
        return " ".join(self.camera.lower().split()) or f"photograph {self.source_path}"


def rows(photographs: Path) -> list[Row]:
    """The rows of ``photographs/SOURCES.csv``."""
    listing = photographs / "SOURCES.csv"
    if not listing.is_file():
        raise ValueError(f"{photographs} has no SOURCES.csv\n  -> give the folder of photographs that holds one")
    with listing.open(newline="", encoding="utf-8") as lines:
        return [Row(row["file"], row["mask"], row["source_path"], row["camera"]) for row in csv.DictReader(lines)]


def held_out_by_hash(camera_key: str) -> bool:
    """The exact rule for halved folders: the first byte of the SHA-256 of the camera key is even."""
    return hashlib.sha256(camera_key.encode()).digest()[0] % 2 == 0


def split(photographs: Iterable[Row]) -> dict[str, Part]:
    """The part of every file: demo cameras first, then validation folders and cameras, the rest trains.

    A camera is in one part only, whichever folders its photographs lie in.
    """
    listed = list(photographs)
    halved = [row for row in listed if row.folder in HALVED_FOLDERS]
    demo = {row.camera_key for row in halved if Path(row.source_path).stem in DEMO_STEMS}
    held = {row.camera_key for row in listed if row.folder in VALIDATION_FOLDERS}
    held |= {row.camera_key for row in halved if held_out_by_hash(row.camera_key)}
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
        parts = split(listed := rows(folder))
        self.folder = folder
        self.rows = [row for row in listed if parts[row.file] == part]
        if not self.rows:
            raise ValueError(f"no photograph of {folder} is in part {part!r}\n  -> check SOURCES.csv")
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
            raise ValueError(f"cannot decode {root / row.file}\n  -> remove it from SOURCES.csv")
        labels = np.asarray(cv2.imread(str(root / row.mask), cv2.IMREAD_UNCHANGED), np.uint8) if row.mask else None
        found = (np.ascontiguousarray(bgr[..., ::-1]), labels)
        if self._kept_bytes + bgr.nbytes < CACHE_BYTES:
            self._kept[index] = found
            self._kept_bytes += bgr.nbytes
        return found

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

    def __init__(self, photographs: Photographs, *, seed: int, size: int, ramp: int = 0) -> None:
        """``hardness`` rises from 0 to 1 over the first ``ramp`` samples; 0 means full hardness from the start."""
        self.photographs, self.seed, self.size, self.ramp = photographs, seed, size, ramp

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        """Frame and mask of sample ``index``, the same on every call."""
        sample = self.sample(index)
        return torch.from_numpy(sample.frame), torch.from_numpy(sample.mask)

    def sample(self, index: int) -> Sample:
        """The sample itself, with its recipe."""
        hardness = min(index / self.ramp, 1.0) if self.ramp else 1.0
        return synthesize(self.photographs, seed=self.seed, index=index, size=self.size, hardness=hardness)
