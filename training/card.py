"""What is known about trained weights: how they were made, where their thresholds lie, what was measured.

``python -m training measure`` writes a card beside a checkpoint; the exporter puts it into the artifact.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Card:
    """The card of one set of weights."""

    status: str = "preview"
    """``release`` once the accuracy floors are reached, else ``preview``."""
    version: str = "0"
    working_size: int = 512
    """Default long side, px; chosen on synthetic validation."""
    calibration: tuple[float, float] = (1.0, 0.0)
    """Slope and offset from the difference of the class logits to the logit of the score."""
    thresholds: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    """By working size, px (0 is the frame's own): ``photographs`` and, where measured, ``video``, whose codec moves
    scores; by share, the score that so many of the authentic validation photographs, or frames of video, reach."""
    mask_threshold: float = 0.5
    licence: str = "unstated"
    commercial_use: bool = False
    training_data: str = "unstated"
    figures: dict[str, Any] = field(default_factory=dict)
    """Everything measured, with protocol and interval."""
    known_failures: tuple[str, ...] = ()

    @property
    def working_sizes(self) -> tuple[int, ...]:
        """Those whose thresholds were measured; 0 is the frame's own size."""
        return tuple(map(int, self.thresholds))

    def at(self, working_size: int) -> dict[str, dict[str, float]]:
        """Thresholds at one working size; empty where nothing was measured."""
        return self.thresholds.get(str(working_size), {})

    def write(self, path: Path) -> None:
        """Write as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path) -> Card:
        """Read what :meth:`write` wrote; unknown fields are refused."""
        content = json.loads(path.read_text())
        known = {item.name: item for item in fields(cls)}
        unknown = sorted(set(content) - set(known))
        if unknown:
            raise ValueError(f"{path} has fields that no card has: {unknown}\n  -> measure the checkpoint again")
        return cls(**{key: tuple(value) if isinstance(value, list) else value for key, value in content.items()})

    def to_markdown(self, name: str, precisions: Sequence[str]) -> str:
        """The card for people; ``precisions`` are those that the exporter found admissible."""
        sizes = ", ".join(map(_size, self.working_sizes)) or "none"
        lines = [
            f"# {name} {self.version} ({self.status})",
            "",
            f"- Licence of the weights: {self.licence}; commercial use: {'yes' if self.commercial_use else 'no'}",
            f"- Trained on: {self.training_data}",
            f"- Working sizes measured: {sizes}; default {self.working_size or 'native'}",
            precisions_line(precisions),
            *(
                f"- Score that {float(rate):.0%} of authentic {kind} reach at {_size(size)}: {score:.4f}"
                for size in self.working_sizes
                for kind, levels in (
                    ("photographs", self.at(size)["photographs"]),
                    ("video frames", self.at(size).get("video", {})),
                )
                for rate, score in sorted(levels.items())
            ),
            f"- Mask threshold: {self.mask_threshold:.3f}",
            "",
            "## Measured",
            "",
            "```json",
            json.dumps(self.figures, indent=1),
            "```",
            "",
            "## Known failures",
            "",
            *(f"- {failure}" for failure in self.known_failures),
            "",
        ]
        return "\n".join(lines)


def _size(working_size: int) -> str:
    return f"{working_size} px" if working_size else "native"


def precisions_line(precisions: Sequence[str]) -> str:
    """The card's line about them."""
    return f"- Precisions allowed: {', '.join(precisions)}"
