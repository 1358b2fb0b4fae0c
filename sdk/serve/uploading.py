"""Routes of those who hand in: uploads, jobs, their pictures and records."""

from __future__ import annotations

import asyncio
import functools
import json
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Annotated, Any, TypeAlias

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool

from sdk import overlay
from sdk.errors import LargePicture, ServiceRefused
from sdk.evidence import pictures
from sdk.results import Analysis, Latency, Runtime
from sdk.serve.access import Tenant
from sdk.serve.bodies import CONTENT, FIELD, LONGEST, allowed, large, received
from sdk.serve.caller import Here, Submitter, service_of, who
from sdk.serve.desk import Answered, Desk
from sdk.serve.documents import JobDocument, Refusal, job_document
from sdk.serve.fetching import THREADS, fetched
from sdk.serve.gate import Place
from sdk.serve.jobs import Job
from sdk.serve.service import Service
from sdk.serve.settings import Settings
from sdk.verdict import Verdict

Responses: TypeAlias = dict[int | str, dict[str, Any]]

_REFUSALS: Responses = {
    400: {"model": Refusal, "description": "The upload was broken off."},
    401: {"model": Refusal, "description": "No valid key."},
    408: {"model": Refusal, "description": "The upload did not arrive in time."},
    413: {"model": Refusal, "description": "The upload is larger than is taken; `remedy` says whether as a job it is."},
    415: {"model": Refusal, "description": "The body has a Content-Encoding: send it uncompressed."},
    422: {"model": Refusal, "description": "The request makes no sense as it is."},
    429: {"model": Refusal, "description": "Too much at once; the header Retry-After says when to come again."},
    503: {"model": Refusal, "description": "The service is starting, ending, or was failed by its machine."},
    504: {"model": Refusal, "description": "The answer, or the file at an address, takes longer than anybody waits."},
}
_MISSING: Responses = {
    401: _REFUSALS[401],
    404: {"model": Refusal, "description": "There is no such job of this key, or no such picture of it."},
    422: _REFUSALS[422],
    503: _REFUSALS[503],
}
_BYTES = {"type": "string", "format": "binary"}
_TYPE = "Content type, one of the policy's; `default` if none is named, in the query or in a form."
_NAME = {"type": "string", "maxLength": LONGEST, "description": _TYPE}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/octet-stream": {"schema": _BYTES},
            "multipart/form-data": {
                "schema": {"type": "object", "required": [FIELD], "properties": {FIELD: _BYTES, CONTENT: _NAME}},
            },
        },
    }
}
_BODY_OR_URL = {"requestBody": _BODY["requestBody"] | {"required": False}}
_JSON: Responses = {
    200: {"content": {"application/json": {"schema": {"type": "object"}}}, "description": "The record."}
}
_PNG: Responses = {200: {"content": {"image/png": {"schema": _BYTES}}, "description": "The picture."}}

Content = Annotated[str | None, Query(max_length=LONGEST, description=_TYPE, examples=["default"])]
Url = Annotated[
    str | None,
    Query(max_length=2048, description="Address of the file, if none is sent; of origins that the settings name."),
]
JobId = Annotated[str, Path(pattern="^[0-9a-f]{32}$", description="Of a job.")]
Model = Annotated[str | None, Query(max_length=64, description="One of the models; the first if none is named.")]


class Direct(APIRoute):
    """A route that FastAPI describes and does not touch: its checks and answers are a third of what HTTP costs."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers: the endpoint, which takes a request with service, tenant and content type."""

        async def answer(request: Request) -> Response:
            tenant, content = await who(request), request.query_params.get("content")
            if len(content or "") > LONGEST:
                raise ServiceRefused(
                    f"content has over {LONGEST} letters", remedy="name one of the policy's", status=422
                )
            document = await self.endpoint(request, service_of(request), tenant, content)
            return Response(document.model_dump_json(), media_type="application/json")

        return answer


router = APIRouter(prefix="/v1", tags=["uploads"])


