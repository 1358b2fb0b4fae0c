"""For which frames an engine is built."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from sdk.errors import BadSetting

Sides = tuple[int, int]
SMALLEST: Sides = (64, 64)
LARGEST: Sides = (3840, 3840)
"""4K, lying or standing."""


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Profile:
    """The frames that an engine takes, and the one that it is tuned for."""

    smallest: Sides = SMALLEST
    """Least height and width of a frame, px."""
    usual: Sides = (1080, 1920)
    """Height and width that the engine is tuned for, px."""
    largest: Sides = LARGEST
    """Greatest height and width, px."""
    batch: int = 1
    """Greatest number of frames at once."""
    working_size: int | None = None
    """Long side that is built in, px, 0 for the frame's own; None where the engine is told with each frame."""

    def __post_init__(self) -> None:
        sides = zip(self.smallest, self.usual, self.largest, strict=True)
        if self.batch < 1 or any(not 1 <= least <= usual <= most for least, usual, most in sides):
            raise BadSetting(
                f"an engine for {self.text()} takes no frame",
                remedy="give sides with 1 <= smallest <= usual <= largest, and a batch of 1 or more",
            )

    @classmethod
    def only(cls, height: int, width: int, *, batch: int = 1, working_size: int | None = None) -> Profile:
        """Frames of one size: the fastest engine there is, and for nothing else."""
        sides = (height, width)
        return cls(smallest=sides, usual=sides, largest=sides, batch=batch, working_size=working_size)

    @classmethod
    def around(cls, height: int, width: int) -> Profile:
        """Tuned for frames of one size, for all others that engines are built for by default too."""
        (low, narrow), (high, wide) = SMALLEST, LARGEST
        return cls(
            smallest=(min(low, height), min(narrow, width)),
            usual=(height, width),
            largest=(max(high, height), max(wide, width)),
        )

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Profile:
        """What :func:`dataclasses.asdict` made, through JSON."""
        sides = {name: (int(fields[name][0]), int(fields[name][1])) for name in ("smallest", "usual", "largest")}
        return cls(**sides, batch=int(fields["batch"]), working_size=fields["working_size"])

    @property
    def is_fixed(self) -> bool:
        """Whether all frames have one size."""
        return self.smallest == self.largest

    def admits(self, shape: tuple[int, ...], working_size: int) -> bool:
        """Whether frames of ``shape`` [N, H, W, 3] can be analysed at ``working_size``."""
        count, *sides = shape[:3]
        within = all(a <= x <= b for a, x, b in zip(self.smallest, sides, self.largest, strict=True))
        return within and count <= self.batch and self.working_size in (None, working_size)

    def text(self) -> str:
        """For people: 1080x1920, or 64x64..2160x3840."""
        ends = ["x".join(map(str, sides)) for sides in dict.fromkeys((self.smallest, self.largest))]
        batch = f", {self.batch} at once" if self.batch > 1 else ""
        size = "" if self.working_size is None else f", working size {self.working_size or 'native'}"
        return "..".join(ends) + " px" + batch + size
