"""Images with their truth, one at a time: listed sets, anybody's folder, synthetic validation."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from training.data import Photographs, Samples
from training.synthesis import KINDS
from training.synthesis.imc import locally
from training.synthesis.sample import Frame, Mask, Sample

SEED = 30_013
"""Seed of the synthetic samples that are evaluated on; neither training's, nor validation's, nor measuring's."""
SUFFIXES = {".jpg", ".jpeg", ".png", ".tif", ".tiff", ".webp", ".bmp"}
CLIP_SUFFIXES = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".mts"}
LAYOUT = (
    "put images into images/, masks of the same names into masks/ and authentic images into authentic/, or list them "
    "in images.csv with columns image and mask"
)
Truth = Mask | None


@dataclass(frozen=True, slots=True)
class Item:
    """One image, read when it is asked for."""

    name: str
    load: Callable[[], tuple[Frame, Truth]]
    """RGB [H, W, 3] and the truth [H, W]; None where only the image's label is known."""
    group: str = "images"
    """The set that it is reported under; sets are never pooled."""
    label: bool | None = None
    """Whether it is manipulated; None: whether its truth marks a pixel."""
    path: Path | None = None


def read(data: Path) -> list[Item]:
    """The images of a folder.

    ``SOURCES.csv`` (columns ``file``, ``set``, ``role``, ``mask`` and, where copy and source are told apart,
    ``mask_target``; paths from the folder above) is taken first, then ``images.csv`` (columns ``image`` and, all
    optional, ``mask``, ``set``, ``label`` with ``manipulated`` or ``authentic``; paths from the folder itself), then
    the folders ``images`` and ``masks`` with equal stems and ``authentic``. Masks are white where manipulated.
    """
    data = data.resolve()  # "." has neither a name nor a folder above
    if (data / "SOURCES.csv").is_file():
        listed = _rows(data / "SOURCES.csv", needed=("file", "set", "role", "mask"))
        found = [_listed(row, data.parent) for row in listed]
    elif (data / "images.csv").is_file():
        found = [_given(row, data) for row in _rows(data / "images.csv", needed=("image",))]
    elif (data / "images").is_dir():
        found = list(_paired(data))
    else:
        raise ValueError(f"{data} holds neither SOURCES.csv, images.csv nor images/\n  -> {LAYOUT}")
    if not found:
        raise ValueError(f"{data} lists no image\n  -> {LAYOUT}")
    return found


def _rows(listing: Path, *, needed: Sequence[str]) -> list[dict[str, str]]:
    with listing.open(newline="", encoding="utf-8-sig") as lines:  # spreadsheets write a mark before the first name
        rows = csv.DictReader(lines)
        if lacking := [column for column in needed if column not in (rows.fieldnames or ())]:
            raise ValueError(f"{listing} has no column {', '.join(lacking)}\n  -> add it to the first line")
        return list(rows)


def _listed(row: dict[str, str], root: Path) -> Item:
    mask = row.get("mask_target") or row["mask"]
    return _item(root, row["file"], mask, group=row["set"], label=row["role"] != "authentic")


def _given(row: dict[str, str], root: Path) -> Item:
    label, mask = row.get("label"), row.get("mask") or ""
    if label not in {None, "", "manipulated", "authentic"}:
        raise ValueError(f"images.csv calls {row['image']} {label!r}\n  -> write manipulated or authentic")
    said = label == "manipulated" if label else bool(mask)
    return _item(root, row["image"], mask, group=row.get("set") or root.name, label=said)


def _paired(data: Path) -> Iterator[Item]:
    images, masks = _pictures(data / "images"), {path.stem: path for path in _pictures(data / "masks")}
    if alone := set(masks) - {path.stem for path in images}:
        name = masks[min(alone)].name
        raise ValueError(
            f"masks/{name} belongs to no image\n  -> name a mask like its image: images/a.jpg, masks/a.png"
        )
    for path in images:
        mask = masks.get(path.stem)
        name = str(path.relative_to(data))
        yield _item(data, name, str(mask.relative_to(data)) if mask else "", group=data.name, label=mask is not None)
    for path in _pictures(data / "authentic"):
        yield _item(data, str(path.relative_to(data)), "", group=data.name, label=False)


