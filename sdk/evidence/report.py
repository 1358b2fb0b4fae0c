"""One page for a person: the frame, the heatmaps, the regions, the figures, the limits. Self-contained HTML.

The page depends on the record and on what the replay finds, on nothing else: no date, no host, no file's name. Made
again where the replay is identical it is the same to the byte.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from string import Template
from typing import Any

from sdk.evidence import pictures
from sdk.evidence.record import digest, loads
from sdk.evidence.replay import Replayed

TEMPLATE = Path(__file__).with_name("report.html")
REGIONS = 20
"""Regions in a table at most, the largest first; the record has more."""
SPANS = 50
"""Spans of a video in a table at most, in order; the record has more."""
LIMITS = (
    "The score is the probability that the model assigns to a manipulation. It is no proof, and its absence is none.",
    "Found are traces of splicing, copy-move, removal and local enhancement. Wholly generated pictures are not.",
    "Strong compression, resizing, screenshots and messengers remove the traces.",
    "What the file says about itself had no part in any score. Anybody can write or remove metadata; a manifest says "
    "who signed it, not whether it is true.",
)
PREVIEW = "These weights are a preview that shows how things work: no decision should rest on them."


def page(text: str, replayed: Sequence[Replayed]) -> str:
    """HTML about the record whose text is ``text``, with the pictures of its replay."""
    record = loads(text)
    preview = [PREVIEW] if any(model["status"] == "preview" for model in record["models"]) else []
    models = zip(record["models"], record["results"], replayed, strict=True)
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(f"Evidence on {record['input']['sha256'][:12]}"),
        summary=_summary(record),
        said=_facts(said(record["metadata"], when=str(record["time"])[:10])),
        video=_video(record["video"]) if record.get("video") else "",
        models="\n".join(_section(*each, moving=bool(record.get("video"))) for each in models),
        limits="\n".join(f"<li>{escape(limit)}</li>" for limit in (*preview, *LIMITS)),
        digest=digest(text),
        record=escape(text),
    )


def _summary(record: Mapping[str, Any]) -> str:
    decision, shadow, given = record["decision"], record.get("shadow"), record["input"]
    policy = decision["policy"]
    rows = [
        ("Decision", f"{decision['action']}, as {decision['content']}: {'; '.join(decision['reasons'])}"),
        ("Policy", f"{policy['name']} version {policy['version']}, SHA-256 {policy['sha256']}"),
    ]
    if shadow:
        other = shadow["policy"]
        rows.append(("Another policy on trial", f"{shadow['action']}, by {other['name']} version {other['version']}"))
    rows += [
        ("File", f"{given['bytes']:,} bytes, SHA-256 {given['sha256']}"),
        ("Frame", f"{given['width']} x {given['height']} px, decoded by {given['decoder']}"),
        ("Examined", f"{record['time']}, in {record['timing_ms']['total']:.1f} ms"),
    ]
    if record.get("signature"):
        claimed = f"{record['signature']['algorithm']}, key {record['signature']['key']}"
        rows.append(("Signature", f"{claimed}; not checked here, but by imdl verify --key"))
    return _facts(rows)


def _video(video: Mapping[str, Any]) -> str:
    """The frames that were the most suspicious, and what each model said when."""
    worst = ", ".join(_still(each) for each in video["worst"])
    counted = "; ".join(f"{count} lead to {action}" for action, count in video["actions"].items())
    rows = [("Frames", f"{video['frames']}: {counted}"), ("The most suspicious first", worst)]
    about = f"<p>Pictures and figures below are of frame {int(video['worst'][0]['frame'])}.</p>"
    spans = "".join(f"<h3>{escape(name)}</h3>{_spans(each['spans'])}" for name, each in video["models"].items())
    return f"<h2>Video</h2>{_facts(rows)}{about}{spans}"


def _still(still: Mapping[str, Any]) -> str:
    score = max(still["scores"].values())
    return f"{_time(still['time_s'])} (frame {still['frame']}, score {score:.3f})"


def _spans(spans: Sequence[Mapping[str, Any]]) -> str:
    head = "<tr><th>From</th><th>To</th><th>Verdict</th><th>Frames</th><th>Highest score</th></tr>"
    rows = [
        f"<tr><td>{_time(each['start_s'])}</td><td>{_time(each['end_s'])}</td>"
        f"<td>{escape(each['verdict'].replace('_', ' '))}</td>"
        f'<td class="number">{escape(str(each["frames"]))}</td><td class="number">{each["peak_score"]:.3f}</td></tr>'
        for each in spans[:SPANS]
    ]
    return f"<table>{head}{''.join(rows)}</table>"


def _time(seconds: float | None) -> str:
    return "no time" if seconds is None else f"{seconds:.2f} s"


def said(metadata: Mapping[str, Any] | None, *, when: str) -> list[tuple[str, str]]:
    """What the file says about itself, in words; ``when`` its certificates were looked at."""
    if metadata is None:
        return [("Metadata", "not read")]
    if metadata["problem"]:
        return [("Metadata", f"cannot be read: {metadata['problem']}")]
    exif, manifest = metadata["exif"], metadata["c2pa"]
    rows = [("Metadata", "no EXIF")] if exif is None else []
    if exif is not None:
        size = f"{exif['width']} x {exif['height']} px" if exif["width"] and exif["height"] else None
        place = "has coordinates, which are not repeated here" if exif["has_place"] else "none"
        words = [(name, exif[name.lower()]) for name in ("Maker", "Camera", "Lens", "Software", "Taken", "Modified")]
        rows += [(name, value) for name, value in (*words, ("Size in EXIF", size), ("Place", place)) if value]
    if manifest is None:
        found = "none" if metadata["reader"]["c2pa"] else "not looked for: c2pa-python is not installed"
        return [*rows, ("C2PA manifest", found)]
    told = {
        "Problems": ", ".join(manifest["problems"]),
        "Made by": manifest["generator"],
        "Signed by": manifest["issuer"],
        "Signed at": manifest["signed"],
        "Actions": ", ".join([*manifest["actions"], *manifest["source_types"]]),
    }
    rows.append(("C2PA manifest", f"{manifest['state']} on {when}"))
    return [*rows, *((name, value) for name, value in told.items() if value)]


def _section(model: Mapping[str, Any], result: Mapping[str, Any], again: Replayed, *, moving: bool) -> str:
    engine, verdict = model["engine"], result["verdict"]
    levels = ", ".join(f"{float(rate):.0%} of them from {level:.4f}" for rate, level in model["thresholds"].items())
    rows = [
        ("Verdict", f"{verdict['name'].replace('_', ' ')}: {verdict['reason']}"),
        ("Score", f"{result['score']:.6f}"),
        ("Authentic frames" if moving else "Authentic photographs", levels or "not measured at this working size"),
        ("Mask", f"{result['mask_share']:.2%} of the frame at or above {result['mask_threshold']:g}"),
        ("Run by", f"{engine['backend']} on {engine['device']} in {engine['precision']}, {_size(engine)}"),
        *((f"Of these, {name}", _asked(member)) for name, member in result["members"].items()),
        ("Artifact", f"SHA-256 {model['artifact']}, licence {model['licence']}"),
        ("Replayed", _agreement(again)),
    ]
    heading = f"<h2>{escape(model['name'])} {escape(model['version'])} ({escape(model['status'])})</h2>"
    return "\n".join([heading, _facts(rows), _figures(again), _regions(result["regions"])])


def _asked(member: Mapping[str, Any]) -> str:
    return f"score {member['score']}, by {member['backend']} on {member['device']} in {member['precision']}"


def _size(engine: Mapping[str, Any]) -> str:
    return f"long side {engine['working_size']} px" if engine["working_size"] else "at the frame's own size"


def _agreement(again: Replayed) -> str:
    if again.identical:
        return "score and heatmap are the same to the bit"
    said = "matches" if again.matches else "DOES NOT MATCH"
    return f"the score {said}: {again.analysis.score:.6f} now, {again.recorded:.6f} in the record"


def _figures(again: Replayed) -> str:
    frame, heatmap = again.analysis.frame, again.analysis.heatmap
    photograph = _image("image/jpeg", pictures.frame_jpeg(frame), "the frame")
    plain = f"<figure>{photograph}<figcaption>The frame, without its metadata</figcaption></figure>"
    if heatmap is None:
        return plain
    over = _image("image/png", pictures.colour_png(heatmap), "the heatmap")
    words = "With the heatmap over it: from nothing over violet and orange to yellow, the surer the brighter"
    laid = f'<figure><div class="laid">{photograph}{over}</div><figcaption>{words}</figcaption></figure>'
    return f'<div class="pair">{plain}{laid}</div>'


def _image(kind: str, data: bytes, words: str) -> str:
    return f'<img alt="{words}" src="data:{kind};base64,{base64.b64encode(data).decode()}">'


def _regions(regions: Sequence[Mapping[str, Any]]) -> str:
    if not regions:
        return "<p>No region reaches the threshold of the mask.</p>"
    head = "<tr><th>Region</th><th>Left, top</th><th>Right, bottom</th><th>Area, px</th><th>Mean probability</th></tr>"
    rows = [
        f"<tr><td>{number}</td><td>{_point(each, '0')}</td><td>{_point(each, '1')}</td>"
        f'<td class="number">{each["area"]:,}</td><td class="number">{each["probability"]:.3f}</td></tr>'
        for number, each in enumerate(regions[:REGIONS], 1)
    ]
    return f"<table>{head}{''.join(rows)}</table>"


def _point(region: Mapping[str, Any], corner: str) -> str:
    return escape(f"{region['x' + corner]}, {region['y' + corner]}")


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{lines}</table>"
