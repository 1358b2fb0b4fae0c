"""Scores read off a large heatmap: what a runtime that adds pixels one by one makes of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from scipy.special import expit, logit, logsumexp
from torch import Tensor, nn

from training.models.gsrnet import log_mean_odds
from training.nn import scores


class _Score(nn.Module):
    def __init__(self, of: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.of = of

    def forward(self, mask: Tensor) -> Tensor:
        """The last number that is made of a mask's logits."""
        return self.of(mask)[:, -1]


def _weighted_by_itself(mask: np.ndarray) -> float:
    return float(logit((expit(mask) ** 2).mean() / expit(mask).mean()))


@pytest.mark.filterwarnings("ignore::FutureWarning")  # torch's own
@pytest.mark.parametrize(
    ("of", "expected"),
    [
        (log_mean_odds, lambda mask: float(logsumexp(mask) - np.log(mask.size))),
        (scores.mean, lambda mask: float(logit(expit(mask).mean()))),
        (scores.weighted, _weighted_by_itself),
    ],
    ids=["gsrnet", "mean", "weighted"],
)
def test_the_runtime_agrees_with_float64_on_two_million_pixels(
    of: Callable[[Tensor], Tensor], expected: Callable[[np.ndarray], float], tmp_path: Path, rng: np.random.Generator
) -> None:
    mask = (3 * rng.standard_normal((1, 1, 1080, 1920)) - 2).astype(np.float32)
    target = tmp_path / "score.onnx"
    torch.onnx.export(_Score(of).eval(), (torch.from_numpy(mask),), target, input_names=["mask"], verbose=False)
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    score = session.run(None, {"mask": mask})[0].item()
    assert score == pytest.approx(expected(mask.astype(np.float64)), abs=1e-5)
