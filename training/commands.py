"""The verbs of ``python -m training``."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import cv2
import torch

from training import checkpoints, models, recipes
from training.card import Card
from training.data import Photographs, Samples
from training.errors import UnknownName
from training.evaluation import commands as evaluation
from training.evaluation.predictors import Checkpoint
from training.fit import FitSettings
from training.forgers import Forger
from training.measure import Plan, card
from training.recipes.psccnet import Recipe, Stage
from training.synthesis.preview import contact_sheet
from training.synthesis.shards import write_folder

LEAST_SIDE = {"gsrnet": 32, "mag": 32, "mantranet": 16, "psccnet": 32}
"""Sides of the smallest samples that recipes are tried on, px; networks halve them several times."""


def synthesize(args: argparse.Namespace) -> int:
    """Write samples: frames as PNG, masks as PNG, recipes as JSON lines; or shards; or one contact sheet."""
    photographs = Photographs(args.photographs, args.part)
    finish = Forger.of(args.forger)
    samples = Samples(photographs, seed=args.seed, size=args.size, video=not args.without_video, finish=finish)
    made = (samples.sample(index) for index in range(args.count))
    args.out.mkdir(parents=True, exist_ok=True)
    if args.shards:
        write_folder(args.out, samples.sample, count=args.count, shards=args.shards, workers=args.workers)
        return 0
    if args.preview:
        cv2.imwrite(str(args.out / "preview.png"), contact_sheet(list(made))[..., ::-1])
        return 0
    with (args.out / "samples.jsonl").open("w") as listing:
        for index, sample in enumerate(made):
            cv2.imwrite(str(args.out / f"{index:06d}.png"), sample.frame[..., ::-1])
            cv2.imwrite(str(args.out / f"{index:06d}_mask.png"), sample.mask.astype("uint8") * 255)
            row = {"index": index, "seed": args.seed, "label": sample.label, **sample.recipe}
            listing.write(json.dumps(row) + "\n")
    return 0


def fit(args: argparse.Namespace) -> int:
    """Train a model into a folder, or go on where the folder stands: a run that was killed goes on exactly."""
    torch.set_num_threads(args.threads)
    base = args.model.split("-")[0]
    if base not in recipes.names():
        raise UnknownName("model", args.model, models.names())
    if base not in {"psccnet", "mantranet"} and args.shards:
        raise ValueError(f"{base} makes samples of its own\n  -> leave --shards out")
    if base in {"psccnet", "mantranet"} and args.ablation:
        raise ValueError(f"{base} has no ablations\n  -> leave --ablation out")
    recipe = import_module(f"training.recipes.{base}")
    stages = tuple(args.stage) or (Stage(until=1.0, size=args.size, batch=args.batch),)
    if (smallest := min(stage.size for stage in stages)) < LEAST_SIDE[base]:
        raise ValueError(f"samples of {smallest} px are too small for {base}\n  -> give {LEAST_SIDE[base]} px or more")
    if base != "psccnet" and any(stage.grid or not stage.correlation for stage in stages):
        raise ValueError(f"{base} has no GRID and nothing to be silent\n  -> give stages as UNTIL:SIZE:BATCH")
    recipe.fit(
        args.model, args.out,
        Recipe(
            photographs=args.photographs, stages=stages, seed=args.seed, ramp=args.ramp, weights=args.weights,
            shards=args.shards, forgers=tuple(args.forger), video=not args.without_video,
        ),
        FitSettings(
            minutes=args.minutes, steps=args.steps, rate=args.rate, device=args.device, workers=args.workers,
            compiler="inductor" if args.compile else None,
        ),
        **({"ablation": args.ablation} if args.ablation else {}), **dict(args.set),
    )  # fmt: skip
    return 0


def evaluate(args: argparse.Namespace) -> int:
    """Print figures under named protocols; write them as JSON, with pictures and curves.

    An artifact is evaluated in the same way by python -m benchmarks.accuracy.
    """
    torch.set_num_threads(args.threads)
    known = Card.read(args.card) if args.card else None
    models = [Checkpoint(args.checkpoint, card=known, working_size=args.working_size)] if args.checkpoint else []
    evaluation.run(args, models)
    return 0


def classify(args: argparse.Namespace) -> int:
    """Print how well the first step of ManTra-Net tells manipulations apart; write it as JSON and as a picture."""
    from training.evaluation import manipulations  # matplotlib takes a second to import

    torch.set_num_threads(args.threads)
    found = manipulations.evaluate(
        args.checkpoint, args.photographs, count=args.count, size=args.size, device=args.device
    )
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "manipulations.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    manipulations.plot(found, args.out / "manipulations.png")
    print(manipulations.table(found))
    return 0


def measure(args: argparse.Namespace) -> int:
    """Write the card of trained weights: thresholds, calibration and figures from photographs training did not see."""
    torch.set_num_threads(args.threads)
    plan = Plan(
        photographs=args.photographs, samples=args.count, size=args.size, working_sizes=tuple(args.working_size),
        native_megapixels=args.native_megapixels, video=not args.without_video,
    )  # fmt: skip
    known = json.loads(args.known.read_text()) if args.known else {}
    card(checkpoints.load(args.checkpoint).to(args.device), plan, **known).write(args.card)
    return 0


def stage(text: str) -> Stage:
    """``UNTIL:SIZE:BATCH[:GRID][:silent]``, for instance 0.5:128:16:64:silent."""
    form = re.fullmatch(r"([^:]+):([^:]+):([^:]+)(?::([^:]+))??(:silent)?", text)
    try:
        until, size, batch, grid = float(form[1]), int(form[2]), int(form[3]), int(form[4] or 0)
    except (TypeError, ValueError):
        raise argparse.ArgumentTypeError(f"{text!r} is no UNTIL:SIZE:BATCH[:GRID][:silent]") from None
    try:
        return Stage(until=until, size=size, batch=batch, grid=grid, correlation=form[5] is None)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def whole(least: int) -> Callable[[str], int]:
    """What reads a whole number from ``least`` on."""

    def read(text: str) -> int:
        if not re.fullmatch(r"-?\d+", text) or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is no whole number from {least} on")
        return int(text)

    return read


def setting(text: str) -> tuple[str, object]:
    """``NAME=VALUE``, the value as JSON or, where it is none, as it is."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} has no '='")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


