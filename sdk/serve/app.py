"""The application: routes, what every request passes, and errors as documents."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as NoConnection
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import sdk
from sdk.errors import LimitExceeded, SdkError, ServiceRefused, UnknownName
from sdk.serve import diagnosis, health, logs, reviewing, tracing, uploading
from sdk.serve.documents import Failure, Refusal, refusal
from sdk.serve.service import Service
from sdk.serve.settings import Settings

WATCHED = ("/healthz", "/readyz", "/metrics")
"""Routes that are asked all the time; what they answer is neither logged nor counted as a reject."""
DESCRIPTION = """Was this picture manipulated, and where? Uploads in; decisions of a policy, with evidence, out.

`pass` means that nothing was found that the policy acts on. It never means that a picture is authentic."""


def create(settings: Settings) -> FastAPI:
    """The application; its service starts and stops with it. Whoever runs it may set ``state.give_up``."""

    def give_up() -> None:
        app.state.give_up()

    service = Service(settings, give_up=give_up)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await run_in_threadpool(service.start)
        yield
        await run_in_threadpool(service.stop)

    app = FastAPI(
        title="imdl", version=sdk.__version__, description=DESCRIPTION, lifespan=lifespan, docs_url=None, redoc_url=None
    )
    app.state.service, app.state.give_up = service, lambda: None
    for routes in (uploading, reviewing, health):
        app.include_router(routes.router)
    app.add_exception_handler(SdkError, _refused)
    for kind in (DBAPIError, NoConnection):
        app.add_exception_handler(kind, _away)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_middleware(Watched)
    return app


class Watched:
    """Times, counts and logs every request; sets the headers that keep a browser from guessing."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *_HEADERS]
            await send(message)

        scope.setdefault("state", {})
        try:
            with tracing.span("imdl.request", method=scope["method"]):
                await self._app(scope, receive, sent)
        finally:
            _tell(scope, status, time.perf_counter() - start)


_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"no-referrer")]


def _tell(scope: Scope, status: int, seconds: float) -> None:
    """Count and log a request by its route; its address may hold what a stranger wrote."""
    route = getattr(scope.get("route"), "path", "none")
    scope["app"].state.service.metrics.requests.labels(route, str(status)).observe(seconds)
    if route in WATCHED:
        return
    state = scope["state"]
    tenant = logs.short(state["tenant"]) if "tenant" in state else None
    facts = {"method": scope["method"], "route": route, "status": status, "ms": round(1e3 * seconds, 1)}
    logs.say("request", **facts, tenant=tenant, job=state.get("job"))


async def _refused(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, SdkError):
        raise error
    status = 422 if isinstance(error, UnknownName) else 413 if isinstance(error, LimitExceeded) else 503
    headers, reason = {}, type(error).__name__
    if isinstance(error, ServiceRefused):
        status, reason = error.status, error.bound or reason
        if error.retry_after is not None:
            headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
        if status == 401:
            headers["WWW-Authenticate"] = "Bearer"
    if request.url.path not in WATCHED:
        request.app.state.service.metrics.rejects.labels(f"{status} {reason}").inc()
    return JSONResponse(refusal(error).model_dump(), status, headers)


async def _away(request: Request, error: Exception) -> JSONResponse:
    if diagnosis.is_full(error):
        problem, remedy = "the database cannot be written: its disk is full", "come again once there is room"
    else:
        problem, remedy = "the database does not answer", "come again"
    logs.logger.error(problem, exc_info=error)
    return await _refused(request, ServiceRefused(problem, remedy=remedy, status=503, retry_after=5.0))


async def _invalid(_: Request, error: Exception) -> JSONResponse:
    problems = error.errors() if isinstance(error, RequestValidationError) else []
    said = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in problems)
    return _answer(422, said or "the request makes no sense")


async def _http(_: Request, error: Exception) -> JSONResponse:
    status = error.status_code if isinstance(error, HTTPException) else 500
    said = str(error.detail) if isinstance(error, HTTPException) else "fault"
    return _answer(status, said, getattr(error, "headers", None))


def _answer(status: int, problem: str, headers: dict[str, str] | None = None) -> JSONResponse:
    failure = Failure(type="ServiceRefused", problem=problem, remedy="read GET /openapi.json")
    return JSONResponse(Refusal(error=failure).model_dump(), status, headers)