async def analyze(request: Request, here: Here, tenant: Submitter, content: Content = None) -> JobDocument:
    """Examine one file and wait for the answer.

    A file that cannot be analysed is answered, too: the policy decides about it, and `error` says why. A large one, by
    its bytes or by the pixels that its header names, and a video are refused: `POST /v1/jobs` takes them.
    """
    desk, settings, seconds = here.desk, here.settings, here.settings.seconds  # refuses before anything is received
    here.quotas.take(tenant)
    with here.gate.entered(tenant.name) as place:
        data, named = await received(
            request,
            place,
            max_bytes=min(settings.large_bytes, settings.max_bytes),
            of_jobs=settings.max_bytes,
            seconds=seconds,
        )
        job, begun = await run_in_threadpool(_begun, desk, tenant, _either(content, named), data=data)
        request.state.job = job.id
        examined = place.until = asyncio.wrap_future(begun)
        try:
            async with asyncio.timeout(seconds):
                answered = await asyncio.shield(examined)
        except TimeoutError as error:
            await run_in_threadpool(desk.keep, job, data)
            raise ServiceRefused(
                f"the answer takes longer than {seconds:g} seconds",
                remedy=f"ask again later: GET /v1/jobs/{job.id}, or hand in jobs: POST /v1/jobs",
                status=504,
                bound="seconds",
            ) from error
        except LargePicture as error:
            raise large(error.problem, bound="large_pixels") from error
    return job_document(*answered) if answered else await _document(here, job.id)


def _either(query: str | None, form: str | None) -> str:
    """The content type, of which a query and a form that name one say the same."""
    return next((each for each in (query, form) if each is not None), "default")


def _begun(desk: Desk, tenant: Tenant, content: str, *, data: bytes) -> tuple[Job, Future[Answered]]:
    job = desk.job(tenant, content, data)
    return job, desk.at_once(job, data)


router.add_api_route(
    "/analyze", analyze, methods=["POST"], route_class_override=Direct, responses=_REFUSALS, openapi_extra=_BODY
)


@router.post("/jobs", status_code=202, responses=_REFUSALS, openapi_extra=_BODY_OR_URL)
async def hand_in(
    request: Request, response: Response, *, here: Here, tenant: Submitter, content: Content = None, url: Url = None
) -> JobDocument:
    """Queue one file, a picture or a video. The same file again is the same job, and costs no second examination.

    A video is examined frame by frame. Its answer is about its most suspicious frame, and `video` about all of them.
    """
    desk, settings = here.desk, here.settings
    here.quotas.take(tenant)
    with here.gate.entered(tenant.name) as place:
        data, named = await _given(request, place, settings, url)
        job = await run_in_threadpool(desk.job, tenant, _either(content, named), data)
        request.state.job = job.id
        queued = await run_in_threadpool(desk.hand_in, job, data)
    response.headers["Location"] = f"/v1/jobs/{queued.id}"
    return await _document(here, queued.id)


async def _given(request: Request, place: Place, settings: Settings, url: str | None) -> tuple[bytes, str | None]:
    """The file that is uploaded, or that is at ``url``, and the content type of a form."""
    most, seconds = settings.max_bytes, settings.seconds
    of_videos = settings.video_limits.bytes
    if url is None:
        return await received(request, place, max_bytes=most, max_video_bytes=of_videos, seconds=seconds)
    if request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers:
        raise ServiceRefused("the request has a file and an address", remedy="send one of both", status=422)
    place.hold(most)  # nobody knows its size before
    fetch = functools.partial(fetched, url, origins=settings.fetch, most=most, until=time.monotonic() + seconds)
    data = await asyncio.get_running_loop().run_in_executor(THREADS, fetch)
    place.hold(len(data) - most)
    return allowed(data, max_bytes=most, max_video_bytes=of_videos), None


@router.get("/jobs/{job_id}", responses=_MISSING)
async def job(job_id: JobId, here: Here, tenant: Submitter) -> JobDocument:
    """What became of a job."""
    found, text = await run_in_threadpool(owned, here, tenant.name, job_id)
    return job_document(found, text)


