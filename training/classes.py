"""What the objects of label maps are called, where somebody has said so.

A ``labels.json`` in the folder above a folder of label maps, ``{"1": "bag", ...}``, gives their values names; value 0
is no object. Maps without one hold objects and no classes: values of one photograph say nothing about another's.
"""

from __future__ import annotations

import json
from collections import Counter
from functools import cached_property
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
        named = Named(photographs)
        if count > len(named.photographs_by_name):
            raise ValueError(
                f"{photographs.folder} names {len(named.photographs_by_name)} classes of objects, not {count}\n"
                f"  -> ask for fewer classes (0 needs none), or write {LISTING} above the label maps"
            )
        self.names = tuple(name for name, _ in named.photographs_by_name.most_common(count))
        self._tables = {file: self._table(named.listings[listing]) for file, listing in named.maps.items()}

    def _table(self, names: dict[int, str]) -> NDArray[np.uint8]:
        """The class of every value of a map, uint8 [256]; 0 is none of them."""
        numbers = {name: number for number, name in enumerate(self.names, 1)}
        return np.array([numbers.get(names.get(value, ""), 0) for value in range(256)], np.uint8)

    def of(self, sample: Sample) -> NDArray[np.uint8]:
        """The class of every pixel [s, s]: 0 none of them, 1 to ``count``; ``UNKNOWN`` where nobody has named any."""
        table = self._tables.get(str(sample.recipe["origin"]))
        if table is None or sample.labels is None:
            return np.full(sample.mask.shape, UNKNOWN, np.uint8)
        return table[sample.labels]


class Named:
    """Which photographs have label maps with names."""

    def __init__(self, photographs: Photographs) -> None:
        self.photographs = photographs
        root = photographs.folder.parent
        places = {row.file: Path(row.mask).parent.parent / LISTING for row in photographs.rows if row.mask}
        self.maps = {file: place for file, place in places.items() if (root / place).is_file()}
        """The listing of every photograph that has one, both relative to the folder above the photographs' own."""
        self.listings = {place: read(root / place) for place in set(self.maps.values())}

    @cached_property
    def photographs_by_name(self) -> Counter[str]:
        """How many photographs show each class; of equals the first in the alphabet comes first."""
        found: Counter[str] = Counter()
        for row in self.photographs.rows:
            if row.file in self.maps:
                values = np.bincount(label_map(self.photographs.folder.parent / row.mask).ravel()).nonzero()[0]
                names = self.listings[self.maps[row.file]]
                found.update({names[value] for value in values.tolist() if value in names})
        return Counter(dict(sorted(found.items())))


def read(listing: Path) -> dict[int, str]:
    """Names by value; value 0 is left out."""
    try:
        return {int(value): str(name) for value, name in json.loads(listing.read_text()).items() if int(value)}
    except (ValueError, AttributeError) as error:
        raise ValueError(f"{listing} names no label values: {error}\n  -> write {{'1': 'bag', ...}} as JSON") from error
