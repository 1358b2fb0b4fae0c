"""Bodies: counted as they come, and not waited for."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from sdk.errors import ServiceRefused
from sdk.serve.bodies import ENVELOPE, received
from sdk.serve.gate import Gate
from sdk.signatures import HEAD, is_video

LIMIT = 100


def take(
    pieces: list[bytes],
    *,
    ends: str = "well",
    kind: str = "",
    max_bytes: int = LIMIT,
    room: int = 1000,
    of_jobs: int = 0,
    declared: str = "",
    coding: str = "",
) -> bytes:
    """What is received of ``pieces``, after which the request ends well, stalls, or is broken off."""
    messages = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    end = {"well": {"type": "http.request", "body": b"", "more_body": False}, "broken": {"type": "http.disconnect"}}

    async def receive() -> dict:
        if messages:
            return messages.pop(0)
        if ends == "stalls":
            await asyncio.sleep(60)
        return end[ends]

    headers = [(b"content-type", kind.encode()), (b"content-length", declared.encode())]
    headers += [(b"content-encoding", coding.encode())] if coding else []
    scope = {"type": "http", "headers": headers, "method": "POST", "query_string": b""}
    request = Request(scope, receive)
    gate = Gate(max_inflight=1, max_bytes=room)

    async def run() -> bytes:
        with gate.entered("alice") as place:
            data, _ = await received(request, place, max_bytes=max_bytes, of_jobs=of_jobs, seconds=0.05)
            assert gate.bytes == min(max_bytes, sum(map(len, pieces)))
            return data

    try:
        return asyncio.run(run())
    finally:
        assert (gate.bytes, gate.inflight) == (0, 0)


@pytest.mark.parametrize(("coding", "is_taken"), [("identity", True), ("gzip", False), ("br, gzip", False)])
def test_a_body_that_is_compressed_for_the_way_is_refused(coding, is_taken):
    if is_taken:
        assert take([b"ab"], coding=coding) == b"ab"
        return
    with pytest.raises(
        ServiceRefused, match=f"comes with Content-Encoding '{coding}'\n  -> send .*uncompressed"
    ) as found:
        take([b"ab"], coding=coding)
    assert found.value.status == 415


def test_what_comes_in_pieces_is_put_together():
    assert take([b"ab", b"", b"cd"]) == b"abcd"


REFUSED = [
    ([b"ab"], {"ends": "stalls"}, 408, "took longer than 0.05 seconds"),
    ([b"ab"], {"ends": "broken"}, 400, "broken off"),
    ([], {}, 422, "is empty"),
    ([b"x" * 101], {}, 413, "has 101 bytes or more, the limit is 100"),
    ([b"x" * 60, b"x" * 41], {}, 413, "has 101 bytes or more"),
    ([b"x" * 60, b"x" * 30], {"room": 80}, 429, "60 bytes are under way"),
]


@pytest.mark.parametrize(("pieces", "options", "status", "words"), REFUSED, ids=[words for *_, words in REFUSED])
def test_what_is_not_received_is_told_with_its_status(pieces, options, status, words):
    with pytest.raises(ServiceRefused, match=words) as refused:
        take(pieces, **options)
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("size", "remedy", "bound"),
    [
        (101, "hand it in as a job: POST /v1/jobs", "large_bytes"),
        (500, "hand it in as a job: POST /v1/jobs", "large_bytes"),
        (501, "send a smaller file; if it is a video, hand it in as a job: POST /v1/jobs", ""),
    ],
)
def test_what_is_too_large_for_who_waits_is_told_of_jobs_that_take_it(size, remedy, bound):
    with pytest.raises(ServiceRefused, match=f"{size} bytes or more, the limit is 100") as refused:
        take([b"x" * size], of_jobs=500)
    assert (refused.value.status, refused.value.remedy, refused.value.bound) == (413, remedy, bound)


@pytest.mark.parametrize("comes", ["declared", "counted"])
@pytest.mark.parametrize(("size", "bound"), [(500 + ENVELOPE, "large_bytes"), (501 + ENVELOPE, "")])
def test_a_job_takes_a_form_that_is_larger_than_its_file(size, bound, comes):
    said = {"declared": str(size)} if comes == "declared" else {}
    with pytest.raises(ServiceRefused, match=f"has {size:,} bytes or more, the limit is 100") as refused:
        take([b"x" * size], kind="multipart/form-data; boundary=edge", of_jobs=500, **said)
    assert refused.value.bound == bound


def form(data: bytes, name: str = "file", boundary: str = "edge") -> bytes:
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"; filename="a"\r\n\r\n'
    return head.encode() + data + f"\r\n--{boundary}--\r\n".encode()


def goes_into_a_form(data: bytes) -> bool:
    """Whether it does not hold the form's own boundary, and is no video, of which this service takes none."""
    return b"--edge" not in data and not is_video(data[:HEAD])


@given(data=st.binary(min_size=1, max_size=LIMIT).filter(goes_into_a_form), cut=st.integers(1, 200))
def test_a_form_brings_the_file_whatever_is_in_it(data, cut):
    body = form(data)
    pieces = [body[:cut], body[cut:]]
    assert take([piece for piece in pieces if piece], kind="multipart/form-data; boundary=edge") == data


@given(body=st.binary(max_size=300))
def test_a_form_that_is_none_is_refused_and_nothing_worse(body):
    with pytest.raises(ServiceRefused, match=r"the form |is empty") as refused:
        take([body], kind="multipart/form-data; boundary=edge")
    assert refused.value.status == 422
