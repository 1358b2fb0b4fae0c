"""The record of one examination: deterministic JSON, as ``evidence.schema.json`` describes.

Nothing of the file but its digest, its size, what was found in its pixels and, beside that, a few facts that it states
(:mod:`sdk.metadata`) goes into a record: no name, and no place where a photograph was taken.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

import sdk
from sdk.doctor import installed
from sdk.errors import EvidenceInvalid, SdkError

if TYPE_CHECKING:
    from sdk.artifact import Artifact
    from sdk.policy import Decision
    from sdk.results import Analysis, Member, Region

SCHEMA = "imdl.evidence/3"
"""Changed with every change that an older reader would misunderstand."""
READ = ("imdl.evidence/2", SCHEMA)
"""Schemas of records that are read: the one before knows no video, and is otherwise the same."""
SCHEMA_FILE = Path(__file__).with_name("evidence.schema.json")
PASSING = ("time", "timing_ms", "previous", "signature")
"""What differs between two records of the same examination."""
EXPIRING = ("state", "problems")
"""What is said of a manifest on the day of the record: certificates expire."""
PACKAGES = ("numpy", "Pillow", "opencv-python-headless", "onnxruntime", "openvino", "tensorrt")
PARTS = {"input": dict, "models": list, "results": list, "decision": dict, "runtime": dict, "timing_ms": dict}
"""What a reader looks into."""
ENGINE = ("backend", "device", "precision")
"""What of a member's engine a record says, and a replay takes."""
_REMEDY = "give a file that imdl record wrote"

Record = dict[str, object]


def of(
    data_sha256: str,
    size: int,
    results: Sequence[tuple[Artifact, Analysis]],
    *,
    decision: Decision,
    shadow: Decision | None = None,
    error: SdkError | None = None,
    metadata: Mapping[str, object] | None = None,
    video: Mapping[str, object] | None = None,
    heatmaps: Sequence[Callable[[], str | None]] = (),
    total_ms: float,
) -> Record:
    """The record of an examination of a file of ``size`` bytes; :func:`sdk.evidence.chain.seal` dates it.

    Of a ``video`` the results are those of its most suspicious frame. ``heatmaps`` tell the digests
    (:func:`heatmap_digest`) of each result's, where somebody takes them meanwhile.
    """
    hashed = heatmaps or [functools.partial(heatmap_digest, analysis) for _, analysis in results]
    return {
        "schema": SCHEMA,
        "input": _input(data_sha256, size, [analysis for _, analysis in results]),
        "metadata": metadata,
        "models": [_model(artifact, analysis, is_video=video is not None) for artifact, analysis in results],
        "runtime": runtime(),
        "results": [of_analysis(found, sha256) for (_, found), sha256 in zip(results, hashed, strict=True)],
        "video": video,
        "error": error and {"type": type(error).__name__, "problem": error.problem, "remedy": error.remedy},
        "decision": decision.to_dict(),
        "shadow": shadow and shadow.to_dict(),
        "timing_ms": {"total": total_ms, "models": {found.runtime.model: _latency(found) for _, found in results}},
    }


def dumps(record: Mapping[str, object]) -> str:
    """``record`` as one line of JSON that depends on nothing but its content: sorted keys, ASCII, no spaces."""
    return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)


def loads(text: str | bytes) -> dict[str, Any]:
    """A record from its text; only the parts that this module's readers rely on are checked."""
    try:
        record = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise EvidenceInvalid(f"a record is not JSON: {error}", remedy=_REMEDY) from error
    schema = record.get("schema") if isinstance(record, dict) else None
    if schema not in READ:
        raise EvidenceInvalid(
            f"a record has the schema {schema!r}",
            remedy=f"this imdl-sdk reads {' and '.join(READ)}; take the one that wrote it",
        )
    lost = [part for part, kind in PARTS.items() if not isinstance(record.get(part), kind)]
    lost += [] if "models" in lost or _is_video(record.get("video"), record["models"]) else ["video"]
    if lost or len(record["models"]) != len(record["results"]) or not all(map(_is_whole, record["models"])):
        raise EvidenceInvalid(f"a record is not whole: {', '.join(lost) or 'its models'}", remedy="give it as it was")
    if not all(map(_has_members, record["results"])):
        raise EvidenceInvalid("a record is not whole: its members", remedy="give it as it was")
    return dict(record)


def digest(text: str) -> str:
    """SHA-256 of a record's text, in hexadecimal: what the next record of a chain holds as ``previous``."""
    return hashlib.sha256(text.encode()).hexdigest()


def fingerprint(record: Mapping[str, Any]) -> str:
    """SHA-256 of all that two examinations of one file with one setup have in common, in hexadecimal."""
    kept = {key: value for key, value in record.items() if key not in PASSING}
    manifest = (kept.get("metadata") or {}).get("c2pa")
    if manifest:
        lasting = {key: value for key, value in manifest.items() if key not in EXPIRING}
        kept["metadata"] = {**kept["metadata"], "c2pa": lasting}
    return digest(dumps(kept))


def job_key(data_sha256: str, *, artifacts: Sequence[str], policies: Sequence[str], content: str) -> str:
    """SHA-256 that names an examination before it is made: the file, the artifacts, the policies, the content type."""
    parts = {"input": data_sha256, "artifacts": sorted(artifacts), "policies": list(policies), "content": content}
    return digest(dumps(parts))


