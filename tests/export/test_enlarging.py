"""Enlarging without a Resize: as torch's, in every runtime, and rounded by none."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.export import Dim
from torch.nn import functional as F

from export.enlarging import enlarged
from export.graphs import trace
from sdk.backends import openvino

CASES = [
    ((1, 1), (1, 1)), ((1, 5), (7, 1)), ((3, 4), (1, 9)), ((16, 16), (40, 33)), ((31, 45), (31, 45)),
    ((33, 50), (2, 2)), ((4, 4097), (2, 7919)),
]  # fmt: skip
"""Sides of the mask and of the frame: one pixel, less, as many, fewer, and more than float32's whole numbers."""


class Enlarging(nn.Module):
    def forward(self, mask: torch.Tensor, height: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
        return enlarged(mask, height, width)


@pytest.fixture(scope="module")
def traced() -> onnx.ModelProto:
    example = (torch.zeros(2, 9, 7), torch.tensor(12), torch.tensor(11))
    axes = ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC, 2: Dim.DYNAMIC}, None, None)
    return trace(Enlarging(), example, axes, names=["mask", "height", "width"], outputs=["heatmap"])


@pytest.fixture(scope="module", params=["onnxruntime", "openvino f32", "openvino bf16"])
def run(request: pytest.FixtureRequest, traced: onnx.ModelProto):
    content = traced.SerializeToString()
    if request.param == "onnxruntime":
        session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        return lambda feeds: session.run(None, feeds)[0]
    core = openvino.runtime().Core()
    settings = {"INFERENCE_PRECISION_HINT": request.param.partition(" ")[2]}
    compiled = core.compile_model(core.read_model(content), "CPU", settings)
    return lambda feeds: compiled(feeds)[0]


@pytest.mark.parametrize(("size", "target"), CASES, ids=str)
def test_it_is_bilinear_with_aligned_corners(run, size, target, rng):
    mask = rng.uniform(0, 1, (2, *size)).astype(np.float32)
    truth = F.interpolate(torch.from_numpy(mask[:, None]).double(), target, mode="bilinear", align_corners=True)
    heatmap = run({"mask": mask, "height": np.array(target[0]), "width": np.array(target[1])})
    np.testing.assert_allclose(heatmap, truth[:, 0].numpy(), atol=1e-6)


def test_no_coordinate_is_a_float(traced):
    """A run in bf16 would round it; the share of the way from row to row alone is one, made last."""
    casts = [node for node in traced.graph.node if node.op_type == "Cast" and node.attribute[0].i == 1]
    assert len(casts) == 2 * 2
    assert not [node.op_type for node in traced.graph.node if node.op_type in {"Floor", "Resize"}]
