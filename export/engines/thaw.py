"""From an artifact back to the torch model that it was made of: what is compiled from torch needs no checkpoint."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from export.freeze import freeze
from export.weights import SMALLEST
from sdk.artifact import Artifact
from sdk.errors import ArtifactInvalid
from training import models
from training.nn.detector import Detector

REMEDY = "export the model again with this version, from the checkpoint that it was made of"
NOT_STAGES = frozenset({"whole", "ops"})


def thaw(artifact: Artifact) -> Detector:
    """The frozen detector with the artifact's own weights and calibration, float32.

    What the exporter merged or left out is guessed: whether rightly is for :func:`export.engines.gate.thawed_row`.

    Raises:
        ArtifactInvalid: Weights are missing under their names, or a layer has others than its own.
    """
    terms = artifact.contract
    detector = models.restored(terms.model, terms.settings).eval()
    detector.citation = terms.citation
    frozen = freeze(detector)
    stored = _stored(artifact)
    absent = []
    with torch.no_grad():
        for name, parameter in frozen.net.named_parameters():
            value = stored.get(f"net.{name}")
            if value is None and parameter.numel() < SMALLEST:
                continue  # equal numbers become one, under one name: at their initial value if nobody trained them
            if value is None and name.endswith("bias"):
                parameter.zero_()  # the exporter leaves out what changes nothing
            elif value is None:
                absent.append(name)
            else:  # the local graph takes whole grey levels and the fractions beside them: the same weights twice
                parameter.copy_(torch.from_numpy(value[:, : parameter.shape[1]] if parameter.dim() == 4 else value))
    if absent:
        raise ArtifactInvalid(
            f"{artifact.name} does not hold these weights of {terms.model} under their names: {', '.join(absent[:5])}",
            remedy=REMEDY,
        )
    layers, known = dict(frozen.named_modules()), frozen.state_dict()
    unknown = [name for name in stored if name.endswith((".weight", ".bias")) and name not in known]
    if unknown := [name for name in unknown if name.rpartition(".")[0] in layers]:
        raise ArtifactInvalid(
            f"{artifact.name} holds weights that layers of {terms.model} no longer have: "
            + ", ".join(name.removeprefix("net.") for name in unknown[:5]),
            remedy=REMEDY,
        )
    frozen.calibration.copy_(torch.tensor(_calibration(artifact.file("rest"))))
    return frozen


def _stored(artifact: Artifact) -> dict[str, np.ndarray]:
    """Every named weight in the stages' graphs, float32, by its name in the detector."""
    found = {}
    for name, graph in artifact.contract.graphs.items():
        if name in NOT_STAGES or "." in name or not (artifact.path / graph.file).is_file():
            continue
        for tensor in onnx.load(artifact.path / graph.file).graph.initializer:
            values = numpy_helper.to_array(tensor)
            if values.dtype in {np.dtype(np.float16), np.dtype(np.float32)}:
                weight = tensor.name.removesuffix(".fp16").removeprefix("detector.")
                found[weight if weight.startswith("net.") else f"net.{weight}"] = values.astype(np.float32)
    return found


def _calibration(file: Path) -> tuple[float, float]:
    """Slope and offset of the score; 1 and 0 where the exporter left them out as changing nothing."""
    graph = onnx.load(file, load_external_data=False).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer if not tensor.external_data}
    makers = {output: node for node in graph.node for output in node.output}
    found = {"Mul": 1.0, "Add": 0.0}
    value = makers[makers["score"].input[0]]
    while value.op_type in found:
        known = [float(constants[name]) for name in value.input if name in constants and constants[name].ndim == 0]
        inner = [name for name in value.input if name not in constants]
        if len(known) != 1 or len(inner) != 1:
            break
        found[value.op_type] = known[0]
        value = makers[inner[0]]
    return found["Mul"], found["Add"]
