"""Make the demo's photographs: four as delivered, four manipulated by a recipe, one of each family.

    python tests/golden/make_samples.py PHOTOGRAPHS [FOLDER]

``PHOTOGRAPHS`` holds the originals of the metadata-extractor collection; ``FOLDER`` (default ``sdk/samples``)
receives the JPEGs, a mask PNG for each manipulated one, and ``samples.json``. NumPy and OpenCV only. The
recipes were fixed before any weights existed; they depend on no model.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]  # [H, W, 3] BGR, as OpenCV reads and writes
Mask = NDArray[np.uint8]  # [H, W], 255 where pixels were changed on purpose
Points = list[tuple[int, int]]  # corners of a polygon, px

SEED = 20
QUALITY = 93  # JPEG quality of the manipulated photographs
CREDIT = "metadata-extractor sample images, contributed by its users (github.com/drewnoakes/metadata-extractor-images)"
LICENCE = "You are free to use these media files however you wish"

CANNON: Points = [
    (684, 46), (706, 44), (726, 62), (729, 88), (716, 108), (719, 140), (712, 158), (710, 190), (680, 208),
    (656, 212), (640, 244), (606, 280), (566, 302), (610, 290), (655, 310), (690, 355), (708, 420), (706, 480),
    (675, 535), (620, 556), (556, 545), (518, 482), (450, 494), (418, 484), (410, 530), (370, 572), (310, 578),
    (262, 545), (236, 474), (206, 470), (206, 506), (80, 524), (80, 462), (160, 424), (236, 380), (262, 325),
    (305, 292), (350, 296), (358, 274), (378, 258), (376, 230), (392, 228), (398, 252), (420, 220), (470, 182),
    (584, 116), (588, 84), (612, 64), (640, 62), (646, 88),
]  # fmt: skip
BUTTERFLY: Points = [
    (245, 300), (262, 276), (340, 232), (420, 210), (488, 218), (496, 200), (410, 122), (412, 112), (424, 112),
    (506, 188), (514, 186), (556, 84), (570, 80), (568, 94), (522, 192), (532, 210), (590, 180), (690, 166),
    (790, 176), (812, 200), (806, 230), (770, 258), (735, 290), (714, 330), (708, 372), (690, 392), (664, 416),
    (660, 460), (610, 464), (556, 432), (546, 466), (510, 476), (470, 484), (448, 452), (400, 420), (380, 390),
    (300, 362), (252, 334),
]  # fmt: skip
STAMPS: list[tuple[tuple[int, int, int, int], tuple[int, int]]] = [  # box (x, y, w, h) and where its filling lies, px
    ((194, 242, 126, 53), (-130, 0)),  # the house number: sky beside it
    ((335, 364, 84, 87), (-88, 0)),  # the notice: field beside it
    ((362, 364, 28, 88), (2, 90)),  # the post behind the notice: post below it
]
TULIPS: list[tuple[int, int, int]] = [  # centre and radius, px
    (156, 354, 68), (228, 132, 56), (702, 304, 68), (806, 532, 74), (674, 626, 62), (702, 482, 52),
]  # fmt: skip


def polygon(points: Points, height: int, width: int) -> Mask:
    """255 inside a polygon, [height, width]."""
    return cv2.fillPoly(np.zeros((height, width), np.uint8), [np.array(points, np.int32)], 255)


def cut_out(frame: Frame, points: Points, *, margin: int) -> Mask:
    """The object in a hand-drawn polygon, its outline refined by GrabCut within ``margin`` px of the polygon's."""
    inside = polygon(points, *frame.shape[:2])
    around = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1,) * 2)
    labels = np.full(inside.shape, cv2.GC_BGD, np.uint8)
    labels[cv2.dilate(inside, around) > 0] = cv2.GC_PR_BGD
    labels[inside > 0] = cv2.GC_PR_FGD
    labels[cv2.erode(inside, around) > 0] = cv2.GC_FGD
    cv2.setRNGSeed(SEED)
    cv2.grabCut(frame, labels, None, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_MASK)
    found = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8) * 255
    return cv2.morphologyEx(found, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))


def blend(host: Frame, patch: Frame, alpha: NDArray[np.float32]) -> Frame:
    """``patch`` over ``host`` with opacity ``alpha`` [H, W] in [0, 1]."""
    return np.rint(host + alpha[..., None] * (patch.astype(np.float32) - host)).clip(0, 255).astype(np.uint8)


