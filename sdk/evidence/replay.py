"""Make an examination again from its record and the file, and say what of the record is not what comes out.

Everything that file, artifacts and policies determine is made anew and compared: a record that nobody signed may have
been changed anywhere. When and where it was made, how long that took, as what content and by which policy an upload
was judged, no file can tell.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdk import policy_file
from sdk.analyzer import made
from sdk.artifact import names
from sdk.ensemble import Ensemble
from sdk.errors import ArtifactInvalid, EvidenceInvalid, UnknownName
from sdk.evidence import form
from sdk.evidence.allowance import LEAST, Allowance
from sdk.evidence.record import ENGINE, EXPIRING, PASSING, Record, dumps, of, runtime
from sdk.evidence.rewatched import Rewatched, rewatched
from sdk.metadata import MetadataReader
from sdk.policy import Decision, Finding, Policy, Thresholds
from sdk.recipe import Recipe
from sdk.verdict import by_shares

if TYPE_CHECKING:
    from sdk.analyzer import Analyzer
    from sdk.results import Analysis

LONGEST = 100
"""Letters of a value that are told."""


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
    differs: tuple[str, ...] = ()
    """What the record says of this model, or of the file and the decision, and what was found now."""
    unchecked: tuple[str, ...] = ()
    """What of the record could not be made again here, and why."""

    @property
    def matches(self) -> bool:
        """Whether all was made again, and is what the record says, scores and heatmaps within the tolerance."""
        return not self.differs and not self.unchecked

    def to_dict(self) -> dict[str, object]:
        """Plain types, for a line of JSON."""
        return {
            "model": self.model,
            "matches": self.matches,
            "identical": self.identical,
            "recorded": self.recorded,
            "replayed": self.analysis.score,
            "tolerance": self.tolerance,
            "differs": list(self.differs),
            "unchecked": list(self.unchecked),
            "elsewhere": list(self.elsewhere),
        }


def replay(
    record: Mapping[str, Any],
    data: bytes,
    *,
    artifacts: Mapping[str, Path] | None = None,
    policies: Sequence[Path] = (),
) -> list[Replayed]:
    """Analyse the file whose bytes are ``data`` as ``record`` says; what each of its models said now.

    ``artifacts`` are paths of those that do not ship with the package, by name, and ``policies`` files of those.

    Raises:
        EvidenceInvalid: the file is not the one of the record, or the record has no results to be compared with.
        ArtifactInvalid: an artifact of that name is at hand, and it is not the recorded one.
    """
    form.check(record)
    check_file(record, data)
    if not record["results"]:
        raise EvidenceInvalid(
            "the record holds no result: the file could not be analysed", remedy="examine the file anew: imdl record"
        )
    then = json.loads(dumps(record))
    chosen = _Policies(then, policies)
    with ExitStack() as held:
        pairs = zip(then["models"], then["results"], strict=True)
        analyzers = [
            held.enter_context(_analyzer(model, result, (artifacts or {}).get(model["name"])))
            for model, result in pairs
        ]
        return _compared(then, data, analyzers, chosen)


def check_file(record: Mapping[str, Any], data: bytes) -> None:
    """Refuse a file that is not the one of ``record``."""
    found = hashlib.sha256(data).hexdigest()
    if record["input"].get("sha256") != found:
        raise EvidenceInvalid(
            f"the record is of another file: its SHA-256 is {record['input'].get('sha256')}, not {found}",
            remedy="give the file as it was uploaded, byte for byte",
        )


class _Policies:
    """The policies of a record, as far as they are at hand; of one that is not, nothing can be said."""

    def __init__(self, then: Mapping[str, Any], paths: Sequence[Path]) -> None:
        self.unchecked: list[str] = []
        self.of: dict[str, Policy] = {}
        self.named = {name: then[name] for name in ("decision", "shadow") if then[name]}
        for name, decision in self.named.items():
            sha256, content = decision["policy"]["sha256"], decision["content"]
            found = policy_file.by_digest(sha256, paths)
            if found is None:
                self.unchecked.append(f"{name}: no policy at hand has the SHA-256 {sha256}; give it: --policy PATH")
            else:
                self.of[name] = found
                found.at(content)

    def stand_in(self, name: str) -> Policy:
        """The policy of a decision; for one that is not at hand another, which leads to nothing."""
        nothing = {self.named[name]["content"]: Thresholds()}
        return self.of.get(name) or Policy(name="", version=1, sha256="", thresholds=nothing)


def _compared(then: dict[str, Any], data: bytes, analyzers: Sequence[Analyzer], policies: _Policies) -> list[Replayed]:
    """What every model says now, and what of the record is otherwise."""
    elsewhere, unchecked = _elsewhere(then["runtime"]), list(policies.unchecked)
    is_same = not elsewhere
    allowances = [
        Allowance(_tolerances(one, model["engine"], result["members"]))
        for one, model, result in zip(analyzers, then["models"], then["results"], strict=True)
    ]
    again: Rewatched | None = None
    if then.get("video") is None:
        read = analyzers[0].read(data)
        analyses = [analyzer.analyze(read, min_score=0.0) for analyzer in analyzers]
    else:
        asked = {name: (policies.stand_in(name), each["content"]) for name, each in policies.named.items()}
        most = max(allowance.score for allowance in allowances)
        again = rewatched(data, analyzers, then, policies=asked, tolerance=most)
        analyses = again.analyses
    found = list(zip(analyzers, analyses, strict=True))
    now = _now(then, data, found, again)
    identical = list(_identical(then, now))
    for number, (allowance, analysis) in enumerate(zip(allowances, analyses, strict=True)):
        _settle_result(then, now, number, analysis, allowance=allowance, is_same=is_same)
    if again is not None:
        unchecked += again.settle(then, now)
    for name, policy in policies.of.items():
        now[name] = _decision(policy, name, found, now=now, again=again).to_dict()
    elsewhere += _settle_reading(then, now, is_same=is_same, unchecked=unchecked)
    told = list(_differences(then, now))
    return [
        Replayed(
            model=result["model"],
            analysis=analyses[number],
            recorded=float(result["score"]),
            tolerance=allowances[number].score,
            identical=identical[number],
            elsewhere=elsewhere,
            differs=tuple(text for place, text in told if _concerns(place, number)),
            unchecked=tuple(unchecked),
        )
        for number, result in enumerate(then["results"])
    ]


def _identical(then: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[bool]:
    """Of each model, whether score and heatmap are the same to the bit, and the verdicts of a video."""
    for before, after in zip(then["results"], now["results"], strict=True):
        watched = [record["video"]["models"].get(before["model"]) for record in (then, now) if record.get("video")]
        figures = ("score", "heatmap_sha256")
        yield watched[:1] == watched[1:] and all(before[name] == after[name] for name in figures)


def _settle_result(
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    number: int,
    analysis: Analysis,
    *,
    allowance: Allowance,
    is_same: bool,
) -> None:
    """Let the recorded figures of a model stand where they may be those of another machine, and judge them."""
    model, after = now["models"][number], now["results"][number]
    is_steady = is_same and model["engine"]["device"] == "cpu"
    allowance.settle(then["results"][number], after, analysis.heatmap, is_steady=is_steady)
    if after["verdict"]["name"] != "inconclusive":
        verdict = by_shares(after["score"], model["thresholds"])
        after["verdict"] = {"name": verdict.name, "reason": verdict.reason, "found": verdict.found}


def _now(
    then: Mapping[str, Any], data: bytes, found: Sequence[tuple[Analyzer, Analysis]], again: Rewatched | None
) -> dict[str, Any]:
    """The record as it would be written now, but for the decisions, which are those of the record."""
    metadata = None
    if then["metadata"] is not None:
        with MetadataReader(workers=1) as reader:
            metadata = reader.facts(data)
    nothing = Decision("pass", "", (), Policy(name="", version=1, sha256="", thresholds={}))
    record: Record = of(
        hashlib.sha256(data).hexdigest(),
        len(data),
        [(analyzer.artifact, analysis) for analyzer, analysis in found],
        decision=nothing,
        error=again.error if again else None,
        metadata=metadata,
        video=again.to_dict() if again else None,
        total_ms=0.0,
    )
    now: dict[str, Any] = json.loads(dumps(record))
    return now | {"decision": then["decision"], "shadow": then["shadow"]}


def _decision(
    policy: Policy,
    name: str,
    found: Sequence[tuple[Analyzer, Analysis]],
    *,
    now: Mapping[str, Any],
    again: Rewatched | None,
) -> Decision:
    """What ``policy`` makes of the figures in ``now``, for the decision of that ``name``."""
    content = now[name]["content"]
    findings = {}
    for (analyzer, analysis), result in zip(found, now["results"], strict=True):
        finding = Finding.of(analysis, analyzer.artifact.contract, is_video=again is not None)
        findings[result["model"]] = replace(finding, score=result["score"], area=result["mask_share"])
    if again is None:
        return policy.decide(findings, content=content)
    return again.decision(policy, content, findings, video=now["video"] if name == "decision" else None)


def _settle_reading(
    then: dict[str, Any], now: dict[str, Any], *, is_same: bool, unchecked: list[str]
) -> tuple[str, ...]:
    """Let stand what depends on what read the file, where that is another; what it was."""
    found = []
    before, after = then["input"]["decoder"], now["input"]["decoder"]
    library, _, about = str(before).partition(": ")
    if before != after and about == str(after).partition(": ")[2] and (about or not is_same):
        now["input"]["decoder"] = before
        found.append(f"decoder {library} -> {str(after).partition(': ')[0]}")
        for record in (then, now):  # what another one prints
            record["input"]["notes"] = [
                note for note in record["input"]["notes"] if not note.startswith("the decoder ")
            ]
    said, says = then["metadata"], now["metadata"]
    if said is None:
        return tuple(found)
    readers = said["reader"], says["reader"]
    found += [
        f"{name} {readers[0][name]} -> {readers[1][name]}"
        for name in readers[0]
        if readers[0][name] != readers[1][name]
    ]
    if readers[0]["c2pa"] and not readers[1]["c2pa"]:
        unchecked.append("metadata.c2pa: c2pa-python is not installed here: pip install 'imdl-sdk[c2pa]'")
    if bool(readers[0]["c2pa"]) != bool(readers[1]["c2pa"]):
        says["c2pa"] = said["c2pa"] if readers[0]["c2pa"] else None
    elif said["c2pa"] and says["c2pa"]:
        for name in EXPIRING:
            if said["c2pa"][name] != says["c2pa"][name]:
                words = f"{_told(said['c2pa'][name])} in the record, {_told(says['c2pa'][name])} now"
                unchecked.append(f"metadata.c2pa.{name}: {words}; certificates expire")
                says["c2pa"][name] = said["c2pa"][name]
    says["reader"] = said["reader"] | ({"exif": readers[1]["exif"]} if is_same else {})
    return tuple(found)


def _differences(then: object, now: object, place: str = "") -> Iterator[tuple[str, str]]:
    """Where the two are not the same, and both values."""
    if isinstance(then, dict) and isinstance(now, dict):
        for name in sorted(set(then) | set(now)):
            if place or name not in (*PASSING, "runtime", "schema"):
                under = f"{place}.{name}" if place else name
                yield from _differences(then.get(name), now.get(name), under)
    elif isinstance(then, list) and isinstance(now, list) and len(then) == len(now):
        for number, (before, after) in enumerate(zip(then, now, strict=True)):
            yield from _differences(before, after, f"{place}.{number}")
    elif json.dumps(then) != json.dumps(now):
        yield place, f"{place}: {_told(then)} in the record, {_told(now)} now"


def _told(value: object) -> str:
    """A value as JSON, shortened."""
    text = json.dumps(value, sort_keys=True)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def _concerns(place: str, number: int) -> bool:
    """Whether a difference is about that model, or about what all have in common."""
    kind, _, rest = place.partition(".")
    return kind not in ("models", "results") or not rest or rest.partition(".")[0] == str(number)


def _analyzer(model: Mapping[str, Any], result: Mapping[str, Any], path: Path | None) -> Analyzer:
    """What ran a model, loaded again."""
    if path is None and model["name"] not in names():  # no record names a path
        raise UnknownName("model", model["name"], names())
    analyzer = made(_recipe(path or model["name"], model["engine"], result["members"]))
    if analyzer.artifact.digest != model["artifact"]:
        analyzer.close()
        raise ArtifactInvalid(
            f"{analyzer.artifact.name} is not the recorded artifact: its SHA-256 is {analyzer.artifact.digest}, "
            f"not {model['artifact']}",
            remedy=f"name the artifact that was used: --model {model['name']}=PATH",
        )
    return analyzer


def _recipe(model: str | Path, engine: Mapping[str, Any], members: Mapping[str, Mapping[str, Any]]) -> Recipe:
    """How the model was run; an ensemble by what ran each of its members, its own engine is but a summary of theirs."""
    if not members:
        return Recipe(model=model, **{key: engine[key] for key in (*ENGINE, "working_size")})
    chosen = {name: {key: member[key] for key in ENGINE} for name, member in members.items()}
    return Recipe(model=model, working_size=engine["working_size"], members=chosen)


def _tolerances(
    analyzer: Analyzer, engine: Mapping[str, Any], members: Mapping[str, Mapping[str, Any]]
) -> tuple[float, float]:
    """What the gate found for this engine, of score and heatmap; of an ensemble the most of its members'."""
    if isinstance(analyzer, Ensemble):
        own = [_tolerances(one, members[name], {}) for name, one in analyzer.analyzers.items() if name in members]
    else:
        ran = engine["backend"], engine["precision"]
        parity = analyzer.artifact.contract.parity
        own = [(row.max_abs_score, row.max_abs_heatmap) for row in parity if (row.backend, row.precision) == ran]
    return max([LEAST, *(score for score, _ in own)]), max([LEAST, *(heatmap for _, heatmap in own)])


def _elsewhere(then: Mapping[str, Any]) -> tuple[str, ...]:
    """What differs between the recorded runtime and this one, one phrase each."""
    before, after = _flat(then), _flat(runtime())
    keys = sorted(set(before) | set(after))
    return tuple(f"{key} {before.get(key)} -> {after.get(key)}" for key in keys if before.get(key) != after.get(key))


def _flat(runtime: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in runtime.items() if key != "packages"}, **runtime.get("packages", {})}
