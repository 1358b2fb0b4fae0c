"""What an artifact has to reach on real forgeries before its status may be release, and by how much it misses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

CLASSICAL = ("cfa", "ela", "ghost", "noise")
PIXEL, IMAGE_REENCODED, FALL = 0.75, 0.66, 0.05
"""Floors of CASIA v1: pixel AUC on forged images, image AUC after re-encoding, largest fall under a distortion."""
GOALS = {
    ("casia1", "pixel_auc"): 0.82, ("imd2020", "pixel_auc"): 0.78, ("comofod", "pixel_auc"): 0.70,
    ("casia1", "image_auc"): 0.75,
}  # fmt: skip
DISTORTED = ("jpeg 70", "resize 0.78")


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing to reach; ``found`` is None where it was not measured, and then it is not reached."""

    what: str
    needed: float
    found: float | None
    floor: bool
    """False for a goal."""

    @property
    def reached(self) -> bool:
        """Whether it was measured and is there."""
        return self.found is not None and self.found >= self.needed


def marks(result: Mapping[str, Any]) -> list[dict[str, object]]:
    """Every floor and goal with what was found, for the first predictor of an evaluation."""
    found = [*_floors(result), *_goals(result)]
    return [{**asdict(mark), "reached": mark.reached} for mark in found]


def _floors(result: Mapping[str, Any]) -> Iterator[Mark]:
    model = next(iter(result["predictors"]))
    yield Mark("casia1 pixel AUC", PIXEL, _at(result, "figures", "imdl", "casia1", model, "pixel_auc", "value"), True)
    for name in CLASSICAL:
        low = _at(result, "paired", "imdl", "casia1", "pixel_auc", name, "low")
        yield Mark(f"casia1 pixel AUC above {name}, lower end of the paired difference", 0.0, low, True)
    anew = _at(result, "figures", "reencoded", "casia1", model, "image_auc", "value")
    yield Mark("casia1 image AUC, all encoded anew", IMAGE_REENCODED, anew, True)
    rows = {row["name"]: row for row in _at(result, "robustness", "rows", "casia1") or []}
    intact = _at(rows, "none", "pixel_auc", "value")
    for name in DISTORTED:
        value = _at(rows, name, "pixel_auc", "value")
        least = PIXEL if intact is None else max(PIXEL, intact - FALL)
        yield Mark(f"casia1 pixel AUC under {name}, a fall of {FALL} at most", least, value, True)


def _goals(result: Mapping[str, Any]) -> Iterator[Mark]:
    model = next(iter(result["predictors"]))
    for (group, figure), needed in GOALS.items():
        value = _at(result, "figures", "imdl", group, model, figure, "value")
        yield Mark(f"{group} {figure.replace('_auc', ' AUC')}", needed, value, False)


def _at(content: Any, *keys: str) -> Any:  # noqa: ANN401
    """The value under nested keys; None where one is missing."""
    for key in keys:
        if not isinstance(content, Mapping) or key not in content:
            return None
        content = content[key]
    return content
