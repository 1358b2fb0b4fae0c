"""``python -m training fit``: the command line of the training side."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from pathlib import Path

import torch

from training.fit import FitSettings
from training.recipes.psccnet import Recipe, Stage


def fit(args: argparse.Namespace) -> int:
    """Train a model into a folder, or go on where the folder stands; runs that were killed go on exactly."""
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    recipe = import_module(f"training.recipes.{args.model.split('-')[0]}")
    settings = FitSettings(minutes=args.minutes, steps=args.steps, rate=args.rate, device=args.device, workers=args.workers)
    stages = tuple(args.stage) or (Stage(until=1.0, size=args.size, batch=args.batch),)
    recipe.fit(args.model, args.out, Recipe(photographs=args.photographs, stages=stages, seed=args.seed, ramp=args.ramp), settings)
    return 0


def stage(text: str) -> Stage:
    """``UNTIL:SIZE:BATCH[:GRID]``, for instance 0.7:128:16:64."""
    until, *sizes = text.split(":")
    size, batch, grid = (*map(int, sizes), 0)[:3]
    return Stage(until=float(until), size=size, batch=batch, grid=grid)


def parser() -> argparse.ArgumentParser:
    """One subcommand per verb."""
    root = argparse.ArgumentParser(prog="python -m training", description=__doc__)
    verbs = root.add_subparsers(required=True, metavar="VERB")
    verb = verbs.add_parser("fit", help=fit.__doc__, description=fit.__doc__)
    verb.set_defaults(run=fit)
    verb.add_argument("model")
    verb.add_argument("--photographs", type=Path, required=True, help="folder with SOURCES.csv")
    verb.add_argument("--out", type=Path, required=True, help="folder of the run")
    verb.add_argument("--size", type=int, default=256, help="side of the samples, px")
    verb.add_argument("--batch", type=int, default=10)
    verb.add_argument("--stage", type=stage, action="append", default=[], help=f"instead of --size and --batch, repeatable: {stage.__doc__}")
    verb.add_argument("--minutes", type=float, default=0.0, help="budget that the schedule spans")
    verb.add_argument("--steps", type=int, default=0, help="budget in steps, instead of --minutes")
    verb.add_argument("--rate", type=float, default=1e-3, help="peak learning rate")
    verb.add_argument("--ramp", type=int, default=0, help="samples over which the synthesis grows hard")
    verb.add_argument("--seed", type=int, default=1)
    verb.add_argument("--device", default="cpu")
    verb.add_argument("--threads", type=int, default=1)
    verb.add_argument("--workers", type=int, default=1)
    return root


def main(argv: list[str] | None = None) -> int:
    """Run a verb; 2 if it was refused."""
    args = parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (ValueError, TypeError) as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
