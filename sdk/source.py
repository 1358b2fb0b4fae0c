"""What a source of frames has to offer to be streamed."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

if TYPE_CHECKING:
    from sdk.decoding import Mode
    from sdk.errors import SdkError
    from sdk.frames import Color
    from sdk.limits import Limits
    from sdk.recipe import Recipe
    from sdk.video.limits import VideoLimits

Matrix: TypeAlias = Literal["bt601", "bt709"]


@dataclass(frozen=True, slots=True, eq=False)
class Captured:
    """One frame as a source gives it."""

    picture: object
    """What ``Analyzer.analyze`` takes: an ``Input``, or of an iterable whatever the user put in."""
    time_s: float | None = None
    """When it is shown, from the start; None where frames have no times."""
    damage: str = ""
    """What the decoder complained about; what it then makes of a frame is no longer what the camera saw."""
    live: bool = False
    """Whether it comes when it comes; frames of a file wait to be asked for."""
    error: SdkError | None = None
    """Why a file of its own is no picture, in place of one; the source goes on with the next."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How frames are to be read."""

    color: Color = "rgb"
    """Channel order of arrays in an iterable."""
    decoder: str | None = None
    """What made them, for results to name."""
    matrix: Matrix = "bt601"
    """Colour matrix of a video that names none."""
    decode: Mode = "worker"
    limits: VideoLimits | None = None
    still_limits: Limits | None = None
    """For the files of a folder."""

    def under(self, recipe: Recipe) -> Settings:
        """These settings with what an Analyzer was told of files."""
        return replace(self, decode=recipe.decode, still_limits=recipe.limits)


class Source(Protocol):
    """What a module in ``sdk/sources`` provides."""

    RANK: int
    """Order in which modules are asked; the first that claims a source reads it."""

    claims: Callable[[object], bool]
    """Whether ``source`` is of this kind; nothing is opened."""

    read: Callable[[object, Settings], Generator[Captured]]
    """The frames in order; closing the generator lets go of everything."""
