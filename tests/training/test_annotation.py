"""Equations 2 to 8 of MAG against NumPy written down pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training import annotation
from training.annotation import UNKNOWN

SIDE = 7


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def naive_balanced(missed: np.ndarray, invented: np.ndarray, truth: np.ndarray, supervised: np.ndarray) -> float:
    total = 0.0
    for frame in range(len(truth)):
        for channel in range(truth.shape[1]):
            c, places = truth[frame, channel], np.ndindex(truth.shape[2:])
            inside = outside = 0.0
            for place in places:
                inside += c[place] * missed[frame, channel][place]
                outside += (1 - c[place]) * invented[frame, channel][place]
            both = inside / max(c.sum(), 1) + outside / max((1 - c).sum(), 1)
            total += both * supervised[frame, channel]
    return total / len(truth)


@given(
    logits=arrays(np.float64, (2, 3, 4, 5), elements=st.floats(-8, 8)),
    truth=arrays(np.bool_, (2, 3, 4, 5)),
    supervised=arrays(np.bool_, (2, 3)),
)
def test_balanced_and_its_entropy_are_sums_over_both_sides(
    logits: np.ndarray, truth: np.ndarray, supervised: np.ndarray
) -> None:
    tensors = [torch.from_numpy(x.astype(np.float32)) for x in (logits, truth, supervised)]
    predicted = sigmoid(logits)
    expected = naive_balanced(1 - predicted, predicted, truth, supervised)
    assert annotation.balanced(*tensors).item() == pytest.approx(expected, rel=1e-5)
    expected = naive_balanced(-np.log(predicted), -np.log1p(-predicted), truth, supervised)
    assert annotation.balanced_entropy(*tensors).item() == pytest.approx(expected, rel=1e-5)


def test_missing_all_and_inventing_all_cost_the_same_whatever_the_area() -> None:
    truth = torch.zeros(1, 1, 20, 20)
    truth[..., :2, :3] = 1
    everything, nothing = torch.full_like(truth, 50.0), torch.full_like(truth, -50.0)
    for answer in (everything, nothing):
        assert annotation.balanced(answer, truth, torch.ones(1, 1)).item() == pytest.approx(1.0, rel=1e-6)
    right = torch.where(truth > 0, everything, nothing)
    assert annotation.balanced(right, truth, torch.ones(1, 1)).item() == pytest.approx(0.0, abs=1e-6)


def naive_edges(mask: np.ndarray) -> np.ndarray:
    result = np.zeros(mask.shape)
    for i in range(mask.shape[0]):
        for j in range(mask.shape[1]):
            around = mask[max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2]
            result[i, j] = around.any() and not around.all()
    return result


@given(mask=arrays(np.bool_, (2, SIDE, SIDE)))
def test_edges_are_where_both_are_near(mask: np.ndarray) -> None:
    expected = np.stack([naive_edges(frame) for frame in mask])
    np.testing.assert_array_equal(annotation.edges(torch.from_numpy(mask).float()), expected)


def test_an_annotation_is_mask_edge_and_the_classes_of_what_is_authentic(rng: np.random.Generator) -> None:
    mask = rng.random((2, SIDE, SIDE)) < 0.4
    classes = rng.integers(0, 4, (2, SIDE, SIDE)).astype(np.uint8)
    classes[1] = UNKNOWN
    tensors = torch.from_numpy(mask), torch.from_numpy(classes)
    made = annotation.annotation(*tensors, count=3).numpy()
    assert made.shape == (2, 5, SIDE, SIDE)
    np.testing.assert_array_equal(made[:, 0], mask)
    np.testing.assert_array_equal(made[:, 1], annotation.edges(tensors[0].float()))
    for number in (1, 2, 3):
        np.testing.assert_array_equal(made[:, 1 + number], (classes == number) & ~mask)
    np.testing.assert_array_equal(annotation.known(tensors[1], count=3), [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]])
    assert annotation.annotation(*tensors, count=0, edge=False).shape == (2, 1, SIDE, SIDE)


def test_semantic_is_equation_2_over_what_is_counted(rng: np.random.Generator) -> None:
    logits, truth = rng.standard_normal((2, 3, 4, 5)), rng.random((2, 3, 4, 5)) < 0.5
    counted = rng.random((2, 4, 5)) < 0.7
    frames = [np.abs(sigmoid(logits[n]) - truth[n]).sum(0)[counted[n]].mean() for n in range(2)]
    tensors = (torch.from_numpy(x.astype(np.float32)) for x in (logits, truth, counted))
    assert annotation.semantic(*tensors).item() == pytest.approx(np.mean(frames), rel=1e-5)
    none = annotation.semantic(torch.zeros(2, 0, 4, 5), torch.zeros(2, 0, 4, 5), torch.ones(2, 4, 5))
    assert none.item() == 0


def test_hiding_is_equation_3(rng: np.random.Generator) -> None:
    logits = rng.standard_normal((2, 4, 5))
    found = annotation.hiding(torch.from_numpy(logits.astype(np.float32))).item()
    assert found == pytest.approx(sigmoid(logits).mean(), rel=1e-6)


def test_adversaries_are_cross_entropies_of_real_and_made(rng: np.random.Generator) -> None:
    real, made = rng.standard_normal((2, 3, 1, 4, 4))
    tensors = [torch.from_numpy(x.astype(np.float32)) for x in (real, made)]
    expected = -(np.log(sigmoid(real)).mean() + np.log(1 - sigmoid(made)).mean()) / 2
    assert annotation.telling(*tensors).item() == pytest.approx(expected, rel=1e-6)
    assert annotation.convincing(tensors[1]).item() == pytest.approx(-np.log(sigmoid(made)).mean(), rel=1e-6)


@given(st.floats(-6, 6))
def test_what_convinces_more_costs_less_in_either_form(logit: float) -> None:
    """``-log D`` and the paper's ``log(1 - D)`` fall together, and only the first still does where D is sure."""
    x = torch.tensor(logit, dtype=torch.float64, requires_grad=True)
    slopes = [
        torch.autograd.grad(loss(x), x)[0].item() for loss in (annotation.convincing, lambda x: -(1 + x.exp()).log())
    ]
    assert max(slopes) < 0
    assert slopes[0] == pytest.approx(slopes[1] * np.exp(-logit), rel=1e-5)
