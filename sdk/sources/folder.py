"""A folder of still images, in the order of their names; each is decoded as ``Analyzer.analyze`` does it."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from sdk.decoding import Decoder
from sdk.errors import DecodeFailed, SdkError, UnsupportedImage
from sdk.inputs import Input
from sdk.overlay_mark import is_overlay
from sdk.paths import SUFFIXES
from sdk.source import Captured

if TYPE_CHECKING:
    from sdk.source import Settings

RANK = 30


def claims(source: object) -> bool:
    """Whether ``source`` is the path of a folder."""
    return isinstance(source, str | os.PathLike) and os.path.isdir(source)  # noqa: PTH112  as in sdk.paths


def read(source: object, settings: Settings) -> Generator[Captured]:
    """Pictures of the folder itself, ``frame-2`` before ``frame-10``; they have no times, and are no video.

    One that cannot be decoded is given as its error.
    """
    folder = Path(cast("str | os.PathLike[str]", source))
    try:
        files = sorted((file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES), key=_in_numbers)
    except OSError as error:
        raise DecodeFailed(
            f"{folder} cannot be read: {error.strerror or error}", remedy="check the path, and who may read it"
        ) from error
    files = [file for file in files if not is_overlay(file)]
    if not files:
        raise UnsupportedImage(
            f"{folder} is a folder without images", remedy=f"suffixes that are known: {' '.join(sorted(SUFFIXES))}"
        )
    with Decoder(settings.still_limits, mode=settings.decode) as decoder:
        for file in files:
            start = time.perf_counter()
            try:
                decoded = decoder.decode(file)
            except SdkError as error:
                yield Captured(None, error=error)
            else:
                yield Captured(Input.of(decoded, 1e3 * (time.perf_counter() - start)))


def _in_numbers(file: Path) -> list[tuple[int, str]]:
    """A key by which digits count as numbers."""
    parts = re.split(r"(\d+)", file.name)
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
