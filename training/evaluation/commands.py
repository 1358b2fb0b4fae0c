"""The options of an evaluation and what becomes of its result; the same for a checkpoint and for an artifact."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from training.evaluation import baselines, items, pages, report
from training.evaluation.distortions import FAMILIES, POSTPROCESSED
from training.evaluation.large import LEAST, LargeForgeries
from training.evaluation.predictors import Predictor
from training.evaluation.protocols import IMDL, PROTOCOLS, protocol
from training.evaluation.run import Task, evaluate
from training.evaluation.sensitivity import OPERATIONS, Point, points

Marks = Callable[[Mapping[str, object]], list[dict[str, object]]]
OVER = 1000
"""Long side above which an image of the folder counts as large, px."""


def options(verb: argparse.ArgumentParser) -> None:
    """What is measured, on what, and where the result goes."""
    verb.add_argument("--data", type=Path, help="folder with SOURCES.csv, images.csv, or images/ and masks/; "
                      "without it samples made of --photographs")  # fmt: skip
    verb.add_argument("--protocol", action="append", default=[], choices=[*PROTOCOLS, "all"], help="repeatable")
    verb.add_argument("--baseline", action="append", default=[], choices=[*baselines.names(), "all"],
                      help="classical detector or control in the same table, repeatable")  # fmt: skip
    verb.add_argument("--without-video", action="store_true", help="samples without a video codec, which needs PyAV")
    verb.add_argument("--robustness", action="store_true", help="curves under the papers' distortions")
    verb.add_argument("--by-kind", action="store_true", help="without --data: --count samples of each kind, every kind "
                      "a set of its own")  # fmt: skip
    verb.add_argument("--postprocessing", action="store_true", help="curves after shrinking, JPEG and smoothed edges, "
                      "as in ManTra-Net's figure 4 (b)")  # fmt: skip
    verb.add_argument("--sensitivity", type=int, default=0, metavar="N", help="curves by manipulation and parameter on "
                      "N patches of --photographs, as in its figure 4 (a)")  # fmt: skip
    verb.add_argument("--large", type=int, default=0, metavar="N", help="AUC by working size and area, on N forgeries "
                      f"of --photographs from {LEAST} px and on the folder's images over {OVER} px")  # fmt: skip
    verb.add_argument("--clips", type=Path, help="folder of authentic clips: share of frames flagged")
    verb.add_argument("--limit", type=int, default=0, help="only the first N images of --data, for a trial")
    verb.add_argument("--out", type=Path, required=True, help="folder for result.json, pictures.html and the curves")
    verb.add_argument("--log", type=Path, help="file of JSON lines to which the run is added")
    verb.add_argument("--card", type=Path, help="card of the weights: its thresholds are used, the run is added to it")


def run(args: argparse.Namespace, predictors: Sequence[Predictor], *, marks: Marks | None = None) -> dict[str, object]:
    """Evaluate, print the table, write everything else; the result.

    ``marks`` judges the result by what has to be reached; its answer stands in the result, the log and the table.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    args.out.mkdir(parents=True, exist_ok=True)
    asked = list(PROTOCOLS) if "all" in args.protocol else dict.fromkeys(args.protocol or [IMDL.name])
    beside = baselines.names() if "all" in args.baseline else dict.fromkeys(args.baseline)
    if not (predictors or beside):
        raise ValueError("nothing to evaluate\n  -> give --checkpoint, or --baseline")
    found = _items(args)
    task = Task(
        predictors=[*predictors, *map(baselines.get, beside)],
        items=found,
        protocols=[protocol(name) for name in asked],
        robustness=args.robustness,
        postprocessing=args.postprocessing,
        sensitivity=_points(args),
        large=_large(args, found),
        clips=items.clips(args.clips) if args.clips else (),
    )
    result, records = evaluate(task)
    result["data"] = _told(args)
    result["marks"] = marks(result) if marks else []
    model = task.predictors[0]
    (args.out / "result.json").write_text(json.dumps(report.finite(result), indent=1) + "\n", encoding="utf-8")
    shown = {p: records[p.name] for p in task.protocols if "auc" in p.pixel}
    pages.write(args.out / "pictures.html", model, found, shown)
    _draw(args.out, result)
    entry = report.headline(result)
    if args.log:
        report.append(entry, args.log)
    if args.card:
        report.enter(entry, args.card)
    print(report.terminal(result))
    return result


def _draw(folder: Path, result: Mapping[str, object]) -> None:
    """Every kind of curves that was measured."""
    families = {"robustness": FAMILIES, "postprocessing": POSTPROCESSED, "sensitivity": OPERATIONS}
    for name in families.keys() & result.keys():
        from training.evaluation import plots  # matplotlib takes a second to import, and most runs do without

        plots.write(folder, result[name], name=name, families=families[name])


def _points(args: argparse.Namespace) -> Iterable[Point]:
    if not args.sensitivity:
        return ()
    if not args.photographs:
        raise ValueError("nothing to manipulate\n  -> give --photographs beside --sensitivity")
    return points(args.photographs, count=args.sensitivity, size=args.size)


def _told(args: argparse.Namespace) -> dict[str, object]:
    """Which images these were."""
    if args.data:
        return report.listing(args.data) | {"limit": args.limit}
    made = {"folder": "synthetic", "seed": items.SEED, "size": args.size, "video": not args.without_video}
    made |= {"samples of each kind": args.count} if args.by_kind else {}
    return made | {"photographs": report.listing(args.photographs)["sha256"]}


def _items(args: argparse.Namespace) -> list[items.Item]:
    if args.data:
        found = items.read(args.data)
        return found[: args.limit] if args.limit else found
    if not args.photographs:
        raise ValueError("nothing to evaluate on\n  -> give --data, or --photographs to make samples of")
    make = items.by_kind if args.by_kind else items.synthetic
    found = make(args.photographs, count=args.count, size=args.size, video=not args.without_video)
    if not found:
        raise ValueError("nothing to evaluate on\n  -> give a --count of samples, or --data")
    return found


def _large(args: argparse.Namespace, found: Sequence[items.Item]) -> list[items.Item]:
    if not args.large:
        return []
    made = LargeForgeries(args.photographs).items(args.large) if args.photographs else []
    return made + items.large(found, over=OVER)