def of_analysis(analysis: Analysis, heatmap: Callable[[], str | None] | None = None) -> Record:
    """What one model found, without what it took; ``heatmap`` tells its digest."""
    verdict = analysis.verdict
    return {
        "model": analysis.runtime.model,
        "score": analysis.score,
        "verdict": {"name": verdict.name, "reason": verdict.reason, "found": verdict.found},
        "mask_threshold": analysis.mask_threshold,
        "mask_share": analysis.mask_share,
        "regions": [_region(region) for region in analysis.regions],
        "heatmap_sha256": heatmap() if heatmap else heatmap_digest(analysis),
        "members": {name: _member(one) for name, one in analysis.members.items()},
    }


@functools.cache
def runtime() -> Record:
    """What this process runs on, as far as results may depend on it."""
    return {
        "sdk": sdk.__version__,
        "python": platform.python_version(),
        "system": platform.system(),
        "machine": platform.machine(),
        "processor": _processor(),
        "packages": {package: version for package in PACKAGES if (version := installed(package))},
    }


def _processor() -> str:
    """The model of this machine's processor, if the system tells: others add up in another order."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:  # not on Linux
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def heatmap_digest(analysis: Analysis) -> str | None:
    """SHA-256 of the float32 pixels of a heatmap, row by row, if there is one."""
    heatmap = analysis.heatmap
    return None if heatmap is None else hashlib.sha256(np.ascontiguousarray(heatmap, "<f4").data).hexdigest()


def _once(members: list[tuple[str, object]]) -> dict[str, object]:
    """An object; of a name that is there twice other readers may take the other value, under the same signature."""
    found = dict(members)
    if len(found) < len(members):
        raise EvidenceInvalid("in a record a name is there twice", remedy=_REMEDY)
    return found


def _no_number(name: str) -> NoReturn:
    raise EvidenceInvalid(f"a record is not JSON: {name} is no number", remedy=_REMEDY)


def _finite(text: str) -> float:
    return float(text) if math.isfinite(float(text)) else _no_number(text)


def _is_whole(model: object) -> bool:
    """Whether a model is described well enough to be run again."""
    engine = model.get("engine") if isinstance(model, dict) else None
    return isinstance(engine, dict) and {"backend", "device", "precision", "working_size"} <= set(engine)


def _is_video(video: object, described: list[Any]) -> bool:
    """Whether it is what a record says of a video, or of a picture, in which ``described`` models were run."""
    if not isinstance(video, dict):
        return video is None
    worst, frames, models = video.get("worst"), video.get("frames"), video.get("models")
    if not (isinstance(worst, list) and worst and isinstance(worst[0], dict) and isinstance(models, dict)):
        return False
    if not all(isinstance(model, dict) and isinstance(models.get(str(model.get("name"))), dict) for model in described):
        return False
    return type(frames) is int and frames > 0 and type(worst[0].get("frame")) is int


def _has_members(result: object) -> bool:
    """Whether a result says what ran each model of an ensemble; one model has none."""
    members = result.get("members") if isinstance(result, dict) else None
    return isinstance(members, dict) and all(
        isinstance(one, dict) and all(isinstance(one.get(key), str) for key in ENGINE) for one in members.values()
    )


def _input(data_sha256: str, size: int, analyses: Sequence[Analysis]) -> Record:
    found = {"sha256": data_sha256, "bytes": size}
    if not analyses:
        return found | {"height": None, "width": None, "orientation": None, "decoder": None, "notes": []}
    first = analyses[0]
    height, width = first.frame.shape[:2]
    how = {"orientation": first.orientation, "decoder": first.runtime.decoder, "notes": list(first.notes)}
    return found | {"height": height, "width": width} | how


def _model(artifact: Artifact, analysis: Analysis, *, is_video: bool) -> Record:
    terms, runtime = artifact.contract, analysis.runtime
    files = sorted({terms.graphs[graph].file for graph in terms.planned})
    engine = "".join(f"{file} {terms.sha256.get(file, '')}\n" for file in files)
    levels = terms.at(runtime.working_size)
    shares = {} if levels is None else levels.video if is_video else levels.photographs
    return {
        "name": terms.name,
        "version": terms.version,
        "status": terms.status,
        "licence": terms.licence,
        "commercial_use": terms.commercial_use,
        "artifact": artifact.digest,
        "thresholds": dict(shares),
        "engine": {
            "sha256": digest(engine),
            "backend": runtime.backend,
            "device": runtime.device,
            "precision": runtime.precision,
            "working_size": runtime.working_size,
        },
    }


def _member(member: Member) -> Record:
    """What one model of an ensemble said, and what ran it: their engines may differ."""
    ran = member.runtime
    engine = {key: getattr(ran, key) for key in ENGINE}
    return {"score": member.score, "version": ran.version, "artifact": ran.artifact, **engine}


def _region(region: Region) -> Record:
    """Its numbers by name: ``dataclasses.asdict`` takes ten times as long to copy them."""
    return {name: getattr(region, name) for name in region.__dataclass_fields__}


def _latency(analysis: Analysis) -> Record:
    return {"stages": dict(analysis.latency.stages), "total": analysis.latency.total}
