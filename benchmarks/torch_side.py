"""What a user of torch alone has: the model as it was trained, and its plain export to ONNX.

    python -m benchmarks.torch_side ARTIFACT --out FOLDER [--plain] [--checkpoint FILE [--card FILE]]

Writes ``detector.pt``, with ``--plain`` also ``plain.onnx``, and ``facts.json``: localisation's share of the work by
frame size, the work of every layer, and whether the weights are the artifact's own. ``--checkpoint`` and ``--card`` are
those that the artifact was made of; without them it is taken for one with the fresh weights of ``python -m export``.
"""

from __future__ import annotations

import argparse
import copy
import json
import warnings
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import nn
from torch.export import Dim
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.contenders import DETECTOR, FACTS, PLAIN
from benchmarks.frames import SAMPLES
from benchmarks.roofline import Layer, work
from export.freeze import Simplifiable, freeze, fresh
from export.graphs import OPSET
from export.weights import FILE as WEIGHTS
from sdk import artifact as artifacts
from training import checkpoints, models
from training.card import Card
from training.nn.detector import Detector


def trained(model: str, *, checkpoint: Path | None = None, card: Path | None = None) -> Detector:
    """The model as it was before an artifact was made of it."""
    made = checkpoints.load(checkpoint, model=model) if checkpoint else fresh(model, _photographs())
    if card:
        made.calibration.copy_(made.calibration.new_tensor(Card.read(card).calibration))
    return made.eval()


def _photographs() -> list[NDArray[np.uint8]]:
    """Those that ``python -m export`` takes where none are given."""
    return [cv2.imread(str(file))[..., ::-1] for file in sorted(SAMPLES.glob("*.jpg"))]


def has_weights(artifact: Path, made: Detector) -> bool:
    """Whether the artifact's weights hold the largest parameter of ``made``, byte for byte."""
    largest = max(made.parameters(), key=torch.Tensor.numel)
    return largest.half().numpy().tobytes() in (artifact / WEIGHTS).read_bytes()


def unfolded(made: Detector, model: str) -> Detector:
    """The function of ``made``, which is frozen, with all layers of the model: folded normalisations are identities.

    So it costs what the trained model costs, and differs from the artifact by nothing but arithmetic.
    """
    detector = models.create(model, **made.settings).eval()
    state = dict(made.state_dict())
    for path, parent in detector.named_modules():
        for (before, convolution), (name, norm) in pairwise(parent.named_children()):
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                bias = f"{path}.{before}.bias"
                state |= _identity(f"{path}.{name}", norm, bias=state.pop(bias))
                if convolution.bias is not None:
                    state[bias] = torch.zeros_like(convolution.bias)
    detector.load_state_dict(state, strict=True)
    return detector


def _identity(path: str, norm: nn.BatchNorm2d, *, bias: torch.Tensor) -> dict[str, torch.Tensor]:
    """The state with which ``norm`` adds ``bias`` and does nothing else."""
    state = {
        "weight": torch.ones_like(norm.weight), "bias": bias, "running_mean": torch.zeros_like(norm.running_mean),
        "running_var": torch.full_like(norm.running_var, 1 - norm.eps),
        "num_batches_tracked": norm.num_batches_tracked,
    }  # fmt: skip
    return {f"{path}.{key}": value for key, value in state.items()}


def plain_export(detector: Detector) -> onnx.ModelProto:
    """From frame to heatmap and score, as torch's exporter makes it of the unmodified model; N, H and W dynamic.

    The model is captured first and converted then. Converted in one go, it would notice and take the ways that this
    project's own export takes.
    """
    frame = torch.zeros(2, 96, 88, 3, dtype=torch.uint8)
    sides = (dict.fromkeys(range(3), Dim.DYNAMIC),)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter warns about its own internals
        captured = torch.export.export(detector, (frame,), dynamic_shapes=sides, strict=False)
        program = torch.onnx.export(
            captured, (), dynamo=True, opset_version=OPSET, verbose=False,
            input_names=["frame"], output_names=["heatmap", "score"],
        )  # fmt: skip
    return program.model_proto


def localisation_share(detector: Detector, *, height: int, width: int) -> float:
    """Share of the multiply-accumulates for a frame of that size that localisation takes, in [0, 1]."""
    net = copy.deepcopy(detector.net).to("meta")
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        _, features = net.rest(net.local(torch.empty(1, 3, height, width, device="meta")))
        before = counter.get_total_flops()
        net.locate(features)
    return 1 - before / counter.get_total_flops()


def listed(made: Detector, text: str) -> list[Layer]:
    """The layers of the model, folded, for a frame given as ``WxH@working size``."""
    size, _, working_size = text.partition("@")
    width, height = map(int, size.split("x"))
    return work(copy.deepcopy(made).to("meta"), height=height, width=width, working_size=int(working_size))


def main(arguments: list[str] | None = None) -> None:
    """Write the files."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.torch_side", description=__doc__)
    parser.add_argument("artifact", help="name of a shipped artifact, or a directory")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--plain", action="store_true", help="export the model to ONNX as torch does")
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--card", type=Path)
    parser.add_argument("--size", action="append", default=[], metavar="WxH", help="frames to share the work of")
    parser.add_argument("--work", action="append", default=[], metavar="WxH@PX", help="frames to list the layers for")
    options = parser.parse_args(arguments)
    artifact = artifacts.read(artifacts.find(options.artifact))
    model = artifact.contract.model
    before = trained(model, checkpoint=options.checkpoint, card=options.card)
    made = freeze(before)
    # What has a shorter way to its answers has other layers in the artifact: there is no way back from those.
    is_simplified = isinstance(before.net, Simplifiable)
    detector = before if is_simplified else unfolded(made, model)
    options.out.mkdir(parents=True, exist_ok=True)
    checkpoints.save(options.out / DETECTOR, model, detector)
    if options.plain:
        onnx.save(plain_export(detector), options.out / PLAIN)
    sides = {text: map(int, text.split("x")) for text in options.size}
    shares = {text: localisation_share(detector, height=h, width=w) for text, (w, h) in sides.items()}
    layers = {text: listed(made, text) for text in options.work}
    facts = {"shares": shares, "layers": layers, "same_weights": not is_simplified and has_weights(artifact.path, made)}
    (options.out / FACTS).write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