def splice(photographs: Path) -> tuple[Frame, Mask]:
    """The field gun of one photograph on the lawn of another, toned to its dusk, with a shadow under it."""
    donor, host = read(photographs, "Nikon_E950.jpg"), read(photographs, "Trust_PowerCam_Zoom_LCD_710.JPG")
    height, width = host.shape[:2]
    place = np.array([[0.62, 0, 30], [0, 0.62, 392]])
    gun = cv2.warpAffine(donor, place, (width, height), flags=cv2.INTER_AREA)
    wall = cv2.morphologyEx(cv2.inRange(donor, (150, 150, 150), (255, 255, 255)), cv2.MORPH_OPEN, np.ones((4, 4)))
    shape = cut_out(donor, CANNON, margin=7) & ~cv2.dilate(wall, np.ones((5, 5)))
    shape = cv2.warpAffine(shape, place, (width, height), flags=cv2.INTER_LINEAR)
    toned = 255 * (gun / 255.0) ** 1.25 * np.array([0.62, 0.66, 0.56])
    toned = cv2.blur(cv2.GaussianBlur(toned, (0, 0), 0.8), (3, 1))
    alpha = cv2.GaussianBlur(cv2.erode(shape, np.ones((2, 2))), (0, 0), 1.0).astype(np.float32) / 255
    ground = np.zeros((height, width), np.float32)
    for x, y, a, b in ((232, 738, 86, 12), (414, 722, 78, 11), (120, 706, 70, 8)):
        cv2.ellipse(ground, (x, y), (a, b), 0, 0, 360, 0.62, -1)
    ground = cv2.GaussianBlur(ground, (0, 0), 7)
    shaded = blend(host, np.zeros_like(host), ground)
    return blend(shaded, toned.clip(0, 255).astype(np.uint8), alpha), np.where(alpha >= 0.5, 255, 0).astype(np.uint8)


def copy_move(photographs: Path) -> tuple[Frame, Mask]:
    """A butterfly turned, made smaller and set down a second time in the same photograph."""
    host = cv2.resize(read(photographs, "Kodak_DX4330.jpg"), (1440, 960), interpolation=cv2.INTER_AREA)
    shape = cut_out(host, [(round(1.44 * x), round(1.44 * y)) for x, y in BUTTERFLY], margin=4)
    turn = cv2.getRotationMatrix2D((760, 410), 32, 0.6)
    turn[:, 2] += np.array([1130, 735]) - (760, 410)
    copy = cv2.warpAffine(host, turn, (1440, 960), flags=cv2.INTER_CUBIC)
    moved = cv2.warpAffine(shape, turn, (1440, 960), flags=cv2.INTER_LINEAR)
    alpha = cv2.GaussianBlur(moved, (0, 0), 0.9).astype(np.float32) / 255
    return blend(host, copy, alpha), np.where(alpha >= 0.5, 255, 0).astype(np.uint8)


def removal(photographs: Path) -> tuple[Frame, Mask]:
    """Two plates of a signpost taken away with a clone stamp: sky, field and post copied over them."""
    frame = read(photographs, "Sony_DSC-HX5V_2_.jpg")
    removed = np.zeros(frame.shape[:2], np.uint8)
    for (x, y, width, height), (right, down) in STAMPS:
        box = np.zeros(frame.shape[:2], np.uint8)
        box[y : y + height, x : x + width] = 255
        removed |= box
        filling = cv2.warpAffine(frame, np.array([[1.0, 0, -right], [0, 1, -down]]), frame.shape[1::-1])
        frame = blend(frame, filling, cv2.GaussianBlur(box, (0, 0), 1.2).astype(np.float32) / 255)
    return frame, removed


