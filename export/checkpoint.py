"""From an artifact back to a checkpoint that ``python -m training fit --weights`` goes on from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from export import parity
from export.engines import gate
from export.engines.thaw import thaw
from export.freeze import freeze
from export.parity import Frame, require
from sdk.artifact import Artifact
from sdk.errors import BadSetting
from training import models
from training.nn.detector import Detector
from training.nn.folding import pairs, unfold


@runtime_checkable
class Unsimplifiable(Protocol):
    """A network that knows the way back from its :class:`export.freeze.Simplifiable` copy."""

    def unsimplified(
        self, state: Mapping[str, Tensor], statistics: Mapping[str, tuple[Tensor, Tensor]]
    ) -> dict[str, Tensor]:
        """The copy's ``state`` by the network's own names.

        ``statistics`` are mean and variance, ``[C]`` each, of what comes in the copy to where the network has a batch
        normalisation, by its name. What was folded into a convolution may stay there.
        """


def trainable(artifact: Artifact, photographs: Iterable[Frame]) -> Detector:
    """The detector that ``artifact`` was made of, as far as its weights tell: fp16 values, and an uncalibrated score.

    Batch normalisation, which was folded away, normalises again, by the statistics of ``photographs``: there should be
    some dozens, such as it will be trained on. What deployment never needed (biases before a normalisation) is zero.
    It answers as the artifact does; or, of a network that says it was ``rounded_apart``, it does once it is exported
    again, and before that differs by no more than rounding may change.

    Raises:
        ArtifactInvalid: Weights are missing under their names, or a layer has others than its own.
        BadSetting: The model is simplified on its way into an artifact in ways that cannot be undone.
        ParityFailed: The result does not answer as the artifact does.
    """
    frozen = thaw(artifact)
    detector = models.restored(artifact.contract.model, artifact.contract.settings).eval()
    state, known, folded = detector.state_dict(), frozen.state_dict(), list(pairs(detector))
    norms = [name for name, module in detector.named_modules() if isinstance(module, nn.BatchNorm2d)]
    frames = list(photographs)
    statistics = _statistics(frozen, norms, frames)
    if isinstance(detector.net, Unsimplifiable):
        of_net = {name.removeprefix("net."): moments for name, moments in statistics.items()}
        net = detector.net.unsimplified(frozen.net.state_dict(), of_net)
        known = {"calibration": frozen.calibration, **{f"net.{name}": value for name, value in net.items()}}
    biases = {norm: known.pop(f"{conv}.bias", None) for conv, norm in folded}
    of_norms = tuple(f"{norm}." for norm in biases)
    for name, value in state.items():
        if name.startswith(of_norms):
            continue
        if name in known and known[name].numel() == value.numel():
            value.copy_(known.pop(name).reshape(value.shape))
        elif name not in known and name.endswith(".bias"):
            value.zero_()
        else:
            raise _final(artifact, name)
    if known:
        raise _final(artifact, next(iter(known)))
    for norm, bias in biases.items():
        mean, variance = statistics[norm]
        unfold(detector.get_submodule(norm), bias, mean - bias, variance)
    rows = [gate.thawed_row(detector, artifact, frames)]
    if parity.over_budget(rows) and getattr(detector.net, "rounded_apart", False):
        again = freeze(detector)
        rows = [gate.thawed_row(again, artifact, frames), parity.rounding_row(detector, again, frames[:1])]
    require(
        rows,
        problem=f"what was made of {artifact.name} does not answer as it does",
        remedy="go on from the checkpoint that it was exported from; nothing was written",
    )
    detector.calibration.copy_(torch.tensor([1.0, 0.0]))
    return detector


def _final(artifact: Artifact, name: str) -> BadSetting:
    return BadSetting(
        f"{artifact.name} was simplified for deployment, {name} cannot be told from it",
        remedy="go on from the checkpoint that it was exported from, or train anew",
    )


def _statistics(
    detector: Detector, norms: Sequence[str], photographs: Sequence[Frame]
) -> dict[str, tuple[Tensor, Tensor]]:
    """Mean and variance of every channel, ``[C]`` each, of what passes the identities in the places of ``norms``."""
    seen: dict[str, list[Tensor]] = {name: [] for name in norms}
    hooks = [detector.get_submodule(name).register_forward_hook(partial(_moments, into=seen[name])) for name in norms]
    with torch.inference_mode():
        for frame in photographs:
            detector(torch.from_numpy(frame)[None])
    for hook in hooks:
        hook.remove()
    found = {name: torch.stack(moments).mean(0) for name, moments in seen.items()}
    return {name: (mean.float(), (square - mean**2).float()) for name, (mean, square) in found.items()}


def _moments(norm: nn.Module, _: object, answer: Tensor, *, into: list[Tensor]) -> None:
    """Mean and mean square of every channel, float64: ``[2, C]``."""
    wide = answer.double()
    into.append(torch.stack([wide.mean((0, 2, 3)), wide.square().mean((0, 2, 3))]))