@router.get(
    "/jobs/{job_id}/record",
    responses=_MISSING | _JSON,
    response_class=Response,
)
async def record(job_id: JobId, here: Here, tenant: Submitter) -> Response:
    """The evidence as it was sealed, byte for byte."""
    _, text = await run_in_threadpool(owned, here, tenant.name, job_id)
    if text is None:
        raise missing("record")
    return Response(text, media_type="application/json")


@router.get("/jobs/{job_id}/heatmap.png", responses=_MISSING | _PNG, response_class=Response)
async def heatmap(job_id: JobId, here: Here, tenant: Submitter, model: Model = None) -> Response:
    """The heatmap in grey, 512 px long at most: 255 stands for probability 1. Kept of uploads that were flagged."""
    _, text = await run_in_threadpool(owned, here, tenant.name, job_id)
    return png(await run_in_threadpool(heatmap_of, here, job_id, text, model))


@router.get("/jobs/{job_id}/overlay.png", responses=_MISSING | _PNG, response_class=Response)
async def overlay_png(job_id: JobId, here: Here, tenant: Submitter, model: Model = None) -> Response:
    """The frame with the heatmap in colour and the verdict in words; only of uploads that were flagged."""
    _, text = await run_in_threadpool(owned, here, tenant.name, job_id)
    return png(await run_in_threadpool(drawn, here, job_id, text, model))


def owned(here: Service, tenant: str, job_id: str) -> tuple[Job, str | None]:
    """A job of ``tenant`` and its record's text; what belongs to others is as if it were not there."""
    found = here.jobs.get(job_id)
    if found is None or found[0].tenant != tenant:
        raise missing("job")
    return found


def missing(what: str) -> ServiceRefused:
    """The error for what is not there."""
    return ServiceRefused(f"there is no such {what}", remedy="look at GET /v1/jobs/{id}", status=404)


def png(data: bytes) -> Response:
    """A picture that only its owner may keep."""
    return Response(data, media_type="image/png", headers={"Cache-Control": "private, max-age=3600"})


def heatmap_of(here: Service, job_id: str, text: str | None, model: str | None) -> bytes:
    """The kept heatmap of one model, or of the first."""
    names = [result["model"] for result in json.loads(text)["results"]] if text else []
    data = here.jobs.picture(job_id, f"heatmap:{model or (names or [''])[0]}")
    if data is None:
        raise missing("heatmap")
    return data


def drawn(here: Service, job_id: str, text: str | None, model: str | None) -> bytes:
    """The overlay, drawn from what was kept."""
    kept = heatmap_of(here, job_id, text, model)
    photograph = here.jobs.picture(job_id, "frame")
    if photograph is None:
        raise missing("picture")
    frame = pictures.frame_of(photograph)
    heatmap = pictures.heatmap_of(kept, height=frame.shape[0], width=frame.shape[1])
    record = json.loads(text or "{}")
    result = next(each for each in record["results"] if not model or each["model"] == model)
    terms = next(each for each in record["models"] if each["name"] == result["model"])
    engine = {key: terms["engine"][key] for key in ("backend", "device", "precision", "working_size")}
    runtime = Runtime(
        model=terms["name"], version=terms["version"], status=terms["status"], artifact=terms["artifact"],
        decoder=record["input"]["decoder"], against={}, **engine,
    )  # fmt: skip
    analysis = Analysis(
        pixels=frame,
        heatmap=heatmap,
        score=result["score"],
        mask_threshold=result["mask_threshold"],
        verdict=Verdict(result["verdict"]["name"], result["verdict"]["reason"]),
        latency=Latency({}, 0.0),
        runtime=runtime,
    )
    return pictures.picture_png(overlay.draw(analysis))


async def _document(here: Service, job_id: str) -> JobDocument:
    found = await run_in_threadpool(here.jobs.get, job_id)
    if found is None:
        raise missing("job")
    return job_document(*found)
