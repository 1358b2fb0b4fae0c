"""One page for a person: the frame, the heatmaps, the regions, the figures, the limits. Self-contained HTML.

The page depends on the record and on what the replay finds, on nothing else: no date, no host, no file's name. Made
again where the replay is identical it is the same to the byte. What the record says and the replay does not find is
told first, and marked where it stands.
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
    record, doubts = loads(text), _Doubts(replayed)
    preview = [PREVIEW] if any(model["status"] == "preview" for model in record["models"]) else []
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=escape(f"Evidence on {record['input']['sha256'][:12]}"),
        doubts=doubts.told,
        summary=_summary(record, doubts),
        said=doubts.mark("metadata") + _facts(said(record["metadata"], when=str(record["time"])[:10])),
        video=_video(record["video"], doubts) if record.get("video") else "",
        models="\n".join(_section(number, record, each, doubts=doubts) for number, each in enumerate(replayed)),
        limits=_items((*preview, *LIMITS)),
        digest=digest(text),
        record=escape(text),
    )


class _Doubts:
    """What of a record the replay did not find, or could not look for."""

    def __init__(self, replayed: Sequence[Replayed]) -> None:
        self._lines = {
            "differs": list(dict.fromkeys(line for each in replayed for line in each.differs)),
            "unchecked": list(dict.fromkeys(line for each in replayed for line in each.unchecked)),
        }

    @property
    def told(self) -> str:
        """The head of the page: nothing where there are none."""
        heads = {
            "differs": "THIS RECORD DOES NOT MATCH: what it says is not what its file gives now",
            "unchecked": "NOT CHECKED when this page was made",
        }
        return "".join(
            f'<div class="doubts"><h2>{heads[kind]}</h2><ul>{_items(lines)}</ul></div>'
            for kind, lines in self._lines.items()
            if lines
        )

    def of(self, *places: str) -> str:
        """What is to be said beside a value that stands at these places of the record; empty where nothing is."""
        for kind, words in (("differs", " [DOES NOT MATCH: see above]"), ("unchecked", " [not checked: see above]")):
            found = (line.partition(":")[0] for line in self._lines[kind])
            if any(f"{line}.".startswith(f"{place}.") for line in found for place in places):
                return words
        return ""

    def mark(self, *places: str) -> str:
        """The same as a paragraph."""
        words = self.of(*places)
        return f'<p class="doubts">{escape(words.strip())}</p>' if words else ""


def _summary(record: Mapping[str, Any], doubts: _Doubts) -> str:
    decision, shadow, given = record["decision"], record.get("shadow"), record["input"]
    policy = decision["policy"]
    rows = [
        (
            "Decision",
            f"{decision['action']}, as {decision['content']}: {'; '.join(decision['reasons'])}{doubts.of('decision')}",
        ),
        ("Policy", f"{policy['name']} version {policy['version']}, SHA-256 {policy['sha256']}"),
    ]
    if shadow or doubts.of("shadow"):
        told = "none"
        if shadow:
            told = f"{shadow['action']}, by {shadow['policy']['name']} version {shadow['policy']['version']}"
        rows.append(("Another policy on trial", told + doubts.of("shadow")))
    error, signature, notes = record["error"], record["signature"], "; ".join(given["notes"])
    if error or doubts.of("error"):
        rows.append(("Not examined to its end", (error["problem"] if error else "no") + doubts.of("error")))
    rows += [
        ("File", f"{given['bytes']:,} bytes, SHA-256 {given['sha256']}{doubts.of('input.bytes')}"),
        (
            "Frame",
            f"{given['width']} x {given['height']} px, decoded by {given['decoder']}"
            f"{doubts.of('input.width', 'input.height', 'input.decoder', 'input.orientation')}",
        ),
        *([("Notes", notes + doubts.of("input.notes"))] if notes or doubts.of("input.notes") else []),
        (
            "Examined",
            f"{record['time']}, in {record['timing_ms']['total']:.1f} ms: so the record says, no file can tell",
        ),
    ]
    signed = "none: anybody may have changed the record"
    if signature:
        signed = f"{signature['algorithm']}, key {signature['key']}; not checked here, but by imdl verify --key"
    return _facts([*rows, ("Signature", signed)])


def _video(video: Mapping[str, Any], doubts: _Doubts) -> str:
    """The frames that were the most suspicious, and what each model said when."""
    worst = ", ".join(_still(each) for each in video["worst"])
    counted = "; ".join(f"{count} lead to {action}" for action, count in video["actions"].items())
    rows = [("Frames", f"{video['frames']}: {counted}"), ("The most suspicious first", worst)]
    about = f"<p>Pictures and figures below are of frame {int(video['worst'][0]['frame'])}.</p>"
    spans = "".join(f"<h3>{escape(name)}</h3>{_spans(each['spans'])}" for name, each in video["models"].items())
    return f"<h2>Video</h2>{doubts.mark('video')}{_facts(rows)}{about}{spans}"


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


def _section(number: int, record: Mapping[str, Any], again: Replayed, *, doubts: _Doubts) -> str:
    model, result, moving = record["models"][number], record["results"][number], bool(record.get("video"))
    engine, verdict = model["engine"], result["verdict"]
    levels = ", ".join(f"{float(rate):.0%} of them from {level:.4f}" for rate, level in model["thresholds"].items())

    def doubt(*names: str) -> str:
        return doubts.of(*(f"results.{number}.{name}" for name in names))

    def of_model(*names: str) -> str:
        return doubts.of(*(f"models.{number}.{name}" for name in names))

    levels = levels or "not measured at this working size"
    share = "no share" if result["mask_share"] is None else f"{result['mask_share']:.2%}"
    rows = [
        ("Verdict", f"{verdict['name'].replace('_', ' ')}: {verdict['reason']}{doubt('verdict')}"),
        ("Score", f"{result['score']:.6f}{doubt('score')}"),
        ("Authentic frames" if moving else "Authentic photographs", levels + of_model("thresholds")),
        (
            "Mask",
            f"{share} of the frame at or above {result['mask_threshold']:g}{doubt('mask_share', 'mask_threshold')}",
        ),
        (
            "Run by",
            f"{engine['backend']} on {engine['device']} in {engine['precision']}, {_size(engine)}{of_model('engine')}",
        ),
        *((f"Of these, {name}", _asked(one) + doubt(f"members.{name}")) for name, one in result["members"].items()),
        (
            "Artifact",
            f"SHA-256 {model['artifact']}, licence {model['licence']}{of_model('licence', 'commercial_use')}",
        ),
        ("Replayed", _agreement(again)),
    ]
    heading = f"{model['name']} {model['version']} ({model['status']}){of_model('name', 'version', 'status')}"
    marked = doubts.mark(f"results.{number}.regions")
    return "\n".join(
        [f"<h2>{escape(heading)}</h2>", _facts(rows), _figures(again), marked + _regions(result["regions"])]
    )


def _asked(member: Mapping[str, Any]) -> str:
    return f"score {member['score']}, by {member['backend']} on {member['device']} in {member['precision']}"


def _size(engine: Mapping[str, Any]) -> str:
    return f"long side {engine['working_size']} px" if engine["working_size"] else "at the frame's own size"


def _agreement(again: Replayed) -> str:
    if again.identical:
        said = "score and heatmap are the same to the bit"
    else:
        near = abs(again.analysis.score - again.recorded) <= again.tolerance
        said = f"the score {'matches' if near else 'DOES NOT MATCH'}: {again.analysis.score:.6f} now"
        said += f", {again.recorded:.6f} in the record"
    if again.differs:
        return f"{said}; of the record not everything is, see above"
    return said


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


def _items(lines: Iterable[str]) -> str:
    return "\n".join(f"<li>{escape(line)}</li>" for line in lines)


def _facts(rows: Iterable[tuple[str, str]]) -> str:
    lines = "".join(f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>" for name, value in rows)
    return f"<table>{lines}</table>"
