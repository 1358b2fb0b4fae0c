"""How many photographs of a folder are judged inconclusive for what they show or how strongly they are compressed.

    python -m benchmarks.content --photographs FOLDER

It also tells how near the others come to the bounds of what is shown. Writes ``benchmarks/results/content.json``. The
bounds of ``sdk.content`` were chosen on the training photographs of the shipped model; they are never chosen on
pictures that the model is evaluated on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from PIL import Image

from benchmarks.entry import RESULTS, rounded
from benchmarks.provenance import provenance
from sdk.content import CLIPPED_SHARE, EQUAL_SHARE, FAR_CORRELATION, FLAT_DEVIATION, NEAR_CORRELATION, Content, content
from sdk.jpeg_quality import quality_of
from training.data import Photographs
from training.synthesis.life import LOWEST_QUALITY

BOUNDS = {
    "clipped": (CLIPPED_SHARE, max),
    "deviation": (FLAT_DEVIATION, min),
    "equal": (EQUAL_SHARE, max),
    "near": (NEAR_CORRELATION, min),
    "far": (FAR_CORRELATION, min),
}
"""By statistic: the bound, and which extreme of the photographs comes nearest to it."""


def measured(photographs: Photographs) -> dict[str, object]:
    """Counts over every photograph of the folder, as stored, and by statistic the bound and the nearest of them."""
    found: list[Content] = [content(photographs.pixels(index)[0]) for index in range(len(photographs.rows))]
    beyond = sum(one.reason != "" for one in found)
    return {
        "photographs": len(found),
        "inconclusive": beyond,
        "share": beyond / len(found),
        "least_quality": LOWEST_QUALITY,
        "below_least_quality": sum(one < LOWEST_QUALITY for one in qualities(photographs)),
        "nearest": {
            name: {"bound": bound, "photographs": nearest(asdict(one)[name] for one in found)}
            for name, (bound, nearest) in BOUNDS.items()
        },
    }


def qualities(photographs: Photographs) -> Iterator[int]:
    """The quality of every photograph that is a JPEG."""
    for row in photographs.rows:
        with Image.open(photographs.folder.parent / row.file) as image:
            found = quality_of(image)
        if found is not None:
            yield found


def main(arguments: list[str] | None = None) -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.content", description=__doc__)
    parser.add_argument("--photographs", type=Path, required=True, help="folder of authentic photographs")
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args(arguments)
    found = measured(Photographs(options.photographs, "all"))
    result = {"schema": 1, "kind": "content", "provenance": provenance(), **found}
    options.results.mkdir(parents=True, exist_ok=True)
    target = options.results / "content.json"
    text = json.dumps(rounded(result, hide=str(options.photographs)), indent=2)
    target.write_text(text + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    main()
