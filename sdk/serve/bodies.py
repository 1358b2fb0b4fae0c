"""Uploads from request bodies: raw, or one file in a multipart form; bounded in bytes and in time."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncGenerator, Callable, Coroutine
from typing import TYPE_CHECKING, Any

from fastapi import Response
from fastapi.routing import APIRoute
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from sdk.errors import ServiceRefused
from sdk.pillow import readable
from sdk.signatures import HEAD, is_video

if TYPE_CHECKING:
    from sdk.serve.gate import Place

ENVELOPE = 1 << 16
"""Bytes that a multipart form may add to a file."""
FIELD, CONTENT = "file", "content"
"""Names of the form's fields: the file, and its content type, which may be left out."""
LONGEST = 64
"""Letters of the name of a content type."""

SMALL = 1 << 16
"""Bytes of a document that is no upload, at most."""


class SmallBody(APIRoute):
    """A route that reads no long body: FastAPI reads all of it before it asks for the key."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """What answers, after the declared length was looked at."""
        answer = super().get_route_handler()

        async def bounded(request: Request) -> Response:
            declared = request.headers.get("content-length", "")
            if request.method == "POST" and not (declared.isdecimal() and int(declared) <= SMALL):
                raise ServiceRefused(
                    f"the body has more than {SMALL:,} bytes, or does not say how many it has",
                    remedy="send less, with a Content-Length",
                    status=413,
                )
            return await answer(request)

        return bounded


class _Parser(MultiPartParser):
    """Keeps files in memory, whose amount was counted; nothing of an upload reaches a temporary file."""

    spool_max_size = 1 << 40


async def received(
    request: Request,
    place: Place,
    *,
    max_bytes: int,
    max_video_bytes: int | None = None,
    of_jobs: int = 0,
    seconds: float,
) -> tuple[bytes, str | None]:
    """The file that ``request`` brings, its bytes counted in ``place`` as they come, and the content type of a form.

    Of one that is too large the error names jobs, whose pictures may have ``of_jobs`` bytes, if that is not 0.

    Raises:
        ServiceRefused: it is compressed for the way (415), too large (413), too slow (408), empty, not a form with a
            file or a video where none is expected (422), or there is no room for it now (429).
    """
    coding = ", ".join(request.headers.getlist("content-encoding")).strip().lower()
    if coding not in ("", "identity"):
        raise ServiceRefused(
            f"the upload comes with Content-Encoding {readable(coding, most=LONGEST)!r}",
            remedy="send the file's own bytes, uncompressed, without that header",
            status=415,
        )
    longest = max(max_bytes, max_video_bytes or 0)
    is_form = request.headers.get("content-type", "").partition(";")[0].strip().lower() == "multipart/form-data"
    envelope = ENVELOPE if is_form else 0
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > longest + envelope:
        raise _too_large(int(declared), longest, of_jobs=of_jobs, envelope=envelope)
    pieces = _counted(request, place, max_bytes=longest, of_jobs=of_jobs, envelope=envelope)
    try:
        async with asyncio.timeout(seconds):
            data, content = await _fields(request, pieces) if is_form else (await _joined(pieces), None)
    except TimeoutError as error:
        raise ServiceRefused(
            f"the upload took longer than {seconds:g} seconds", remedy="send it faster", status=408
        ) from error
    except ClientDisconnect as error:
        raise ServiceRefused("the upload was broken off", remedy="send it again", status=400) from error
    if not data:
        raise ServiceRefused("the upload is empty", remedy="send the bytes of one file", status=422)
    return allowed(data, max_bytes=max_bytes, max_video_bytes=max_video_bytes, of_jobs=of_jobs), content


def allowed(data: bytes, *, max_bytes: int, max_video_bytes: int | None, of_jobs: int = 0) -> bytes:
    """``data``, if a file of its kind may be here and have so many bytes.

    Raises:
        ServiceRefused: it may not be a video (422), or is too large (413).
    """
    limit = max_video_bytes if is_video(data[:HEAD]) else max_bytes
    if limit is None:
        raise ServiceRefused("the file is a video", remedy=_JOB, status=422)
    if len(data) > limit:
        raise _too_large(len(data), limit, of_jobs=of_jobs)
    return data


async def _counted(
    request: Request, place: Place, *, max_bytes: int, of_jobs: int, envelope: int
) -> AsyncGenerator[bytes]:
    """The body as it comes; ``place`` holds no more of it than a file may have: a form's envelope takes no room."""
    total = 0
    async for piece in request.stream():
        before, total = total, total + len(piece)
        if total > max_bytes + envelope:
            raise _too_large(total, max_bytes, of_jobs=of_jobs, envelope=envelope)
        place.hold(min(total, max_bytes) - min(before, max_bytes))
        yield piece


async def _joined(pieces: AsyncGenerator[bytes]) -> bytes:
    """All of ``pieces``, without holding them twice."""
    buffer = io.BytesIO()
    async for piece in pieces:
        buffer.write(piece)
    return buffer.getvalue()


async def _fields(request: Request, pieces: AsyncGenerator[bytes]) -> tuple[bytes, str | None]:
    """File and content type; of a query the latter may be told a second time, and not otherwise."""
    try:
        form = await _Parser(request.headers, pieces, max_files=1, max_fields=8).parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise ServiceRefused(f"the form cannot be read: {error}", remedy=_FORM, status=422) from error
    try:
        file = form.get(FIELD)
        if not isinstance(file, UploadFile):
            raise ServiceRefused(f"the form has no file named {FIELD!r}", remedy=_FORM, status=422)
        said = {*form.getlist(CONTENT), *request.query_params.getlist(CONTENT)}
        content = next(iter(said), None)
        if len(said) > 1 or isinstance(content, UploadFile) or len(content or "") > LONGEST:
            problem = f"the request names several content types, or one of more than {LONGEST} letters"
            raise ServiceRefused(problem, remedy=f"name one, in the query or in the field {CONTENT!r}", status=422)
        return await file.read(), content
    finally:
        await form.close()


_JOB = "hand it in as a job: POST /v1/jobs"
_FORM = f"send multipart/form-data with one file in the field {FIELD!r}, or the file's bytes as the body"


def large(problem: str, *, bound: str) -> ServiceRefused:
    """The error for a file that is taken as a job alone."""
    return ServiceRefused(f"{problem} where somebody waits", remedy=_JOB, status=413, bound=bound)


def _too_large(size: int, most: int, *, of_jobs: int, envelope: int = 0) -> ServiceRefused:
    problem = f"the upload has {size:,} bytes or more, the limit is {most:,}"
    if most < of_jobs and size <= of_jobs + envelope:
        return large(problem, bound="large_bytes")
    remedy = "send a smaller file" + (f"; if it is a video, {_JOB}" if of_jobs else "")
    return ServiceRefused(problem, remedy=remedy, status=413)
