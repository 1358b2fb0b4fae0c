"""Routes of those who review, and the page on which they do."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from fastapi.responses import FileResponse, StreamingResponse
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from sdk.serve.bodies import SmallBody
from sdk.serve.caller import Here, Reviewer
from sdk.serve.documents import EXAMPLE, Action, Document, JobDocument, Refusal, job_document, moment, shown
from sdk.serve.jobs import Job
from sdk.serve.reviews import FLAGGED, Decided, Word
from sdk.serve.service import Service
from sdk.serve.uploading import JobId, Model, heatmap_of, missing, png

PAGE = Path(__file__).parent / "page"
POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
POLICY += "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""Nothing but the page's own files, no frame around it, and pictures that the script fetched with the key."""
_REFUSALS: dict[int | str, dict[str, Any]] = {
    401: {"model": Refusal, "description": "No valid key."},
    403: {"model": Refusal, "description": "The key may not review."},
    404: {"model": Refusal, "description": "No such upload was flagged, or no such picture was kept."},
    422: {"model": Refusal, "description": "The request makes no sense as it is."},
    503: {"model": Refusal, "description": "The database does not answer."},
}
_LONG: dict[int | str, dict[str, Any]] = {413: {"model": Refusal, "description": "The body is too long."}}
_BYTES = {"schema": {"type": "string", "format": "binary"}}

_SAID = {"decision": "confirm", "note": "the second boat is a copy of the first"}
_MADE = {**_SAID, "reviewer": "carol", "created": "2026-11-21T13:05:00.000Z"}

router = APIRouter(tags=["review"], route_class=SmallBody)


class Entry(Document):
    """An upload in the queue."""

    id: str
    action: Action
    content: str
    finished: str


class Queue(Document):
    """The uploads that nobody has decided about."""

    model_config = shown({"total": 1, "entries": [{key: EXAMPLE[key] for key in Entry.model_fields}]})

    total: int = Field(ge=0)
    entries: list[Entry]


class Decision(Document):
    """What a reviewer decides."""

    model_config = shown(_SAID)

    decision: Word
    note: str = Field(default="", max_length=2000, pattern="^[^\\x00]*$")  # PostgreSQL holds no NUL


class Made(Document):
    """A decision that was made."""

    model_config = shown(_MADE)

    decision: Word
    note: str
    reviewer: str
    created: str


class Review(Document):
    """Everything about one flagged upload."""

    model_config = shown({"job": EXAMPLE, "pictures": True, "decisions": [_MADE]})

    job: JobDocument
    pictures: bool = Field(description="Whether the frame was kept, and is still.")
    decisions: list[Made]


@router.get("/review", include_in_schema=False)
@router.get("/review/{name}", include_in_schema=False)
async def page(name: str = "index.html") -> Response:
    """The page and its files."""
    if name not in {path.name for path in PAGE.iterdir()}:
        raise missing("page")
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return FileResponse(PAGE / name, headers=headers)


@router.get("/v1/review/queue", responses=_REFUSALS)
async def queue(here: Here, _: Reviewer, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> Queue:
    """What waits for a decision: blocked uploads first, then the oldest."""
    found, total = await run_in_threadpool(here.reviews.queue, limit=limit)
    entries = [
        Entry(id=each.id, action=each.action, content=each.content, finished=moment(each.finished))  # type: ignore[arg-type]
        for each in found
    ]
    return Queue(total=total, entries=entries)


@router.get("/v1/review/{job_id}", responses=_REFUSALS)
async def review(job_id: JobId, here: Here, _: Reviewer) -> Review:
    """The record of an upload, and what was decided."""
    found, text = await run_in_threadpool(flagged, here, job_id)
    kept = await run_in_threadpool(here.jobs.picture, job_id, "frame")
    made = await run_in_threadpool(here.reviews.of, job_id)
    return Review(job=job_document(found, text), pictures=kept is not None, decisions=[_made(each) for each in made])


@router.post("/v1/review/{job_id}", status_code=201, responses=_REFUSALS | _LONG)
async def decide(job_id: JobId, said: Decision, here: Here, tenant: Reviewer) -> Made:
    """Decide. A later decision counts; the earlier ones are kept."""
    await run_in_threadpool(here.reviews.decide, job_id, said.decision, reviewer=tenant.name, note=said.note)
    return _made((await run_in_threadpool(here.reviews.of, job_id))[-1])


@router.get(
    "/v1/review/{job_id}/frame.jpg",
    response_class=Response,
    responses=_REFUSALS | {200: {"content": {"image/jpeg": _BYTES}, "description": "The picture."}},
)
async def frame(job_id: JobId, here: Here, _: Reviewer) -> Response:
    """The frame, 1024 px long at most, without its metadata."""
    await run_in_threadpool(flagged, here, job_id)
    data = await run_in_threadpool(here.jobs.picture, job_id, "frame")
    if data is None:
        raise missing("picture")
    return Response(data, media_type="image/jpeg", headers={"Cache-Control": "private, max-age=3600"})


@router.get(
    "/v1/review/{job_id}/heatmap.png",
    response_class=Response,
    responses=_REFUSALS | {200: {"content": {"image/png": _BYTES}, "description": "The picture."}},
)
async def heatmap(job_id: JobId, here: Here, _: Reviewer, model: Model = None) -> Response:
    """The heatmap of one model in grey."""
    __, text = await run_in_threadpool(flagged, here, job_id)
    return png(await run_in_threadpool(heatmap_of, here, job_id, text, model))


@router.get(
    "/v1/review/export/{form}",
    response_class=Response,
    responses=_REFUSALS | {200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "A file."}},
)
async def export(form: str, here: Here, _: Reviewer) -> Response:
    """Every decision, as `decisions.csv` or `decisions.jsonl`: labels for the next training, by SHA-256 of the file."""
    writers = {"decisions.csv": (_csv, "text/csv"), "decisions.jsonl": (_json_lines, "application/x-ndjson")}
    if form not in writers:
        raise missing("export")
    write, kind = writers[form]
    headers = {"Content-Disposition": f'attachment; filename="{form}"'}
    return StreamingResponse(write(here.reviews.all()), media_type=kind, headers=headers)


def flagged(here: Service, job_id: str) -> tuple[Job, str | None]:
    """A flagged upload of whomever; the others are none of a reviewer's business."""
    found = here.jobs.get(job_id)
    if found is None or found[0].action not in FLAGGED:
        raise missing("flagged upload")
    return found


def _made(decided: Decided) -> Made:
    return Made(
        decision=decided.decision,  # type: ignore[arg-type]
        note=decided.note,
        reviewer=decided.reviewer,
        created=moment(decided.created),
    )


def _row(decided: Decided) -> dict[str, Any]:
    return dataclasses.asdict(decided) | {"created": moment(decided.created)}


def _csv(found: Iterator[Decided]) -> Iterator[str]:
    """Lines of CSV; a note cannot be a formula to the program that opens it."""
    names = [field.name for field in dataclasses.fields(Decided)]
    yield ",".join(names) + "\r\n"
    for each in found:
        line = io.StringIO()
        csv.DictWriter(line, names).writerow({name: _cell(value) for name, value in _row(each).items()})
        yield line.getvalue()


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r", "\n")) else value


def _json_lines(found: Iterator[Decided]) -> Iterator[str]:
    for each in found:
        yield json.dumps(_row(each), sort_keys=True) + "\n"
