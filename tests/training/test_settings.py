"""Settings by name: what is taken, and what is refused before anything is built."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from training.settings import checked, taken


@dataclass(frozen=True, kw_only=True, slots=True)
class Kind:
    """One field of each type that settings have."""

    width: int = 64
    dropout: float = 0.5
    edge: bool = True
    layout: str = "paper"


def test_fields_are_taken_and_the_rest_is_left() -> None:
    options = {"width": 8, "dropout": 0, "other": 3}
    assert taken(Kind, options, of="model") == Kind(width=8, dropout=0)
    assert options == {"other": 3}


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"width": 1.5}, "width of model is 1.5\n  -> give a value like 64"),
        ({"width": True}, "width of model is True"),
        ({"dropout": "half"}, "dropout of model is 'half'\n  -> give a value like 0.5"),
        ({"edge": 1}, "edge of model is 1\n  -> give a value like True"),
        ({"layout": 3}, "layout of model is 3\n  -> give a value like 'paper'"),
        ({"widht": 3}, "no setting of model named 'widht'\n  -> did you mean 'width'"),
    ],
)
def test_what_is_no_setting_is_refused(given: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        checked(Kind, given, of="model")
