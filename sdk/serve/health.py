"""Routes of those who watch: alive, ready, metrics. Without a key: keep them behind the proxy."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import Field
from starlette.concurrency import run_in_threadpool

from sdk.errors import ServiceRefused
from sdk.serve.caller import Here
from sdk.serve.documents import Document, Refusal, shown

router = APIRouter(tags=["health"])


class State(Document):
    """How the service is."""

    model_config = shown({"status": "alive"})

    status: Literal["alive"]


class Ready(Document):
    """That uploads are examined, and how safely."""

    model_config = shown({"status": "ready", "within_reach_of_decoders": ""})

    status: Literal["ready"]
    within_reach_of_decoders: str = Field(
        description="What the processes that decode uploads could not give up of network and files; empty if nothing."
    )


@router.get("/healthz")
async def healthz() -> State:
    """Whether the process answers."""
    return State(status="alive")


@router.get(
    "/readyz",
    responses={503: {"model": Refusal, "description": "Models are loaded, the disk is full, or the service ends."}},
)
async def readyz(here: Here) -> Ready:
    """Whether uploads are examined: not before the models are warm, nor while the disk is full or the service ends."""
    if not here.is_ready:
        raise ServiceRefused("the service is starting or ending", remedy="come again", status=503, retry_after=1.0)
    if here.database.full and not await run_in_threadpool(here.has_room):
        problem = "the database cannot be written: its disk is full"
        raise ServiceRefused(problem, remedy="make room on it", status=503, retry_after=5.0)
    return Ready(status="ready", within_reach_of_decoders=here.within_reach)


@router.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "For Prometheus."}},
)
async def metrics(here: Here) -> Response:
    """Latency by stage, queue, rejects, decisions, verdicts and scores, as Prometheus reads them."""
    gate = here.gate
    text = await run_in_threadpool(
        here.metrics.exposed, queue=here.jobs.waiting, inflight=gate.inflight, inflight_bytes=gate.bytes
    )
    return Response(text, media_type=CONTENT_TYPE_LATEST)
