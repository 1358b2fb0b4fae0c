"""Policies as files: TOML, versioned, known by their SHA-256, with nothing in them that is not understood."""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_args

from sdk.errors import BadSetting, Faults, UnknownName
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
        BadSetting: it is not TOML, lacks something, a value is of a wrong type or out of its range, or several faults
            are found: all are named.
        UnknownName: it has a key that means nothing, or an action that does not exist.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadSetting(f"policy {path} cannot be read: {error.strerror}", remedy="check the path") from error
    try:
        return _policy(tomllib.loads(data.decode()), hashlib.sha256(data).hexdigest())
    except ValueError as error:
        raise BadSetting(f"policy {path} is not TOML: {error}", remedy=_EXAMPLE) from error


def by_digest(sha256: str, paths: Iterable[Path] = ()) -> Policy | None:
    """The policy whose file has that SHA-256, of those that ship and those at ``paths``; None if none of them has."""
    policies = map(read, [*paths, *sorted(SHIPPED.glob("*.toml"))])
    return next((policy for policy in policies if policy.sha256 == sha256), None)


def _policy(values: dict[str, Any], sha256: str) -> Policy:
    faults = Faults("the policy")
    known = {each.name for each in fields(Policy)} - {"sha256"} | {"schema"}
    _known(faults, "setting in a policy", values, known)
    lost = sorted({"schema", "name", "version", "thresholds"} - set(values))
    faults.check(f"a policy lacks {', '.join(lost)}", _EXAMPLE, holds=not lost)
    lacking: dict[str, Any] = {"schema": SCHEMA, "name": "-", "version": 1, "thresholds": {"default": {}}}
    values = lacking | values
    schema, name, models = values["schema"], values["name"], values.get("models", [])
    faults.check(f"schema is {schema!r}", f"this imdl-sdk reads schema {SCHEMA}", holds=schema == SCHEMA)
    faults.check(f"name is {name!r}", "give a name", holds=isinstance(name, str) and name != "")
    names = isinstance(models, list) and all(isinstance(model, str) for model in models)
    faults.check(f"models is {models!r}", 'give a list of names, ["psccnet-lite"]', holds=names)
    if names:
        twice = sorted({model for model in models if models.count(model) > 1})
        faults.check(f"models names {', '.join(twice)} twice", "name each once", holds=not twice)
    numbers = {key: values.get(key, 1) for key in ("version", "agree")}
    for key, number in numbers.items():
        whole = type(number) is int and number >= 1
        faults.check(f"{key} is {number!r}", "give a whole number from 1 up", holds=whole)
    agree = numbers["agree"]
    if names and models and type(agree) is int:
        faults.check(f"agree is {agree} of {len(models)} models", "let fewer agree", holds=agree <= len(models))
    actions = {key: values[key] for key in ("inconclusive", "unreadable") if key in values}
    for action in actions.values():
        if action not in get_args(Action):
            faults.add(UnknownName("action", action, get_args(Action)))
    thresholds = _sections(faults, values["thresholds"])
    faults.tell()
    return Policy(
        name=name,
        version=values["version"],
        sha256=sha256,
        thresholds=thresholds,
        models=tuple(models),
        agree=agree,
        **actions,
    )


def _sections(faults: Faults, sections: Any) -> dict[str, Thresholds]:  # noqa: ANN401  whatever stands in the file
    found = isinstance(sections, dict) and all(isinstance(section, dict) for section in sections.values())
    faults.check(
        "there is no [thresholds.default]",
        "write one: all other uploads are judged by it",
        holds=found and "default" in sections,
    )
    return {content: _section(faults, content, section) for content, section in sections.items()} if found else {}


def _section(faults: Faults, content: str, section: dict[str, Any]) -> Thresholds:
    _known(faults, "threshold", section, {each.name for each in fields(Thresholds)})
    shares = {}
    for name, of in (("minimum_area", "the frame"), ("minimum_frames", "a video")):
        share = section.get(name, 0.0)
        faults.check(f"{name} of {content} is {share!r}", f"give a share of {of} in [0, 1]", holds=_share(share))
        shares[name] = float(share) if _share(share) else 0.0
    given = {key: section[key] for key in ("review", "block") if key in section}
    levels = {key: _threshold(faults, f"{key} of {content}", value) for key, value in given.items()}
    review, block = levels.get("review"), levels.get("block")
    if review and block and review.score is not None and block.score is not None:
        ordered = block.score >= review.score
        faults.check(f"block of {content} lies below review", "block from a higher score", holds=ordered)
    if review and block and review.false_alarms is not None and block.false_alarms is not None:
        ordered = block.false_alarms <= review.false_alarms
        problem = f"block of {content} has more false alarms than review"
        faults.check(problem, "block fewer than are reviewed", holds=ordered)
    return Thresholds(review=review, block=block, **shares)


def _threshold(faults: Faults, name: str, value: Any) -> Threshold | None:  # noqa: ANN401  whatever stands in the file
    problem = f"{name} is {value!r}"
    if not (isinstance(value, dict) and len(value) == 1):
        faults.check(problem, "give { score = 0.9 } or { false_alarms = 0.05 }", holds=False)
        return None
    ((kind, number),) = value.items()
    _known(faults, "threshold", value, {"score", "false_alarms"})
    faults.check(problem, "give a number in [0, 1]", holds=_share(number))
    is_right = kind in ("score", "false_alarms") and _share(number)
    return Threshold(**{kind: float(number)}) if is_right else None


def _known(faults: Faults, kind: str, values: Mapping[str, object], names: set[str]) -> None:
    for name in values:
        if name not in names:
            faults.add(UnknownName(kind, name, names))


def _share(value: object) -> bool:
    return type(value) in (int, float) and 0.0 <= float(value) <= 1.0  # type: ignore[arg-type]
