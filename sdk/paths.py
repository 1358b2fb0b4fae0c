"""Which files the arguments of the command line stand for, and what of a folder is passed over."""

from __future__ import annotations

import functools
import glob
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from sdk.errors import BadSetting, UnsupportedImage

SUFFIXES = {
    ".avif",
    ".bmp",
    ".gif",
    ".heic",
    ".heif",
    ".jfif",
    ".jp2",
    ".jpeg",
    ".jpg",
    ".png",
    ".tif",
    ".tiff",
    ".webp",
}
"""What is analysed of a folder; a file that is named is analysed whatever its suffix."""
_MOVING = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069]")
"""Control characters, ends of lines, and what turns the direction of a text."""
SUFFIXES_TOLD = 8
"""Kinds of skipped files that are named, the most frequent ones."""


class Skipped(Counter[str]):
    """Files that were passed over, by their kind."""

    def __str__(self) -> str:
        """One sentence; empty where nothing was skipped."""
        if not self:
            return ""
        kinds = [f"{kind} ({count})" for kind, count in self.most_common(SUFFIXES_TOLD)]
        kinds += ["others"] if len(self) > SUFFIXES_TOLD else []
        return f"skipped {self.total():,} {'file' if self.total() == 1 else 'files'}: {', '.join(kinds)}"


def expand(patterns: Sequence[str], skipped: Skipped) -> list[Path]:
    """The files that the arguments stand for, none twice; an argument that stands for nothing stays, to be reported.

    Of several ways to one file, through links to folders that may run in circles, the shortest is taken.
    """
    found: dict[tuple[str, str], Path] = {}
    real = functools.cache(os.path.realpath)
    for path in (path for pattern in patterns for path in _expanded(pattern, skipped) or [Path(pattern)]):
        file = real(path.parent), path.name
        found[file] = min(found.get(file, path), path, key=lambda way: len(way.parts))
    return list(found.values())


def _expanded(pattern: str, skipped: Skipped) -> list[Path]:
    # As os.path has it, not pathlib: a name that is too long does not exist, which is no reason to stop.
    named = [pattern] if os.path.exists(pattern) else sorted(glob.glob(pattern, recursive=True))  # noqa: PTH110, PTH207
    return [file for path in map(Path, named) for file in (images(path, skipped) if path.is_dir() else [path])]


def images(folder: Path, skipped: Skipped) -> list[Path]:
    """Files in ``folder`` and below whose suffix is that of an image, in order; links to folders are not followed."""
    found = []
    for file in _walked(folder, skipped):
        if file.suffix.lower() in SUFFIXES and file.is_file():
            found.append(file)
        else:
            skipped[file.suffix.lower() or "no suffix"] += 1
    return sorted(found)


def _walked(folder: Path, skipped: Skipped) -> Iterator[Path]:
    def unread(error: OSError) -> None:
        skipped[f"cannot be read: {error.filename}"] += 1

    for where, folders, names in os.walk(folder, onerror=unread):
        skipped.update("link to a folder" for name in folders if Path(where, name).is_symlink())
        yield from (Path(where, name) for name in names)


def check_not_a_folder(path: Path) -> None:
    """Refuse a folder, which :func:`expand` leaves only where there is no image in it."""
    if os.path.isdir(path):  # noqa: PTH112  as in _expanded
        raise UnsupportedImage(
            f"{path} is a folder without images",
            remedy=f"name the files, or give them a suffix that is known: {' '.join(sorted(SUFFIXES))}",
        )


def shown(name: str | Path, *, lines: bool = False) -> str:
    """A name on one line of a terminal, or a text with its ``lines``: what would move or colour it stands escaped."""
    return _MOVING.sub(
        lambda found: found[0] if lines and found[0] == "\n" else found[0].encode("unicode_escape").decode(), str(name)
    )


def make(folder: Path) -> None:
    """Make the folder for overlays, so that one that cannot be made is told before anything is analysed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadSetting(
            f"the folder {folder} cannot be made: {error.strerror}", remedy="name another folder: --save DIR"
        ) from error


def overlay_path(folder: Path, path: Path) -> Path:
    """A name in ``folder`` for the overlay of ``path``: all on one level, with a checksum to tell a-b/c from a/b-c."""
    name = "-".join(part for part in path.parts if part not in ("..", path.anchor))
    mark = "" if path.name == str(path) else f".{zlib.crc32(os.fsencode(path)):08x}"
    return folder / f"{name}{mark}.overlay.png"
