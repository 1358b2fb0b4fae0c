"""The verbs of ``python -m export``."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from export import artifact, checkpoint, freeze, parity
from export.engines import commands as engines
from export.ensembles import commands as ensembles
from export.servers import commands as servers
from export.targets import onnx
from sdk.errors import ArtifactInvalid, DecodeFailed, SdkError, UnsupportedImage
from training import checkpoints, models
from training.card import Card
from training.data import Photographs, Samples
from training.measure import SEED
from training.nn.detector import Detector
from training.synthesis.sample import Sample

CHECKPOINT_HELP = (
    "one file written by python -m training fit, or all files of a model's published checkpoint; fresh weights without"
)
VALIDATION_SAMPLES = 200
"""Half a percent of the verdicts is then one sample."""
STATISTICS_SAMPLES, STATISTICS_SIZE = 64, 256
"""Of what a checkpoint's batch normalisation takes its statistics; px."""
SAMPLES = Path(__file__).parents[1] / "sdk" / "samples"


def to_onnx(args: argparse.Namespace) -> int:
    """Write the artifact of a model: fresh weights, or those of a checkpoint with the card measured for it."""
    photographs = _photographs(args.photographs)
    detector = _detector(args, photographs)
    card = Card.read(args.card) if args.card else Card()
    if args.validation and not args.card:
        raise ArtifactInvalid(
            "bf16 cannot be judged without thresholds: every verdict would be inconclusive",
            remedy="python -m training measure, then --card",
        )
    target = args.out or engines.HOME / args.model
    artifact.writable(target)
    contract = onnx.export(
        detector,
        target,
        name=args.model,
        model=args.model,
        card=card,
        photographs=photographs,
        samples=_samples(args.validation) if args.validation else (),
        required={"f32", *(["weights"] if args.checkpoint else []), *args.require},
        unjudged=args.unjudged,
    )
    for row in contract.parity:
        print(parity.text(row), file=sys.stderr)
    print(target)
    return 0


def to_renew(args: argparse.Namespace) -> int:
    """Write an artifact with the graphs that this version makes of its weights; all else of it stays."""
    found = engines.find(args.artifact)
    target = args.out or engines.HOME / found.contract.name
    contract = onnx.renew(found, target, photographs=_photographs(args.photographs))
    for row in contract.parity:
        print(parity.text(row), file=sys.stderr)
    print(target)
    return 0


def to_checkpoint(args: argparse.Namespace) -> int:
    """Write the checkpoint of an artifact, for python -m training fit --weights to go on from."""
    found = engines.find(args.artifact)
    how = {"seed": SEED, "size": STATISTICS_SIZE, "video": not args.without_video}
    samples = Samples(Photographs(args.photographs, "train"), **how)
    detector = checkpoint.trainable(found, (samples[index][0].numpy() for index in range(STATISTICS_SAMPLES)))
    args.out.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.save(args.out, found.contract.model, detector)
    print(args.out)
    return 0


def _detector(args: argparse.Namespace, photographs: Sequence[NDArray[np.uint8]]) -> Detector:
    match args.checkpoint:
        case None:
            return freeze.fresh(args.model, photographs)
        case [file]:
            return checkpoints.load(file, model=args.model)
        case files:
            return checkpoints.load_published(args.model, files)


def _photographs(folder: Path) -> list[NDArray[np.uint8]]:
    """Every JPEG in ``folder``, RGB."""
    files = sorted(folder.glob("*.jpg"))
    if not files:
        raise UnsupportedImage(f"{folder} holds no .jpg", remedy="give a folder of photographs with --photographs")
    return [_decoded(file) for file in files]


def _decoded(file: Path) -> NDArray[np.uint8]:
    pixels = cv2.imread(str(file))
    if pixels is None:
        raise DecodeFailed(f"{file} cannot be decoded", remedy="remove it, or name another folder with --photographs")
    return np.asarray(pixels[..., ::-1], np.uint8)


def _samples(photographs: Path) -> list[Sample]:
    """Held-out samples of a size that is shrunk, so that every graph of the plan is judged."""
    samples = Samples(Photographs(photographs, "validation"), seed=SEED, size=768)
    return [samples.sample(index) for index in range(VALIDATION_SAMPLES)]


def parser() -> argparse.ArgumentParser:
    """The command line."""
    root = argparse.ArgumentParser(prog="python -m export", description="From a checkpoint to an artifact.")
    verbs = root.add_subparsers(required=True)
    verb = verbs.add_parser("onnx", help=to_onnx.__doc__, description=to_onnx.__doc__)
    verb.add_argument("model", help=f"one of: {', '.join(models.names())}")
    verb.add_argument("--checkpoint", type=Path, nargs="+", metavar="FILE", help=CHECKPOINT_HELP)
    verb.add_argument("--card", type=Path, help="written by python -m training measure; without it no verdict is given")
    verb.add_argument("--out", type=Path, help="artifact directory; default: artifacts/MODEL")
    verb.add_argument("--photographs", type=Path, default=SAMPLES, help="real photographs for the parity gate")
    verb.add_argument("--validation", type=Path, help="photographs with SOURCES.csv; bf16 is judged on samples of them")
    verb.add_argument("--require", nargs="*", default=[], choices=["fp16"], help="refuse unless this precision passes")
    verb.add_argument(
        "--unjudged",
        nargs="*",
        default=[],
        choices=["bf16"],
        help="allow this precision unjudged, to measure its speed",
    )
    verb.set_defaults(run=to_onnx)
    verb = verbs.add_parser("renew", help=to_renew.__doc__, description=to_renew.__doc__)
    verb.add_argument("artifact", help="name of a shipped model, or an artifact's folder")
    verb.add_argument("--out", type=Path, help="artifact directory, which may be the same; default: artifacts/NAME")
    verb.add_argument("--photographs", type=Path, default=SAMPLES, help="real photographs for the parity gate")
    verb.set_defaults(run=to_renew)
    verb = verbs.add_parser("checkpoint", help=to_checkpoint.__doc__, description=to_checkpoint.__doc__)
    verb.add_argument("artifact", help="name of a shipped model, or an artifact's folder")
    verb.add_argument("--photographs", type=Path, required=True, help="what it will be trained on: batch statistics")
    verb.add_argument("--out", type=Path, required=True, metavar="FILE", help="written anew if it exists")
    verb.add_argument("--without-video", action="store_true", help="no pass through a video codec, which needs PyAV")
    verb.set_defaults(run=to_checkpoint)
    engines.add(verbs, photographs=SAMPLES, read=_photographs)
    servers.add(verbs)
    ensembles.add(verbs)
    return root


def main(argv: list[str] | None = None) -> int:
    """Run one verb; 2 where it failed for a reason that can be told."""
    args = parser().parse_args(argv)
    # torch.onnx warns of torchvision's operators, four lines a graph, where torchvision is not installed.
    logging.getLogger("torch.onnx._internal.exporter._registration").setLevel(logging.ERROR)
    try:
        return args.run(args)
    except (SdkError, ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