def parser() -> argparse.ArgumentParser:
    """One subcommand per verb."""
    root = argparse.ArgumentParser(
        prog="python -m training", description="From photographs to trained, measured weights."
    )
    verbs = root.add_subparsers(required=True, metavar="VERB")
    for run, options in VERBS.items():
        verb = verbs.add_parser(run.__name__, help=run.__doc__, description=run.__doc__)
        verb.set_defaults(run=run)
        verb.add_argument("--photographs", type=Path, required=run is not evaluate, help="folder of photographs")
        verb.add_argument("--size", type=whole(min(LEAST_SIDE.values())), default=256, help="side of the samples, px")
        verb.add_argument("--threads", type=whole(1), default=torch.get_num_threads())
        options(verb)
    return root


def _synthesize_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--out", type=Path, required=True, help="folder to write to")
    verb.add_argument("--count", type=whole(1), default=32)
    verb.add_argument("--seed", type=int, default=1)
    verb.add_argument("--part", choices=("train", "validation", "all"), default="train")
    verb.add_argument("--without-video", action="store_true", help="no pass through a video codec, which needs PyAV")
    _forger_option(verb)
    verb.add_argument("--shards", type=whole(0), default=0, metavar="N", help="N tar files that training reads back")
    verb.add_argument("--workers", type=whole(1), default=1, help="processes that write shards")
    verb.add_argument("--preview", action="store_true", help="one contact sheet instead of single files")


def _forger_option(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--forger", type=Path, action="append", default=[], metavar="FILE", help="generator.pt or "
                      "retoucher.pt of a run of gsrnet or mag: finishes half of the forgeries, repeatable")  # fmt: skip


