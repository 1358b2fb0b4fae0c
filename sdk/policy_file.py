"""Policies as files: TOML, versioned, known by their SHA-256, with nothing in them that is not understood."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from sdk.errors import BadSetting, UnknownName
from sdk.policy import Action, Policy, Threshold, Thresholds

SCHEMA = 1
"""Raised by every change that an older reader would misunderstand."""
SHIPPED = Path(__file__).parent / "policies"
"""Folder of the policies that come with the package."""
_EXAMPLE = "see sdk/policies/default.toml"


def find(name: str | Path | None = None) -> Path:
    """File of a policy: a shipped one by name (None is the default), one of the user's by path."""
    shipped = {path.stem: path for path in SHIPPED.glob("*.toml")}
    if name is None or name in shipped:
        return shipped[str(name or "default")]
    if Path(name).is_file():
        return Path(name)
    raise UnknownName("policy", name, shipped)


def read(path: Path) -> Policy:
    """Read and check the policy at ``path``.

    Raises:
        BadSetting: it is not TOML, lacks something, or a value is of a wrong type or out of its range.
        UnknownName: it has a key that means nothing, or an action that does not exist.
    """
    data = path.read_bytes()
    try:
        return _policy(tomllib.loads(data.decode()), hashlib.sha256(data).hexdigest())
    except ValueError as error:
        raise BadSetting(f"policy {path} is not TOML: {error}", remedy=_EXAMPLE) from error


def by_digest(sha256: str, paths: Iterable[Path] = ()) -> Policy | None:
    """The policy whose file has that SHA-256, of those that ship and those at ``paths``; None if none of them has."""
    policies = map(read, [*paths, *sorted(SHIPPED.glob("*.toml"))])
    return next((policy for policy in policies if policy.sha256 == sha256), None)


def _policy(values: dict[str, Any], sha256: str) -> Policy:
    known = {each.name for each in fields(Policy)} - {"sha256"} | {"schema"}
    _known("setting in a policy", values, known)
    lost = sorted({"schema", "name", "version", "thresholds"} - set(values))
    if lost:
        raise BadSetting(f"a policy lacks {', '.join(lost)}", remedy=_EXAMPLE)
    _check(f"schema is {values['schema']!r}", f"this imdl-sdk reads schema {SCHEMA}", holds=values["schema"] == SCHEMA)
    _check(f"name is {values['name']!r}", "give a name", holds=isinstance(values["name"], str) and values["name"] != "")
    models = values.get("models", [])
    names = isinstance(models, list) and all(isinstance(model, str) for model in models)
    _check(f"models is {models!r}", 'give a list of names, ["psccnet-lite"]', holds=names)
    for key in ("version", "agree"):
        number = values.get(key, 1)
        _check(f"{key} is {number!r}", "give a whole number from 1 up", holds=type(number) is int and number >= 1)
    agree = values.get("agree", 1)
    _check(f"agree is {agree} of {len(models)} models", "let fewer agree", holds=not models or agree <= len(models))
    actions = {key: values[key] for key in ("inconclusive", "unreadable") if key in values}
    for action in actions.values():
        if action not in get_args(Action):
            raise UnknownName("action", action, get_args(Action))
    return Policy(
        name=values["name"],
        version=values["version"],
        sha256=sha256,
        thresholds=_sections(values["thresholds"]),
        models=tuple(models),
        agree=agree,
        **actions,
    )


def _sections(sections: Any) -> dict[str, Thresholds]:  # noqa: ANN401  whatever stands in the file
    found = isinstance(sections, dict) and all(isinstance(section, dict) for section in sections.values())
    _check(
        "there is no [thresholds.default]",
        "write one: all other uploads are judged by it",
        holds=found and "default" in sections,
    )
    return {content: _section(content, section) for content, section in sections.items()}


def _section(content: str, section: dict[str, Any]) -> Thresholds:
    _known("threshold", section, {each.name for each in fields(Thresholds)})
    area = section.get("minimum_area", 0.0)
    _check(f"minimum_area of {content} is {area!r}", "give a share of the frame in [0, 1]", holds=_share(area))
    frames = section.get("minimum_frames", 0.0)
    _check(f"minimum_frames of {content} is {frames!r}", "give a share of a video in [0, 1]", holds=_share(frames))
    levels = {key: _threshold(f"{key} of {content}", section[key]) for key in ("review", "block") if key in section}
    if len(levels) == 2:
        review, block = levels["review"], levels["block"]
        if review.score is not None and block.score is not None:
            _check(
                f"block of {content} lies below review", "block from a higher score", holds=block.score >= review.score
            )
        if review.false_alarms is not None and block.false_alarms is not None:
            order = block.false_alarms <= review.false_alarms
            _check(
                f"block of {content} has more false alarms than review", "block fewer than are reviewed", holds=order
            )
    return Thresholds(minimum_area=float(area), minimum_frames=float(frames), **levels)


def _threshold(name: str, value: Any) -> Threshold:  # noqa: ANN401  whatever stands in the file
    wanted = "give { score = 0.9 } or { false_alarms = 0.05 }"
    _check(f"{name} is {value!r}", wanted, holds=isinstance(value, dict) and len(value) == 1)
    _known("threshold", value, {"score", "false_alarms"})
    (kind, number), *_ = value.items()
    _check(f"{name} is {value!r}", "give a number in [0, 1]", holds=_share(number))
    return Threshold(**{kind: float(number)})


def _known(kind: str, values: Mapping[str, object], names: set[str]) -> None:
    for name in values:
        if name not in names:
            raise UnknownName(kind, name, names)


def _share(value: object) -> bool:
    return type(value) in (int, float) and 0.0 <= float(value) <= 1.0  # type: ignore[arg-type]


def _check(problem: str, remedy: str, *, holds: bool) -> None:
    if not holds:
        raise BadSetting(problem, remedy=remedy)
