"""Make an examination again from its record and the file, and say whether the same came out."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdk.analyzer import made
from sdk.artifact import names
from sdk.ensemble import Ensemble
from sdk.errors import ArtifactInvalid, EvidenceInvalid, UnknownName
from sdk.evidence.record import ENGINE, of_analysis, runtime
from sdk.footage import of_summary
from sdk.recipe import Recipe
from sdk.streaming.stream import stream

if TYPE_CHECKING:
    from sdk.analyzer import Analyzer
    from sdk.results import Analysis

LEAST = 1e-4
"""Difference of scores that is accepted at least: another processor adds up in another order."""


@dataclass(frozen=True, slots=True, eq=False)
class Replayed:
    """What one model said now, beside what it said then."""

    model: str
    analysis: Analysis
    recorded: float
    """The score in the record, in [0, 1]."""
    tolerance: float
    """Difference that the artifact's gate found between its model and this way of running it, and 1e-4 at least.

    Of an ensemble the largest of its members'."""
    identical: bool
    """Whether score and heatmap are the same to the bit, and of a video the verdicts of all frames, too."""
    elsewhere: tuple[str, ...]
    """What differs between the machine of the record and this one."""

    @property
    def matches(self) -> bool:
        """Whether the score is the recorded one, within the tolerance."""
        return abs(self.analysis.score - self.recorded) <= self.tolerance

    def to_dict(self) -> dict[str, object]:
        """Plain types, for a line of JSON."""
        return {
            "model": self.model,
            "matches": self.matches,
            "identical": self.identical,
            "recorded": self.recorded,
            "replayed": self.analysis.score,
            "tolerance": self.tolerance,
            "elsewhere": list(self.elsewhere),
        }


def replay(record: Mapping[str, Any], data: bytes, *, artifacts: Mapping[str, Path] | None = None) -> list[Replayed]:
    """Analyse the file whose bytes are ``data`` as ``record`` says, once for each of its models.

    ``artifacts`` are paths of those that do not ship with the package, by name.

    Raises:
        EvidenceInvalid: the file is not the one of the record, or the record has no results to be compared with.
        ArtifactInvalid: an artifact of that name is at hand, and it is not the recorded one.
    """
    check_file(record, data)
    if not record["results"]:
        raise EvidenceInvalid(
            "the record holds no result: the file could not be analysed", remedy="examine the file anew: imdl record"
        )
    elsewhere = _elsewhere(record["runtime"])
    return [
        _again(model, result, record, data=data, path=(artifacts or {}).get(model["name"]), elsewhere=elsewhere)
        for model, result in zip(record["models"], record["results"], strict=True)
    ]


def check_file(record: Mapping[str, Any], data: bytes) -> None:
    """Refuse a file that is not the one of ``record``."""
    found = hashlib.sha256(data).hexdigest()
    if record["input"].get("sha256") != found:
        raise EvidenceInvalid(
            f"the record is of another file: its SHA-256 is {record['input'].get('sha256')}, not {found}",
            remedy="give the file as it was uploaded, byte for byte",
        )


def _again(
    model: Mapping[str, Any],
    result: Mapping[str, Any],
    record: Mapping[str, Any],
    *,
    data: bytes,
    path: Path | None,
    elsewhere: tuple[str, ...],
) -> Replayed:
    engine = model["engine"]
    if path is None and model["name"] not in names():  # no record names a path
        raise UnknownName("model", model["name"], names())
    with made(_recipe(path or model["name"], engine, result["members"])) as analyzer:
        if analyzer.artifact.digest != model["artifact"]:
            raise ArtifactInvalid(
                f"{analyzer.artifact.name} is not the recorded artifact: its SHA-256 is {analyzer.artifact.digest}, "
                f"not {model['artifact']}",
                remedy=f"name the artifact that was used: --model {model['name']}=PATH",
            )
        if record.get("video") is None:
            analysis, same = analyzer.analyze(data, min_score=0.0), True
        else:
            analysis, found = _watched(analyzer, data, record["video"])
            same = found == record["video"]["models"][model["name"]]
        told = of_analysis(analysis)
        tolerance = _tolerance(analyzer, engine, result["members"])
    same = same and told["score"] == result["score"] and told["heatmap_sha256"] == result["heatmap_sha256"]
    return Replayed(model["name"], analysis, float(result["score"]), tolerance, same, elsewhere)


def _watched(analyzer: Analyzer, data: bytes, video: Mapping[str, Any]) -> tuple[Analysis, dict[str, object]]:
    """The analysis of the frame that was the most suspicious, and what was found in all that the record is about."""
    frames, worst, analysis = video["frames"], video["worst"][0]["frame"], None
    with stream(data, analyzer) as moments:
        for moment in itertools.islice(moments, frames):  # an examination that was ended early saw no more
            if moment.index == worst:
                analysis = moment.analysis
        found = of_summary(moments.summary)
    if analysis is None:
        raise EvidenceInvalid(
            f"the video has no frame {worst}, which the record is about", remedy="replay it with what wrote the record"
        )
    return analysis, json.loads(json.dumps(found))


def _recipe(model: str | Path, engine: Mapping[str, Any], members: Mapping[str, Mapping[str, Any]]) -> Recipe:
    """How the model was run; an ensemble by what ran each of its members, its own engine is but a summary of theirs."""
    if not members:
        return Recipe(model=model, **{key: engine[key] for key in (*ENGINE, "working_size")})
    chosen = {name: {key: member[key] for key in ENGINE} for name, member in members.items()}
    return Recipe(model=model, working_size=engine["working_size"], members=chosen)


def _tolerance(analyzer: Analyzer, engine: Mapping[str, Any], members: Mapping[str, Mapping[str, Any]]) -> float:
    """What the gate found for this engine; of an ensemble, which has no graphs, the most of its members'."""
    if isinstance(analyzer, Ensemble):
        own = [_tolerance(one, members[name], {}) for name, one in analyzer.analyzers.items() if name in members]
        return max([LEAST, *own])
    parity = analyzer.artifact.contract.parity
    ran = engine["backend"], engine["precision"]
    return max([LEAST, *(row.max_abs_score for row in parity if (row.backend, row.precision) == ran)])


def _elsewhere(then: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between the recorded runtime and this one, one phrase each."""
    before, after = _flat(then), _flat(runtime())
    keys = sorted(set(before) | set(after))
    return tuple(f"{key} {before.get(key)} -> {after.get(key)}" for key in keys if before.get(key) != after.get(key))


def _flat(runtime: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in runtime.items() if key != "packages"}, **runtime.get("packages", {})}
