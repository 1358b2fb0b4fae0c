"""What an artifact has to reach on real forgeries before its status may be release, and by how much it misses."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

CLASSICAL = ("cfa", "ela", "ghost", "noise")


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """What a model has to reach on CASIA v1, and what it aims at; a floor that is None is not asked of it."""

    pixel: float
    """Pixel AUC on forged images."""
    above_classical: bool = True
    """Whether the lower end of its interval lies above every classical detector, image by image."""
    image_reencoded: float | None = None
    """Image AUC where all images were encoded anew."""
    fall: float | None = None
    """Largest fall of the pixel AUC under a distortion, which leaves it above the floor."""
    goals: Mapping[tuple[str, str], float]
    """By set and figure."""


ASKED = {
    "psccnet": Asked(
        pixel=0.75,
        image_reencoded=0.66,
        fall=0.05,
        goals={
            ("casia1", "pixel_auc"): 0.82, ("imd2020", "pixel_auc"): 0.78, ("comofod", "pixel_auc"): 0.70,
            ("casia1", "image_auc"): 0.75,
        },
    ),
    "mantranet": Asked(
        pixel=0.70, above_classical=False, goals={("casia1", "pixel_auc"): 0.80, ("imd2020", "pixel_auc"): 0.70}
    ),
    "gsrnet": Asked(pixel=0.70, goals={("casia1", "pixel_auc"): 0.78}),
    "mag": Asked(pixel=0.66, goals={("casia1", "pixel_auc"): 0.75}),
}  # fmt: skip
"""By model, narrow variants included: ``gsrnet-lite`` has to reach what ``gsrnet`` has to."""
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


def asked(model: str) -> Asked:
    """What is asked of ``model``; of one that is not ours, an ensemble say, what is asked of PSCC-Net."""
    return ASKED.get(model.partition("-")[0], ASKED["psccnet"])


def _floors(result: Mapping[str, Any]) -> Iterator[Mark]:
    model = next(iter(result["predictors"]))
    least = asked(model)
    found = _at(result, "figures", "imdl", "casia1", model, "pixel_auc", "value")
    yield Mark("casia1 pixel AUC", least.pixel, found, True)
    for name in CLASSICAL if least.above_classical else ():
        low = _at(result, "paired", "imdl", "casia1", "pixel_auc", name, "low")
        yield Mark(f"casia1 pixel AUC above {name}, lower end of the paired difference", 0.0, low, True)
    if least.image_reencoded is not None:
        anew = _at(result, "figures", "reencoded", "casia1", model, "image_auc", "value")
        yield Mark("casia1 image AUC, all encoded anew", least.image_reencoded, anew, True)
    if least.fall is not None:
        yield from _distorted(result, least.pixel, fall=least.fall)


def _distorted(result: Mapping[str, Any], least: float, *, fall: float) -> Iterator[Mark]:
    rows = {row["name"]: row for row in _at(result, "robustness", "rows", "casia1") or []}
    intact = _at(rows, "none", "pixel_auc", "value")
    needed = least if intact is None else max(least, intact - fall)
    for name in DISTORTED:
        value = _at(rows, name, "pixel_auc", "value")
        yield Mark(f"casia1 pixel AUC under {name}, a fall of {fall} at most", needed, value, True)


def _goals(result: Mapping[str, Any]) -> Iterator[Mark]:
    model = next(iter(result["predictors"]))
    for (group, figure), needed in asked(model).goals.items():
        value = _at(result, "figures", "imdl", group, model, figure, "value")
        yield Mark(f"{group} {figure.replace('_auc', ' AUC')}", needed, value, False)


def _at(content: Any, *keys: str) -> Any:  # noqa: ANN401
    """The value under nested keys; None where one is missing."""
    for key in keys:
        if not isinstance(content, Mapping) or key not in content:
            return None
        content = content[key]
    return content