def enhancement(photographs: Path) -> tuple[Frame, Mask]:
    """Six red tulips made yellow in a crop of a flower bed."""
    frame = read(photographs, "Panasonic_DMC-LC40.jpg")[96:1056, 296:1200]
    near = np.zeros(frame.shape[:2], np.uint8)
    for x, y, radius in TULIPS:
        cv2.circle(near, (x, y), radius, 255, -1)
    hue, saturation, value = cv2.split(cv2.cvtColor(frame, cv2.COLOR_BGR2HSV))
    red = ((hue > 160) | (hue < 8)) & (saturation > 70) & (near > 0)
    shape = cv2.morphologyEx(red.astype(np.uint8) * 255, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
    shape = cv2.morphologyEx(shape, cv2.MORPH_OPEN, np.ones((5, 5), np.uint8))
    yellow = cv2.merge(
        [((hue.astype(int) + 30) % 180).astype(np.uint8), saturation, cv2.convertScaleAbs(value, None, 1.25)]
    )
    alpha = cv2.GaussianBlur(shape, (0, 0), 1.5).astype(np.float32) / 255
    return blend(frame, cv2.cvtColor(yellow, cv2.COLOR_HSV2BGR), alpha), np.where(alpha >= 0.5, 255, 0).astype(np.uint8)


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """One photograph of the demo."""

    file: str
    title: str
    kind: str
    """``authentic`` or the family of the manipulation."""
    sources: tuple[str, ...]
    """Names of the originals in the collection."""
    make: Callable[[Path], tuple[Frame, Mask]] | None = None
    """None: the bytes as delivered."""

    @property
    def recipe(self) -> str:
        """What was done, in a sentence."""
        return (self.make.__doc__ or "").strip() if self.make else "Bytes as delivered."


SAMPLES = (
    Sample(file="daisy.jpg", title="Daisies by flash", kind="authentic", sources=("Canon_PowerShot_S230.jpg",)),
    Sample(file="river.jpg", title="A church by a frozen river", kind="authentic", sources=("Kodak_ProBack.jpg",)),
    Sample(file="valley.jpg", title="A valley in the Alps", kind="authentic", sources=("Nikon_E775.jpg",)),
    Sample(file="gun.jpg", title="A field gun before a house", kind="authentic", sources=("Nikon_E950.jpg",)),
    Sample(
        file="garden.jpg",
        title="A field gun in a garden",
        kind="splice",
        sources=("Trust_PowerCam_Zoom_LCD_710.JPG", "Nikon_E950.jpg"),
        make=splice,
    ),
    Sample(
        file="butterflies.jpg", title="Two butterflies", kind="copy-move", sources=("Kodak_DX4330.jpg",), make=copy_move
    ),
    Sample(
        file="signpost.jpg",
        title="A signpost without two of its plates",
        kind="removal",
        sources=("Sony_DSC-HX5V_2_.jpg",),
        make=removal,
    ),
    Sample(
        file="tulips.jpg",
        title="Yellow tulips",
        kind="enhancement",
        sources=("Panasonic_DMC-LC40.jpg",),
        make=enhancement,
    ),
)


def read(photographs: Path, name: str) -> Frame:
    """One original, [H, W, 3] BGR."""
    frame = cv2.imread(str(photographs / name), cv2.IMREAD_COLOR)
    if frame is None:
        raise ValueError(f"{photographs / name} cannot be read\n  -> give the folder of the original photographs")
    return frame


def write(sample: Sample, photographs: Path, folder: Path) -> dict[str, object]:
    """Write one sample and its mask; its entry of ``samples.json``."""
    target, mask_name = folder / sample.file, None
    if sample.make is None:
        target.write_bytes((photographs / sample.sources[0]).read_bytes())
    else:
        frame, mask = sample.make(photographs)
        mask_name = f"{target.stem}.mask.png"
        cv2.imwrite(str(target), frame, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        cv2.imwrite(str(folder / mask_name), mask, [cv2.IMWRITE_PNG_BILEVEL, 1])
    height, width = read(folder, sample.file).shape[:2]
    return {
        "file": sample.file,
        "title": sample.title,
        "kind": sample.kind,
        "mask": mask_name,
        "width": width,
        "height": height,
        "sha256": hashlib.sha256(target.read_bytes()).hexdigest(),
        "recipe": sample.recipe,
        "seed": SEED if sample.make else None,
        "sources": list(sample.sources),
        "credit": CREDIT,
        "licence": LICENCE,
    }


def main(arguments: list[str]) -> None:
    """Make every sample."""
    photographs = Path(arguments[0])
    folder = Path(arguments[1]) if len(arguments) > 1 else Path(__file__).parents[2] / "sdk" / "samples"
    folder.mkdir(parents=True, exist_ok=True)
    entries = [write(sample, photographs, folder) for sample in SAMPLES]
    (folder / "samples.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
