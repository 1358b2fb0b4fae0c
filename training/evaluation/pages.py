"""A page of pictures, all in one file: frame, truth and heatmap where the model did best, as usual, and worst.

The page holds the pixels of what it was made from; whether it may be passed on is up to those images' licences.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.evaluation.items import Item
from training.evaluation.predictors import Predictor
from training.evaluation.protocols import Protocol
from training.evaluation.tally import Record, presented, seed_of

SHOWN = 3
"""Images per heading."""
SIDE = 320
"""Long side of a thumbnail, px."""
STYLE = (
    "body{font:15px system-ui;margin:2em;background:#fff;color:#111}img{margin:2px;vertical-align:top}"
    "p{margin:1.2em 0 .2em}h2{margin-top:2em;border-bottom:1px solid #999}"
)


def write(
    target: Path, predictor: Predictor, items: Sequence[Item], records: Mapping[Protocol, Sequence[Record]]
) -> None:
    """Write the page: under every protocol with a pixel AUC, every set."""
    named = {item.name: item for item in items}
    parts = [f"<!doctype html><meta charset=utf-8><title>{html.escape(predictor.name)}</title><style>{STYLE}</style>"]
    parts.append(f"<h1>{html.escape(predictor.name)}</h1><p>Frame, truth, heatmap (black 0, white 1).</p>")
    for protocol, mine in records.items():
        for group in sorted({record.group for record in mine}):
            parts.append(f"<h2>{html.escape(group)}</h2><p>{html.escape(str(protocol))}</p>")
            for heading, chosen in choice([record for record in mine if record.group == group]).items():
                parts.append(f"<h3>{heading}</h3>")
                parts += [_row(predictor, named[record.name], record, protocol) for record in chosen]
    target.write_text("\n".join(parts) + "\n", encoding="utf-8")


def choice(records: Sequence[Record]) -> dict[str, list[Record]]:
    """By heading: best, median and worst pixel AUC, each image once, and the authentic images of highest score."""
    judged = [record for record in records if not np.isnan(record.values.get("auc", np.nan))]
    ranked = sorted(judged, key=lambda record: -record.values["auc"])
    best, worst = ranked[:SHOWN], ranked[SHOWN:][-SHOWN:]
    between = ranked[len(best) : len(ranked) - len(worst)]
    start = max((len(between) - SHOWN) // 2, 0)
    loudest = sorted((record for record in records if not record.label), key=lambda record: -record.score)[:SHOWN]
    found = {"Best": best, "Median": between[start : start + SHOWN], "Worst": worst, "Loudest authentic": loudest}
    return {heading: chosen for heading, chosen in found.items() if chosen}


def _row(predictor: Predictor, item: Item, record: Record, protocol: Protocol) -> str:
    frame, truth = item.load()
    shown = presented(frame, protocol, None, seed=seed_of(item))
    heatmap = predictor.predict(shown, working_size=protocol.working_size).heatmap
    white = np.zeros(frame.shape[:2], np.uint8) if truth is None else truth.astype(np.uint8) * 255
    pictures = (frame, white, np.rint(255 * heatmap).astype(np.uint8))
    auc = record.values.get("auc", float("nan"))
    told = f"{item.name}: score {record.score:.3f}" + ("" if np.isnan(auc) else f", pixel AUC {auc:.3f}")
    return f"<p>{html.escape(told)}</p>" + "".join(_image(picture) for picture in pictures)


def _image(pixels: NDArray[np.uint8]) -> str:
    scale = min(SIDE / max(pixels.shape[:2]), 1.0)
    size = tuple(max(round(extent * scale), 1) for extent in pixels.shape[1::-1])
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    coded = cv2.imencode(".jpg", small[..., ::-1] if small.ndim == 3 else small, [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return f'<img width={size[0]} height={size[1]} src="data:image/jpeg;base64,{base64.b64encode(coded).decode()}">'
