"""Progress is counted tile by tile, drawn on terminals only, and what it raises reaches whoever asked for it."""

from __future__ import annotations

import io

import numpy as np
import pytest

from sdk import bar
from sdk.progress import Progress


@pytest.fixture
def large(rng) -> np.ndarray:
    """Six tiles of the toy's 32 x 48 px, with what borders need: four are small."""
    return rng.integers(0, 200, (96, 96, 3), np.uint8)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_every_piece_is_told_in_order(analyzer, large):
    told = []
    analyzer.analyze(large, progress=told.append)
    tiles = [piece for piece in told if piece.stage == "local"]
    assert [piece.done for piece in tiles] == list(range(1, tiles[0].total + 1))
    assert tiles[0].total > 1
    assert [piece for piece in told if piece.stage != "local"] == [Progress("rest", 1, 1), Progress("locate", 1, 1)]
    assert tiles[-1].share == 1.0


def test_what_it_raises_stops_the_analysis_and_is_not_the_runtimes_fault(analyzer, large):
    told = []

    def stop(piece: Progress) -> None:
        told.append(piece)
        raise KeyError("enough")

    with pytest.raises(KeyError, match="enough"):
        analyzer.analyze(large, progress=stop)
    assert len(told) == 1
    assert analyzer.analyze(large).localised  # and the next one runs


def test_the_bar_is_drawn_on_a_terminal_and_wiped():
    terminal = Terminal()
    draw = bar.tiles("photo.jpg", terminal)
    draw(Progress("rest", 1, 1))
    assert not terminal.getvalue()
    draw(Progress("local", 1, 3))
    assert terminal.getvalue().strip() == "[##########                    ] local 1/3 photo.jpg"
    draw(Progress("local", 3, 3))
    assert terminal.getvalue().endswith(f"\r{'':<100}\r")
    assert bar.tiles("photo.jpg", io.StringIO()) is None
