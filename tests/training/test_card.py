"""Cards: written, read, and told to people."""

from __future__ import annotations

import pytest

from training.card import Card


def test_a_card_reads_as_it_was_written(tmp_path) -> None:
    levels = {"photographs": {"0.01": 0.9, "0.05": 0.8}, "video": {}}
    card = Card(thresholds={"512": levels, "0": levels}, known_failures=("screenshots",))
    assert (card.working_sizes, card.at(512), card.at(768)) == ((512, 0), levels, {})
    card.write(tmp_path / "card.json")
    assert Card.read(tmp_path / "card.json") == card


def test_a_card_names_every_threshold() -> None:
    levels = {
        "512": {"photographs": {"0.05": 0.5, "0.01": 0.75}, "video": {"0.01": 0.9}},
        "0": {"photographs": {"0.01": 1}},
    }
    told = Card(thresholds=levels).to_markdown("small", ["f32"])
    assert [line for line in told.splitlines() if line.startswith("- Score")] == [
        "- Score that 1% of authentic photographs reach at 512 px: 0.7500",
        "- Score that 5% of authentic photographs reach at 512 px: 0.5000",
        "- Score that 1% of authentic video frames reach at 512 px: 0.9000",
        "- Score that 1% of authentic photographs reach at native: 1.0000",
    ]


def test_a_card_with_an_unknown_field_is_refused(tmp_path) -> None:
    (tmp_path / "card.json").write_text('{"licens": "MIT"}')
    with pytest.raises(
        ValueError, match=r"has fields that no card has: \['licens'\]\n  -> measure the checkpoint again"
    ):
        Card.read(tmp_path / "card.json")