def _fit_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("model")
    verb.add_argument("--seed", type=int, default=1)
    verb.add_argument("--out", type=Path, required=True, help="folder of the run")
    verb.add_argument("--batch", type=int, default=10)
    verb.add_argument("--stage", type=stage, action="append", default=[], metavar="UNTIL:SIZE:BATCH[:GRID][:silent]",
                      help="instead of --size and --batch, repeatable; UNTIL is a share of the budget; "
                      "silent leaves the correlation branches out")  # fmt: skip
    verb.add_argument("--minutes", type=float, default=0.0, help="budget that the schedule spans")
    verb.add_argument("--steps", type=int, default=0, help="budget in steps, instead of --minutes")
    verb.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    verb.add_argument("--weights", type=Path, help="checkpoint of the model to go on from; without it fresh weights")
    verb.add_argument("--ramp", type=int, default=0, help="samples over which the synthesis grows hard")
    verb.add_argument("--shards", type=Path, metavar="DIR", help="samples that synthesize wrote, again and again, "
                      "instead of new ones; --photographs then only validates")  # fmt: skip
    _forger_option(verb)
    verb.add_argument("--without-video", action="store_true", help="no pass through a video codec, which needs PyAV")
    verb.add_argument("--ablation", help="of gsrnet, a row of the paper's table 2: dl, dl+cp, dl+g, dl+cp+g, "
                      "gs-net, gsr-net, or dl+b, its segmenter with the boundary; "
                      "of mag, of its table 1: no-retoucher, single-task, mag")  # fmt: skip
    verb.add_argument(
        "--set",
        type=setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a setting of the model or a weight of its losses, repeatable: width=32, deceit=1",
    )
    verb.add_argument("--device", default="cpu")
    verb.add_argument("--compile", action="store_true", help="through torch.compile; needs a C++ compiler")
    verb.add_argument("--workers", type=int, default=1)


def _evaluate_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--checkpoint", type=Path, help="ema.pt of a run; without it baselines alone")
    verb.add_argument("--working-size", type=int, help="long side, px; 0 is native; without it the card's")
    verb.add_argument("--count", type=whole(1), default=500, help="samples, where there is no --data")
    evaluation.options(verb)


def _classify_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--checkpoint", type=Path, required=True, help="ema.pt of a run of mantranet-imc")
    verb.add_argument("--count", type=whole(1), default=3850, help="patches, drawn evenly over the 385 manipulations")
    verb.add_argument("--device", default="cpu")
    verb.add_argument("--out", type=Path, required=True, help="folder for manipulations.json and manipulations.png")
    verb.set_defaults(size=128)


def _measure_options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--checkpoint", type=Path, required=True, help="ema.pt of a run")
    verb.add_argument("--card", type=Path, required=True, help="JSON file to write, for python -m export")
    verb.add_argument("--known", type=Path, help="JSON with the card's fields that cannot be measured: licence, data")
    verb.add_argument("--count", type=whole(1), default=160, help="samples")
    verb.set_defaults(size=Plan.size)  # above every working size, so that shrinking is measured too
    verb.add_argument(
        "--working-size", type=int, nargs="+", default=list(Plan.working_sizes), help="long sides, px; 0 is native"
    )
    verb.add_argument(
        "--native-megapixels", type=float, default=Plan.native_megapixels,
        help="photographs above this are not measured at their own size",
    )  # fmt: skip
    verb.add_argument("--without-video", action="store_true", help="no thresholds for video, no PyAV")
    verb.add_argument("--device", default="cpu")


VERBS = {
    synthesize: _synthesize_options, fit: _fit_options, evaluate: _evaluate_options, classify: _classify_options,
    measure: _measure_options,
}  # fmt: skip


def main(argv: list[str] | None = None) -> int:
    """Run a verb; 2 if it was refused."""
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except OSError as error:  # Python's name the file, and no remedy
        told = f"{error.filename}: {error.strerror}\n  -> give another path" if error.filename else error
        print(told, file=sys.stderr)
    except (ValueError, TypeError) as error:
        print(error, file=sys.stderr)
    return 2
