"""Cards: written, read, and told to people."""

from __future__ import annotations

import pytest

from training.card import Card


def test_a_card_reads_as_it_was_written(tmp_path) -> None:
    card = Card(working_sizes=(512, 0), video_thresholds={"0.01": 0.9}, known_failures=("screenshots",))
    card.write(tmp_path / "card.json")
    assert Card.read(tmp_path / "card.json") == card


def test_a_card_names_every_threshold() -> None:
    levels = {"0.05": 0.5, "0.01": 0.75}
    told = Card(score_thresholds=levels, video_thresholds={"0.01": 0.9}).to_markdown("small", ["f32"])
    assert "- Score for a false-positive rate of 1%: 0.7500\n- Score for a false-positive rate of 5%: 0.5000" in told
    assert "- Score for a false-positive rate of 1% of video frames: 0.9000" in told
    assert "of video frames" not in Card(score_thresholds=levels).to_markdown("small", ["f32"])


def test_a_card_with_an_unknown_field_is_refused(tmp_path) -> None:
    (tmp_path / "card.json").write_text('{"licens": "MIT"}')
    with pytest.raises(
        ValueError, match=r"has fields that no card has: \['licens'\]\n  -> measure the checkpoint again"
    ):
        Card.read(tmp_path / "card.json")
