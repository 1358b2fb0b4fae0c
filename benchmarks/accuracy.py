"""How well an artifact does on images whose truth is known, set by set, under named protocols.

    python -m benchmarks.accuracy --data FOLDER --out FOLDER [--artifact psccnet-lite] [--protocol imdl ...]

Options, readers, metrics and pages are those of ``python -m training evaluate``, which does the same for a checkpoint.
Besides, the rows of README's table go to ``benchmarks/results/accuracy-<artifact>.json``, and every run is added to
``benchmarks/results/accuracy-runs.jsonl``. Beside an ensemble stand the models that it asks, and whether it beats the
best of them is told pair by pair.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import sdk
from benchmarks import floors, singles
from training.evaluation import commands, report
from training.evaluation.predictors import Answer
from training.evaluation.protocols import IMDL, REENCODED
from training.synthesis.sample import Frame

RESULTS = Path(__file__).with_name("results")
NECESSARY = (IMDL.name, REENCODED.name, "centre")
"""Protocols and control without which README's table has holes."""


class Shipped:
    """An artifact behind the protocol of predictors, as a user runs it: chosen backend and precision."""

    def __init__(
        self, artifact: str, *, threads: int | None = None, working_size: int | None = None,
        last: dict[object, Any] | None = None,
    ) -> None:  # fmt: skip
        """``working_size`` in px, None for the artifact's own; other sizes are loaded when they are asked for.

        ``last`` is shared by artifacts that may ask the same models: each is asked about an image once.
        """
        self.artifact, self.threads, self.own_size = artifact, threads, working_size
        self.last: dict[object, Any] = {} if last is None else last
        self.analyzers: dict[int | None, sdk.Analyzer] = {}
        chosen = self._at(None)
        terms = chosen.artifact.contract
        self.name, self.path = terms.name, chosen.artifact.path
        levels = terms.at(chosen.working_size)
        self.mask_threshold, self.score_thresholds = terms.mask_threshold, dict(levels.photographs) if levels else {}
        self.video_thresholds = (dict(levels.video) if levels else {}) or self.score_thresholds
        self.identity: Mapping[str, Any] = {
            "kind": "artifact",
            "version": terms.version,
            "status": terms.status,
            "digest": chosen.artifact.digest,
            "asks": singles.of(self.path),
            "weights_sha256": terms.sha256.get("weights.bin"),
            "working_size": chosen.working_size,
            "backend": chosen.choice.backend,
            "precision": chosen.choice.precision,
        }

    def _at(self, size: int | None) -> sdk.Analyzer:
        if size not in self.analyzers:
            working = self.own_size if size is None else size
            self.analyzers[size] = sdk.load(self.artifact, working_size=working, threads=self.threads)
            singles.remember(self.analyzers[size], self.last)
        return self.analyzers[size]

    def predict(self, frame: Frame, *, working_size: int | None = None) -> Answer:
        """Heatmap and calibrated score."""
        analysis = self._at(working_size).analyze(frame)
        return Answer(analysis.heatmap, analysis.score)

    def close(self) -> None:
        """Release every analyzer."""
        for analyzer in self.analyzers.values():
            analyzer.close()


def _tell_apart(models: Sequence[Shipped]) -> None:
    """Call an artifact of the same model as one before it by its folder, too."""
    taken: set[str] = set()
    for model in models:
        model.name = f"{model.name} ({model.path.name})" if model.name in taken else model.name
        taken.add(model.name)


def rows(result: Mapping[str, Any], model: str) -> list[dict[str, object]]:
    """README's rows: the model's headline figures by set, from both protocols that the table shows."""
    anew = result["figures"][REENCODED.name]
    return [_row(name, sets[model], sets["centre"], anew[name][model]) for name, sets in _own(result).items()]


def _own(result: Mapping[str, Any]) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    return result["figures"][IMDL.name]


def _row(name: str, mine: Mapping[str, Any], centre: Mapping[str, Any], anew: Mapping[str, Any]) -> dict[str, object]:
    def value(figures: Mapping[str, Any], key: str, part: str = "value") -> float | None:
        return figures[key][part] if key in figures else None

    authentic = value(mine, "image_flagged_authentic_at_5", "images") or 0
    judged = value(mine, "pixel_auc", "images") or 0  # all there are, where no authentic image makes image figures
    return {
        "set": name,
        "manipulated": value(mine, "image_flagged_manipulated_at_5", "images") or judged,
        "authentic": authentic,
        "image_auc": value(mine, "image_auc"),
        "image_auc_reencoded": value(anew, "image_auc"),
        "tpr_at_fpr_5": value(mine, "image_tpr_at_5"),
        "authentic_flagged": value(mine, "image_flagged_authentic_at_5"),
        "pixel_auc": value(mine, "pixel_auc"),
        "pixel_auc_interval": [value(mine, "pixel_auc", "low"), value(mine, "pixel_auc", "high")],
        "pixel_auc_centre": value(centre, "pixel_auc"),
        "pixel_f1": value(mine, "pixel_f1_own"),
    }


def main(arguments: list[str] | None = None) -> int:
    """Measure, and write the results; 2 if something was refused."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__)
    parser.add_argument("--artifact", default="psccnet-lite", help="name of a shipped artifact, or a directory")
    parser.add_argument("--beside", action="append", default=[], metavar="ARTIFACT",
                        help="another one, compared with it image by image, of any model; repeatable")  # fmt: skip
    parser.add_argument("--working-size", type=int, help="long side, px; 0 is native; without it what artifacts say")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--photographs", type=Path, help="folder of photographs, for --large or without --data")
    parser.add_argument("--count", type=int, default=500, help="samples, where there is no --data")
    parser.add_argument("--size", type=int, default=512, help="side of the samples, px")
    parser.add_argument("--results", type=Path, default=RESULTS)
    commands.options(parser)
    args = parser.parse_args(arguments)
    args.log = args.log or args.results / "accuracy-runs.jsonl"
    try:
        shipped = Shipped(args.artifact, threads=args.threads, working_size=args.working_size)
        beside = [
            Shipped(name, threads=args.threads, working_size=args.working_size, last=shipped.last)
            for name in [*singles.places(shipped.path), *args.beside]
        ]
        _tell_apart([shipped, *beside])
        try:
            result = commands.run(args, [shipped, *beside], marks=floors.marks)
        finally:
            for one in (shipped, *beside):
                one.close()
    except (sdk.SdkError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    if set(NECESSARY) <= {*result["figures"], *result["predictors"]} and args.data and not args.limit:
        _write(args.results / f"accuracy-{shipped.name}.json", result, shipped)
    return 0


def _write(target: Path, result: Mapping[str, Any], shipped: Shipped) -> None:
    """The committed result: the README's rows on top, everything below."""
    told = {
        "model": shipped.name,
        "version": shipped.identity["version"],
        "status": shipped.identity["status"],
        "artifact": shipped.identity["digest"],
        "protocol": "; ".join(result["protocols"][name]["in_words"] for name in (IMDL.name, REENCODED.name)),
        "rows": rows(result, shipped.name),
        "best_single": singles.best(result, shipped.name),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(report.finite({**result, **told}), indent=1) + "\n", encoding="utf-8")
    print(target)


if __name__ == "__main__":
    sys.exit(main())
