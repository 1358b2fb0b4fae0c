"""What a score means: the artifact's thresholds, and whether the frame is one of those for which they were measured."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from sdk.content import FAR, content

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from sdk.contract import Contract


@dataclasses.dataclass(frozen=True, slots=True)
class Verdict:
    """A score in words. There is no "authentic": absence of evidence proves nothing."""

    name: Literal["manipulated", "suspicious", "inconclusive", "no_evidence"]
    reason: str

    @property
    def found(self) -> bool:
        """Whether there is evidence of manipulation, strong or weak."""
        return self.name in {"manipulated", "suspicious"}

    def __str__(self) -> str:
        return self.name


def judge(
    score: float,
    frame: NDArray[np.uint8],  # [H, W, 3]
    contract: Contract,
    *,
    working_size: int,
    quality: int | None = None,
    is_video: bool = False,
) -> Verdict:
    """The verdict on ``frame``, by the thresholds for frames of video if it is one; of a JPEG with its ``quality``.

    Outside what was measured it is ``inconclusive``, whatever the score.
    """
    levels = contract.at(working_size)
    if levels is None:
        measured = ", ".join(_size(size) for size in contract.working_sizes) or "none"
        reason = f"accuracy at working size {_size(working_size)} was not measured, only at {measured}"
        return Verdict("inconclusive", reason)
    outside = unmeasured(frame, contract, quality)
    if outside:
        return Verdict("inconclusive", outside)
    shares = levels.video if is_video else levels.photographs
    if not shares:
        return Verdict("inconclusive", "which scores authentic frames of video reach was not measured")
    return by_shares(score, shares)


def by_shares(score: float, shares: Mapping[str, float]) -> Verdict:
    """What ``score`` means where the scores are known that 1 % and 5 % of authentic frames reach."""
    strong, weak = shares["0.01"], shares["0.05"]
    if score >= strong:
        return Verdict("manipulated", f"score {told(score, 'reaches', strong)}, as 1 % of authentic frames do")
    if score >= weak:
        return Verdict("suspicious", f"score {told(score, 'reaches', weak)}, as 5 % of authentic frames do")
    return Verdict("no_evidence", f"score {told(score, 'stays below', weak)}, as 95 % of authentic frames do")


def told(score: float, relation: str, level: float) -> str:
    """Both numbers with three decimals, or as many more as it takes to tell them apart; equal ones with three."""
    pairs = [(f"{score:.{digits}f}", f"{level:.{digits}f}") for digits in range(3, 10)]
    left, right = next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])
    return f"{left} {relation} {right}"


def unmeasured(frame: NDArray[np.uint8], contract: Contract, quality: int | None = None) -> str:
    """Why the thresholds say nothing about this frame; empty if they do."""
    side = min(frame.shape[:2])
    least = max(contract.minimum_side, FAR + 1)
    if side < least:
        return f"the short side is {side} px, accuracy was measured from {least} px up"
    if quality is not None and quality < contract.minimum_quality:
        least = contract.minimum_quality
        return f"the file is a JPEG of quality {quality} or the like, the model was trained on pictures from {least} up"
    return content(frame).reason


def _size(working_size: int) -> str:
    return str(working_size) if working_size else "native"
