"""The options of the verbs that analyse: those of ``sdk.load``, and its errors in their words."""

from __future__ import annotations

import argparse
import re
from dataclasses import fields
from typing import Any

from sdk.errors import BadSetting, SdkError
from sdk.limits import Limits
from sdk.paths import shown

LIMITS = {
    "bytes": "size of a file",
    "pixels": "width times height of a picture",
    "frames": "frames or pages of a file; of a picture the first is analysed",
    "seconds": "time to decode a picture",
    "memory": "bytes of memory to decode a file in",
}
"""What each option ``--max-...`` bounds."""
_IN_LIMITS = re.compile(r"(?:limits=)?(?:sdk\.)?(?:Video)?Limits\(([^()]*)\)")
_SETTING = re.compile(r"\b(device|backend|precision|working_size|threads|min_score|decode)=[\"']?(\w+)[\"']?")
_NAME = re.compile(r"\b(working_size|min_score)\b")


def add(options: argparse.ArgumentParser, *, limits: type[Limits] = Limits) -> None:
    """The settings of ``sdk.load``, by their own names; ``limits`` are those that hold where none are given."""
    options.add_argument("--model", help="name of a shipped model, path of an artifact; analyze: or all")
    options.add_argument("--device", default="auto", help="auto, cpu or cuda (default: auto)")
    options.add_argument("--backend", help="name of a runtime (default: the fastest that runs the model)")
    options.add_argument("--precision", default="auto", help="auto, f32 or bf16 (default: auto)")
    options.add_argument("--working-size", metavar="PX", help="long side for the analysis, or native")
    options.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: what the runtime takes)")
    options.add_argument("--min-score", type=float, default=0.0, help="localise from this score on (default: 0)")
    options.add_argument("--decode", default="worker", help="worker, fresh (one a file), or inline (trusted files)")
    for field in fields(limits):
        number = float if field.name == "seconds" else int
        told = f"{LIMITS[field.name]} (default: {field.default:,})"
        options.add_argument(f"--max-{field.name}", type=number, metavar="N", help=told)


def settings(args: argparse.Namespace) -> dict[str, Any]:
    """What one model and all of them are loaded with, as the options ask."""
    limits = {field.name: getattr(args, f"max_{field.name}") for field in fields(Limits)}
    return {
        "device": args.device,
        "precision": args.precision,
        "working_size": working_size(args.working_size),
        "threads": args.threads,
        "min_score": args.min_score,
        "decode": args.decode,
        "limits": Limits(**{name: limit for name, limit in limits.items() if limit is not None}),
    }


def working_size(text: str | None) -> int | None:
    """Pixels, 0 for ``native``, None where nothing was asked for."""
    if text is None or text.isdecimal():
        return None if text is None else int(text)
    if text != "native":
        raise BadSetting(f"working_size is {text!r}", remedy="give the long side in px, or native")
    return 0


def in_words(error: SdkError) -> tuple[str, str]:
    """Problem and remedy with the settings of Python written as the options of the command line."""
    return _in_words(shown(error.problem, lines=True)), _in_words(shown(error.remedy, lines=True))


def _in_words(text: str) -> str:
    text = _IN_LIMITS.sub(lambda found: " ".join(map(_limit, found[1].split(", "))), text)
    text = _SETTING.sub(lambda found: f"--{found[1].replace('_', '-')} {found[2]}", text)
    return _NAME.sub(lambda found: f"--{found[1].replace('_', '-')}", text).replace(", or None", ", or leave it out")


def _limit(pair: str) -> str:
    name, _, value = pair.partition("=")
    return f"--max-{name} {value.replace('...', 'N')}"
