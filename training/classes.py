"""What the objects of label maps are called, where somebody has said so.

A ``labels.json`` in the folder above a folder of label maps, ``{"1": "bag", ...}``, gives their values names; value 0
is no object. Maps without one hold objects and no classes: values of one photograph say nothing about another's.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from training.annotation import UNKNOWN
from training.data import Photographs, label_map
from training.synthesis.sample import Sample

LISTING = "labels.json"


class Classes:
    """The ``count`` classes that most photographs show, numbered 1 to ``count``; picklable."""

    def __init__(self, photographs: Photographs, count: int) -> None:
        named = names(photographs)
        if count > len(named):
            raise ValueError(
                f"{photographs.folder} names {len(named)} classes of objects, not {count}\n"
                f"  -> ask for fewer classes (0 needs none), or write {LISTING} above the label maps"
            )
        self.names = tuple(name for name, _ in named.most_common(count))
        root = photographs.folder.parent
        tables = {place: self._table(read(root / place)) for place in set(listings(photographs).values())}
        self._tables = {file: tables[place] for file, place in listings(photographs).items()}

    def _table(self, called: dict[int, str]) -> NDArray[np.uint8]:
        """The class of every value of a map, uint8 [256]; 0 is none of them."""
        numbers = {name: number for number, name in enumerate(self.names, 1)}
        return np.array([numbers.get(called.get(value, ""), 0) for value in range(256)], np.uint8)

    def of(self, sample: Sample) -> NDArray[np.uint8]:
        """The class of every pixel [s, s]: 0 none of them, 1 to ``count``; ``UNKNOWN`` where nobody has named any."""
        table = self._tables.get(str(sample.recipe["origin"]))
        if table is None or sample.labels is None:
            return np.full(sample.mask.shape, UNKNOWN, np.uint8)
        return table[sample.labels]


def listings(photographs: Photographs) -> dict[str, Path]:
    """The listing of every photograph that has one; both relative to the folder above the photographs' own."""
    places = {row.file: Path(row.mask).parent.parent / LISTING for row in photographs.rows if row.mask}
    return {file: place for file, place in places.items() if (photographs.folder.parent / place).is_file()}


def names(photographs: Photographs) -> Counter[str]:
    """How many photographs show each class; of equals the first in the alphabet comes first."""
    root, places = photographs.folder.parent, listings(photographs)
    called = {place: read(root / place) for place in set(places.values())}
    found: Counter[str] = Counter()
    for row in photographs.rows:
        if place := places.get(row.file):
            shown = np.bincount(label_map(root / row.mask).ravel()).nonzero()[0].tolist()
            found.update({called[place][value] for value in shown if value in called[place]})
    return Counter(dict(sorted(found.items())))


def read(listing: Path) -> dict[int, str]:
    """Names by value; value 0 is left out."""
    try:
        return {int(value): str(name) for value, name in json.loads(listing.read_text()).items() if int(value)}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{listing} names no label values: {error}\n  -> write {{'1': 'bag', ...}} as JSON") from error
