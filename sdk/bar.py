"""A bar on a terminal for what takes long, and nothing anywhere else."""

from __future__ import annotations

from typing import TextIO

from sdk.progress import Progress, Report

WIDTH = 30
"""Characters of the bar itself."""


def tiles(name: str, terminal: TextIO) -> Report | None:
    """What draws a bar for each stage of several tiles of ``name``, and wipes it after the last; None elsewhere."""
    if not terminal.isatty():
        return None

    def draw(progress: Progress) -> None:
        if progress.total == 1:
            return
        text = f"{drawn(progress.share)} {progress.stage} {progress.done}/{progress.total} {name[:40]}"
        terminal.write(f"\r{'':<100}\r" if progress.done == progress.total else f"\r{text:<100}\r")
        terminal.flush()

    return draw


def drawn(share: float) -> str:
    """``[#####     ]`` for a share in [0, 1]."""
    return f"[{'#' * int(WIDTH * share):<{WIDTH}}]"
