"""What a cascade saves, and what that costs in accuracy: rows from the cheapest model alone to all of them always.

    python -m benchmarks.cascade --artifact FOLDER/cascade (--photographs FOLDER [--count 120] | --data FOLDER)

Every model is asked about every image once, and timed; what a cascade with any band would have answered, and when, is
then known. Rows are bands around 0.5 and the artifact's own. Samples are made of the held-out photographs that the
cascade was fitted on, with another seed; of ``--data`` it saw nothing. Writes
``benchmarks/results/cascade-<artifact>-<host>.json``. Run it on a quiet machine: the load is recorded.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import sdk
from benchmarks.entry import RESULTS, heading, write
from export.ensembles.answers import asked
from export.ensembles.figures import Judge
from export.ensembles.fit import ends
from sdk.ensemble import Ensemble
from sdk.errors import ArtifactInvalid
from training.evaluation import items, report
from training.evaluation.figures import Figure, better, figures
from training.evaluation.items import Item
from training.evaluation.predictors import Answer
from training.evaluation.protocols import IMDL
from training.evaluation.tally import Record, recorded

WIDTHS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
"""Half the width of the bands around 0.5 that are tried; 0 asks the cheapest model alone, 0.5 every model always."""
PROTOCOL = replace(IMDL, pixel=("auc",), image=("auc",))


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """One image after every model was asked."""

    records: tuple[Record, ...]
    """By the stage that would be its last."""
    ms: NDArray[np.float64]
    """[stages], until the end of each."""

    @property
    def scores(self) -> list[float]:
        """[stages]."""
        return [record.score for record in self.records]


def seen(analyzer: Ensemble, found: Sequence[Item]) -> Iterator[Seen]:
    """Ask every model about every image, after one image that only warms up."""
    judge = Judge(name="cascade", mask_threshold=analyzer.artifact.contract.mask_threshold, score_thresholds={})
    models = list(analyzer.analyzers.values())
    asked(models, found[0].load()[0], min_score=0.0)
    for item in found:
        frame, truth = item.load()
        answers, ms = asked(models, frame, min_score=0.0)
        records = []
        for stage in analyzer.terms.stages:
            ran = answers[: stage.size]
            answer = Answer(
                stage.heatmap.of_heatmaps([one.heatmap for one in ran], frame.shape[:2]),
                stage.score.of_scores([one.score for one in ran]),
            )
            records.append(recorded(item, answer, truth, protocol=PROTOCOL, predictor=judge))
        upto = np.cumsum(ms)[[stage.size - 1 for stage in analyzer.terms.stages]]
        yield Seen(tuple(records), upto)


def rows(analyzer: Ensemble, images: Sequence[Seen]) -> list[dict[str, object]]:
    """One row for each band, that of the artifact last."""
    own = analyzer.terms.stages[0].band
    bands = [(0.5 - width, 0.5 + width) for width in WIDTHS]
    return [_row(analyzer, images, band) | {"own": False} for band in bands] + [
        _row(analyzer, images, own) | {"own": True}
    ]


def _row(analyzer: Ensemble, images: Sequence[Seen], band: tuple[float, float]) -> dict[str, object]:
    last = ends(np.array([image.scores for image in images]), band)
    sizes = np.array([stage.size for stage in analyzer.terms.stages])[last]
    mine = _figures([image.records[end] for image, end in zip(images, last, strict=True)])
    whole = _figures([image.records[-1] for image in images])
    ms = np.array([image.ms[end] for image, end in zip(images, last, strict=True)])
    return {
        "band": list(band),
        "asked": {name: float((sizes > place).mean()) for place, name in enumerate(analyzer.analyzers)},
        "mean_ms": float(ms.mean()),
        "mean_ms_of_all": float(np.mean([image.ms[-1] for image in images])),
        **{name: figure.to_dict() for name, figure in mine.items()},
        "less_all": {name: better(figure, whole[name]) for name, figure in mine.items()},
    }


def _figures(records: Sequence[Record]) -> dict[str, Figure]:
    return figures(records, PROTOCOL)


def table(found: Sequence[dict[str, object]]) -> str:
    """For people: a row for each band."""
    lines = ["band          went on  ms per frame  image AUC               pixel AUC"]
    for row in found:
        low, high = row["band"]
        further = list(row["asked"].values())[1]
        figures = "  ".join(f"{report.cell_text(row.get(name)):22}" for name in ("image_auc", "pixel_auc"))
        own = "  <- the artifact's" if row["own"] else ""
        lines.append(f"{low:.2f} to {high:.2f}  {further:7.2f}  {row['mean_ms']:12.0f}  {figures}{own}")
    return "\n".join(lines)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(prog="python -m benchmarks.cascade", description=__doc__)
    root.add_argument("--artifact", default="cascade", help="name of a shipped cascade, or its directory")
    root.add_argument("--photographs", type=Path, help="folder of photographs; samples are made of the held-out ones")
    root.add_argument("--data", type=Path, help="folder of images with masks, instead")
    root.add_argument("--count", type=int, default=120, help="samples")
    root.add_argument("--size", type=int, default=768, help="side of the samples, px")
    root.add_argument("--without-video", action="store_true", help="samples without a video codec, which needs PyAV")
    root.add_argument("--threads", type=int, default=2)
    root.add_argument("--host", default="cpu", help="kind of machine, for the file's name")
    root.add_argument("--results", type=Path, default=RESULTS)
    return root


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write the results; 2 if something was refused."""
    options = parser().parse_args(arguments)
    try:
        with sdk.load(options.artifact, threads=options.threads) as analyzer:
            if not isinstance(analyzer, Ensemble) or len(analyzer.terms.stages) < 2:
                raise ArtifactInvalid(f"{options.artifact} is no cascade", remedy="python -m export ensemble makes one")
            found, told = _images(options)
            measured = rows(analyzer, list(seen(analyzer, found)))
            choice = analyzer.choice
            result = heading("cascade", analyzer.artifact) | {
                "data": told,
                "protocol": {"in_words": str(PROTOCOL), "threads": options.threads, "backend": choice.backend}
                | {"precision": choice.precision, "working_size": analyzer.working_size},
                "rows": measured,
            }
            path = analyzer.artifact.path
    except (sdk.SdkError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    print(table(measured))
    print(write(report.finite(result), options.results, host=options.host, hide=path))
    return 0


def _images(options: argparse.Namespace) -> tuple[list[Item], dict[str, object]]:
    if options.data:
        return items.read(options.data), report.listing(options.data)
    if not options.photographs:
        raise ValueError("nothing to measure on\n  -> give --photographs, or --data")
    size = {"count": options.count, "size": options.size}
    found = items.synthetic(options.photographs, video=not options.without_video, **size)
    told = report.listing(options.photographs)["sha256"]
    return found, {"folder": "synthetic", "seed": items.SEED, **size, "photographs": told}


if __name__ == "__main__":
    sys.exit(main())
