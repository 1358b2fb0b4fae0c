"""Whether a record has the form that ``evidence.schema.json`` describes: one that comes from anybody may have any."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sdk.errors import EvidenceInvalid
from sdk.evidence.record import SCHEMA, SCHEMA_FILE

NAMED = 5
"""Faults that are named at most."""
KINDS: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def check(record: Mapping[str, Any]) -> None:
    """Refuse a record that is not of the form of its schema.

    Raises:
        EvidenceInvalid: it is not; the first faults are named.
    """
    schema = _schema()
    whole = {"video": None, **record, "schema": SCHEMA}  # the schema before knows no video
    found = list(_faults(whole, schema, "", schema["$defs"]))
    names = [model["name"] for model in record["models"]] if not found else []
    if len(set(names)) < len(names):
        found.append("models names one twice")
    if names != [result["model"] for result in record["results"]] and not found:
        found.append("results are not those of models, in their order")
    if found:
        more = f", and {len(found) - NAMED} more" if len(found) > NAMED else ""
        raise EvidenceInvalid(
            f"a record is not of the form of its schema: {'; '.join(found[:NAMED])}{more}",
            remedy="give it as imdl record wrote it",
        )


@functools.cache
def _schema() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(SCHEMA_FILE.read_text(encoding="utf-8"))
    return loaded


def _faults(value: Any, schema: Mapping[str, Any], where: str, defs: Mapping[str, Any]) -> Iterator[str]:  # noqa: ANN401
    """What of ``value`` is not as ``schema`` says, by the keywords that this schema uses; ``where`` it stands."""
    if "$ref" in schema:
        yield from _faults(value, defs[schema["$ref"].rpartition("/")[2]], where, defs)
    if "oneOf" in schema and all(any(_faults(value, one, where, defs)) for one in schema["oneOf"]):
        # All but the last, which is null, say what it should be.
        yield from _faults(value, schema["oneOf"][0], where, defs)
    name = where or "it"
    kinds = schema.get("type", [])
    kinds = [kinds] if isinstance(kinds, str) else kinds
    if kinds and not any(_is(value, kind) for kind in kinds):
        yield f"{name} is not {' or '.join(kinds)}"
        return
    if "const" in schema and value != schema["const"]:
        yield f"{name} is not {schema['const']}"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{name} is none of {', '.join(schema['enum'])}"
    if isinstance(value, str) and not re.search(schema.get("pattern", ""), value):
        yield f"{name} is not like {schema['pattern']}"
    if isinstance(value, int | float) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        yield f"{name} is out of its range"
    if isinstance(value, list):
        if len(value) > schema.get("maxItems", len(value)):
            yield f"{name} has over {schema['maxItems']} items"
        for number, each in enumerate(value):
            yield from _faults(each, schema.get("items", {}), _under(where, str(number)), defs)
    if isinstance(value, dict):
        yield from _members(value, schema, where, defs)


def _members(value: Mapping[str, Any], schema: Mapping[str, Any], where: str, defs: Mapping[str, Any]) -> Iterator[str]:
    known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
    if len(value) < schema.get("minProperties", 0):
        yield f"{where} is empty"
    for name in value:
        yield from _faults(name, schema.get("propertyNames", {}), f"a name in {where or 'it'}", defs)
    yield from (f"{_under(where, name)} is missing" for name in schema.get("required", []) if name not in value)
    for name, each in value.items():
        if name not in known and others is False:
            yield f"{_under(where, ascii(name)[1:-1][:40])} is not known"
        else:
            yield from _faults(each, known.get(name, others), _under(where, ascii(name)[1:-1][:40]), defs)


def _is(value: object, kind: str) -> bool:
    return isinstance(value, KINDS[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _under(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name
