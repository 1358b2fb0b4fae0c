"""The worker process for metadata: EXIF by Pillow, manifests by c2pa-python where it is installed."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Mapping
from importlib import import_module
from typing import Any, BinaryIO

from PIL import Image
from PIL.ExifTags import GPS, IFD, Base

from sdk import pillow
from sdk.decoding_answer import NOTES
from sdk.decoding_worker import answer_all
from sdk.limits import Limits

MOST = 200
"""Characters of a text that are handed on: the parent takes no long answer."""
MARK = b"c2pa"
"""What a file with a manifest in it has somewhere; without it none is looked for."""
MIME = {"MPO": "image/jpeg", "HEIF": "image/heif"}
PLAIN = {
    "maker": Base.Make,
    "camera": Base.Model,
    "software": Base.Software,
    "modified": Base.DateTime,
}
FURTHER = {
    "lens": Base.LensModel,
    "taken": Base.DateTimeOriginal,
    "width": Base.ExifImageWidth,
    "height": Base.ExifImageHeight,
}
"""Tags of the directory that the one with the plain tags points to."""
NO_FETCHING = {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}


def serve(start: Mapping[str, Any]) -> None:
    """Answer requests until the parent closes its end; ``start`` has ``shared`` (descriptor) and ``limits``."""
    limits = Limits(**start["limits"])
    answer_all(start, limits, _prepare, lambda request: _answer(start["shared"]), room=limits.bytes)


def _prepare() -> None:
    """Import all that may be needed: later nothing can be opened."""
    pillow.prepare_all()
    with contextlib.suppress(ImportError):
        import_module("pillow_heif").register_heif_opener()
    with contextlib.suppress(ImportError):
        import_module("c2pa").load_settings(NO_FETCHING)


def _answer(shared: int) -> dict[str, Any]:
    with open(shared, "rb", closefd=False) as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file.seek(0)
        try:
            with Image.open(file, formats=[*pillow.PLUGINS, *({"HEIF"} & set(Image.OPEN))]) as image:
                kind, exif = str(image.format), exif_of(image)
        except Exception:  # Pillow raises what it likes; the decoder says what is wrong with the file
            return {"exif": None, "c2pa": None}
        return {"exif": exif, "c2pa": _cut(c2pa_of(file, MIME.get(kind, Image.MIME.get(kind, ""))))}


def exif_of(image: Image.Image) -> dict[str, Any] | None:
    """The facts in the EXIF of ``image``, which has to be open; None if it has none that can be read."""
    try:
        exif = image.getexif()
        further, place = exif.get_ifd(IFD.Exif), exif.get_ifd(IFD.GPSInfo)
        thumbnail = exif.get_ifd(IFD.IFD1)
    except Exception:  # as it likes
        return None
    if not exif:
        return None
    found = {name: exif.get(tag) for name, tag in PLAIN.items()} | {
        name: further.get(tag) for name, tag in FURTHER.items()
    }
    told = {name: _number(value) if name in ("width", "height") else _text(value) for name, value in found.items()}
    has_place = GPS.GPSLatitude in place or GPS.GPSLongitude in place
    return told | {"has_place": has_place, "has_thumbnail": Base.JpegIFOffset in thumbnail}


def c2pa_of(file: BinaryIO, mime: str) -> dict[str, Any] | None:
    """The facts in the manifest of ``file``; None if it has none, or nothing here reads one."""
    try:
        c2pa = import_module("c2pa")
    except (ImportError, OSError):  # the latter where nothing can be opened any more
        return None
    file.seek(0)
    if MARK not in file.read() or mime not in c2pa.Reader.get_supported_mime_types():
        return None
    file.seek(0)
    try:
        with c2pa.Reader(mime, file) as reader:
            return _manifest(json.loads(reader.json()))
    except c2pa.C2paError.ManifestNotFound:
        return None
    except Exception as error:  # a manifest that is damaged
        nothing: dict[str, Any] = dict.fromkeys(("generator", "issuer", "signed", "ingredients"))
        return nothing | {"state": "Unreadable", "problems": [str(error)], "actions": [], "source_types": []}


def _manifest(store: Mapping[str, Any]) -> dict[str, Any]:
    """What is told of a manifest store: of its active manifest, and what speaks against it."""
    active = store.get("manifests", {}).get(store.get("active_manifest"), {})
    by = (active.get("claim_generator_info") or [{}])[0]
    signature = active.get("signature_info") or {}
    assertions = [each for each in active.get("assertions", []) if each.get("label", "").startswith("c2pa.actions")]
    actions = [action for each in assertions for action in each.get("data", {}).get("actions", [])]
    types = [str(action["digitalSourceType"]).rpartition("/")[2] for action in actions if "digitalSourceType" in action]
    return {
        "state": store.get("validation_state"),
        "problems": [each.get("code") for each in store.get("validation_status", [])],
        "generator": " ".join(str(by[key]) for key in ("name", "version") if key in by) or None,
        "issuer": signature.get("issuer"),
        "signed": signature.get("time"),
        "actions": [action.get("action") for action in actions],
        "source_types": types,
        "ingredients": len(active.get("ingredients", [])),
    }


def _text(value: object) -> str | None:
    return value.strip("\0 ")[:MOST] or None if isinstance(value, str) else None


def _cut(told: dict[str, Any] | None) -> dict[str, Any] | None:
    """What is told of a manifest, with long texts and lists cut off."""
    if told is None:
        return None
    lists = {
        name: [str(one)[:MOST] for one in value[:NOTES]] for name, value in told.items() if isinstance(value, list)
    }
    return told | lists | {name: value[:MOST] for name, value in told.items() if isinstance(value, str)}


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and 0 <= value < 2**32 else None
