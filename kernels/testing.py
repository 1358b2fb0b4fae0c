"""How exactly two implementations of an operator have to agree: the one table of tolerances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

TOLERANCES = {
    # Products of two sums over at most 288 channels or 4096 positions, accumulated in float32; OpenVINO errs by 1.4e-5.
    ("sccm_attention", "fp32"): 2e-5,
    # Inputs and weights rounded to 11 or 8 bits of mantissa, logits and softmax in float32; fp16 errs by 6e-4.
    ("sccm_attention", "fp16"): 2e-3,
    ("sccm_attention", "bf16"): 2e-2,
    # Averages of at most a few thousand bytes: 255 times float32's rounding, a few times over.
    ("area_shrink", "fp32"): 2e-4,
    # Sums over a window's side and a frame's rows in float32, then one division by the frame's deviation.
    ("zpool2d", "fp32"): 1e-5,
    # float32 between, the result rounded to 11 or 8 bits of mantissa.
    ("zpool2d", "fp16"): 5e-4,
    ("zpool2d", "bf16"): 4e-3,
}
"""Largest absolute difference over the largest value of the expected array, or 1 if that is larger."""


def assert_parity(actual: NDArray[np.floating], expected: NDArray[np.float64], *, op: str, precision: str) -> None:
    """Fail unless ``actual`` has the shape of ``expected``, is finite, and lies within the operator's tolerance."""
    assert actual.shape == expected.shape, f"{op}: shape {actual.shape}, expected {expected.shape}"
    assert np.isfinite(actual).all(), f"{op}: {np.count_nonzero(~np.isfinite(actual))} values are not finite"
    scale = max(1.0, float(np.abs(expected).max(initial=0.0)))
    error = float(np.abs(actual - expected).max(initial=0.0)) / scale
    tolerance = TOLERANCES[op, precision]
    assert error <= tolerance, f"{op} in {precision}: error {error:.2e} exceeds {tolerance:.0e}"