def _pictures(folder: Path) -> list[Path]:
    found = folder.iterdir() if folder.is_dir() else iter(())
    return sorted(path for path in found if path.suffix.lower() in SUFFIXES)


def _item(root: Path, file: str, mask: str, *, group: str, label: bool) -> Item:
    for path in (file, mask):
        if path and not (root / path).is_file():
            raise ValueError(f"{root / path} is listed and not there\n  -> correct the listing, or remove the row")
    load = partial(_load, root / file, root / mask if mask else None, label=label)
    return Item(file, load, group=group, label=label, path=root / file)


def _load(path: Path, mask: Path | None, *, label: bool) -> tuple[Frame, Truth]:
    bgr = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if bgr is None:
        raise ValueError(f"cannot decode {path}\n  -> take it out of the listing")
    frame = np.ascontiguousarray(bgr[..., ::-1])
    if mask is None:
        return frame, None if label else np.zeros(frame.shape[:2], np.bool_)
    white = cv2.imread(str(mask), cv2.IMREAD_GRAYSCALE)
    if white is None:
        raise ValueError(f"cannot decode {mask}\n  -> take it out of the listing")
    if white.max() == 1:
        raise ValueError(f"{mask} holds 0 and 1, hence nothing white\n  -> write 255 where the image is manipulated")
    return frame, nearest(white, frame.shape[:2]) > 127


def nearest(values: NDArray[np.uint8], shape: Sequence[int]) -> NDArray[np.uint8]:
    """``values`` [h, w] at another height and width, each pixel from the nearest."""
    height, width = shape
    if values.shape == (height, width):
        return values
    return np.asarray(cv2.resize(values, (width, height), interpolation=cv2.INTER_NEAREST_EXACT), np.uint8)


def synthetic(photographs: Path, *, count: int, size: int, seed: int = SEED, video: bool = True) -> list[Item]:
    """Samples made of held-out photographs, one kind of manipulation after the other as synthesis draws them."""
    samples = Samples(Photographs(photographs, "validation"), seed=seed, size=size, video=video)

    def load(index: int) -> tuple[Frame, Truth]:
        sample = samples.sample(index)
        return sample.frame, sample.mask

    return [Item(f"sample {index}", partial(load, index), group="synthetic") for index in range(count)]


def by_kind(photographs: Path, *, count: int, size: int, seed: int = SEED, video: bool = True) -> list[Item]:
    """``count`` forgeries of every kind of synthesis, each kind a set of its own.

    So is ``manipulation``: one of ManTra-Net's 385 under a mask, and nothing done afterwards.
    """
    source = Photographs(photographs, "validation")
    samples = {kind: Samples(source, seed=seed, size=size, video=video, kinds=(kind,)) for kind in KINDS}
    makers = {kind: made.sample for kind, made in samples.items()}
    makers["manipulation"] = partial(_manipulated, source, seed=seed, size=size)

    def load(make: Callable[[int], Sample], index: int) -> tuple[Frame, Truth]:
        sample = make(index)
        return sample.frame, sample.mask

    return [
        Item(f"{kind} {index}", partial(load, make, index), group=kind)
        for kind, make in makers.items()
        for index in range(count)
    ]


def _manipulated(source: Photographs, index: int, *, seed: int, size: int) -> Sample:
    rng = np.random.default_rng((seed, index))
    return locally(source.crop(rng, size), partial(source.crop, rng, size), rng, 1.0)


def large(items: Iterable[Item], *, over: int) -> list[Item]:
    """Those read from files whose long side is more than ``over`` px; only headers are read."""
    return [item for item in items if item.path is not None and max(extent(item.path)) > over]


def extent(path: Path) -> tuple[int, int]:
    """Width and height, from the header alone."""
    with Image.open(path) as image:
        return image.size


def clips(folder: Path) -> list[Path]:
    """The video files of a folder, by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in CLIP_SUFFIXES)
