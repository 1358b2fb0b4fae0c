"""Files by their address: of origins that were named, at public addresses, whole, in time, and by no redirect."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import anyio.to_thread
import pytest

from sdk.errors import ServiceRefused
from sdk.serve import fetching, uploading, webhooks
from sdk.serve.fetching import fetched, is_public
from tests.sdk.serve.conftest import DIM, finished, served
from tests.sdk.serve.test_webhooks import trickle

PATHS = {
    "/a.png": (200, {"Content-Length": str(len(DIM))}, DIM),
    "/chunks": (200, {"Transfer-Encoding": "chunked"}, b"3\r\nabc\r\n0\r\n\r\n"),
    "/moved": (302, {"Location": "/a.png", "Content-Length": "0"}, b""),
    "/none": (404, {"Content-Length": "0"}, b""),
    "/busy": (429, {"Content-Length": "0"}, b""),
    "/down": (503, {"Content-Length": "0"}, b""),
    "/huge": (200, {"Content-Length": "1000001"}, b""),
    "/clip.mp4": (200, {"Content-Length": "24"}, b"\0\0\0\x18ftypmp42" + bytes(12)),
    "/empty": (200, {"Content-Length": "0"}, b""),
    "/short": (200, {"Content-Length": "9"}, b"abc"),
    "/short-chunks": (200, {"Transfer-Encoding": "chunked"}, b"9\r\nabc"),
    "/endless": (200, {}, b"abc"),
}


@pytest.fixture(scope="module")
def host():
    """Origin of a server with ``PATHS``."""

    class Answering(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            status, headers, body = PATHS[self.path.partition("?")[0]]
            self.send_response(status)
            for name, value in (headers | {"Connection": "close"}).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def public(monkeypatch):
    """This machine's own addresses count as public."""
    monkeypatch.setattr(fetching, "is_public", lambda _: True)


def fetch(url: str, host: str, *, most: int = 10**6, seconds: float = 5.0) -> bytes:
    return fetched(url, origins=(host,), most=most, until=time.monotonic() + seconds)


@pytest.mark.usefixtures("public")
def test_a_file_comes_whole(host):
    assert fetch(f"{host}/a.png?signed=1", host, most=len(DIM)) == DIM
    assert fetch(f"{host}/chunks", host) == b"abc"


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize(
    ("path", "status", "problem"),
    [("/moved", 422, "answered 302, not 200"), ("/none", 422, "answered 404"), ("/busy", 504, "answered 429"),
     ("/down", 504, "answered 503"), ("/huge", 413, "more than 1,000,000 bytes"),
     ("/empty", 422, "is empty"), ("/short", 504, "was cut off"), ("/short-chunks", 504, "IncompleteRead"),
     ("/endless", 422, "how long it is")],
)  # fmt: skip
def test_what_is_no_whole_file_is_refused(host, path, status, problem):
    with pytest.raises(ServiceRefused, match=problem) as refused:
        fetch(host + path, host)
    assert refused.value.status == status


@pytest.mark.usefixtures("public")
def test_a_file_over_the_limit_is_not_read_to_its_end(host):
    with pytest.raises(ServiceRefused, match=f"more than {len(DIM) - 1:,} bytes") as refused:
        fetch(f"{host}/a.png", host, most=len(DIM) - 1)
    assert refused.value.status == 413


@pytest.mark.usefixtures("public")
def test_who_trickles_is_left():
    stop = threading.Event()
    thread, port = trickle(stop)
    host, start = f"http://127.0.0.1:{port}", time.monotonic()
    try:
        with pytest.raises(ServiceRefused, match="could not be fetched") as refused:
            fetch(f"{host}/a", host, seconds=0.3)
        assert time.monotonic() - start < 5
    finally:
        stop.set()
        thread.join()
    assert refused.value.status == 504


def told(monkeypatch, *addresses: str, after: float = 0.0) -> None:
    """Name servers tell these ``addresses`` of every name that is none, ``after`` some seconds."""
    really = socket.getaddrinfo

    def resolved(name, port, *options, **named):
        if name[0].isdecimal():
            return really(name, port, *options, **named)
        time.sleep(after)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in addresses]

    monkeypatch.setattr(socket, "getaddrinfo", resolved)


@pytest.mark.usefixtures("public")
def test_of_several_addresses_the_first_that_answers_counts(host, monkeypatch):
    told(monkeypatch, "127.0.0.2", "127.0.0.1")  # at the first one nobody listens
    name = host.replace("127.0.0.1", "cdn.example")
    assert fetch(f"{name}/a.png", name) == DIM


@pytest.mark.usefixtures("public")
def test_a_silent_address_leaves_the_next_one_its_part_of_the_time(monkeypatch):
    asked = []

    def silent(address, timeout):
        asked.append((address[0], timeout))
        raise TimeoutError

    told(monkeypatch, "127.0.0.2", "127.0.0.1", after=0.5)
    monkeypatch.setattr(socket, "create_connection", silent)
    with pytest.raises(ServiceRefused, match="TimeoutError"):
        fetch("http://cdn.example/a", "http://cdn.example", seconds=60)
    (first, half), (second, rest) = asked
    assert (first, second) == ("127.0.0.2", "127.0.0.1")
    assert half <= 29.75
    assert half < rest <= 59.5  # what the look-up took is gone


def test_a_name_server_that_is_silent_is_left(monkeypatch):
    ends = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: ends.wait(20))
    start = time.monotonic()
    try:
        with pytest.raises(ServiceRefused, match="TimeoutError") as refused:
            fetch("http://cdn.example/a", "http://cdn.example", seconds=0.2)
        assert webhooks.post("http://cdn.example/", b"", secret="s", delivery="1", timeout=0.2).startswith("Timeout")
        assert time.monotonic() - start < 10
    finally:
        ends.set()
    assert refused.value.status == 504


@pytest.mark.usefixtures("public")
@pytest.mark.parametrize(
    "url",
    ["https://cdn.example.evil.example/a", "https://evil.example/https://cdn.example/a", "http://cdn.example/a",
     "https://cdn.example:8443/a", "https://xcdn.example/a", "https://cdn.example\\.evil.example/a"],
)  # fmt: skip
def test_another_origin_is_refused_before_anybody_is_asked(url, monkeypatch):
    monkeypatch.setattr(socket, "getaddrinfo", None)
    with pytest.raises(ServiceRefused, match="this origin are not fetched"):
        fetch(url, "https://cdn.example")


@pytest.mark.parametrize(
    "url",
    ["file:///etc/passwd", "https://cdn.example@evil.example/a", "https://user:word@cdn.example/", "https://", "a.png",
     "https://cdn.example:99999/", "https://cdn.example/a b", "https://cdn.example/\r\nHost: x", "https://cdn.exämple/"],
)  # fmt: skip
def test_what_is_no_address_of_a_file_is_refused(url):
    with pytest.raises(ServiceRefused, match="cannot be read") as refused:
        fetch(url, "https://cdn.example")
    assert refused.value.status == 422


def test_a_host_with_a_private_address_is_refused_and_nobody_connected_to(host, monkeypatch):
    with pytest.raises(ServiceRefused, match="not public"):
        fetch(f"{host}/a.png", host)
    both = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, 443)) for each in ("93.184.216.34", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: both)
    monkeypatch.setattr(socket, "create_connection", None)
    with pytest.raises(ServiceRefused, match="not public"):
        fetch("https://cdn.example/a", "https://cdn.example")


def test_it_connects_to_the_address_that_was_looked_at(host, monkeypatch):
    asked = []
    name = host.replace("127.0.0.1", "cdn.example")

    def resolved(name, port, *_, **__):
        asked.append(name)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(fetching, "is_public", lambda text: text == "127.0.0.1")
    monkeypatch.setattr(socket, "getaddrinfo", resolved)
    assert fetch(f"{name}/a.png", name) == DIM
    assert set(asked) <= {"cdn.example", "127.0.0.1"}
    assert asked.count("cdn.example") == 1


@pytest.mark.parametrize(
    ("address", "expected"),
    [("93.184.216.34", True), ("2606:2800:220:1::1", True), ("127.0.0.1", False), ("10.1.2.3", False),
     ("172.16.0.1", False), ("192.168.1.1", False), ("169.254.169.254", False), ("100.64.0.1", False),
     ("0.0.0.0", False), ("224.0.0.1", False), ("255.255.255.255", False), ("::1", False), ("::", False),
     ("fe80::1%eth0", False), ("fd00::1", False), ("::ffff:10.0.0.1", False), ("::ffff:93.184.216.34", True),
     ("2002:a00:1::", False), ("64:ff9b::a00:1", False), ("ff02::1", False), ("192.0.0.9", False),
     ("192.0.0.192", False), ("64:ff9b:1::a00:1", False), ("fec0::1", False), ("2001::1", False), ("2001:1::1", False),
     ("168.63.129.16", False), ("::ffff:168.63.129.16", False), ("168.63.129.17", True), ("192.0.1.1", True)],
)  # fmt: skip
def test_private_addresses_are_known_in_every_guise(address, expected):
    assert is_public(address) is expected


@pytest.mark.usefixtures("public")
def test_a_job_may_name_the_address_of_its_file_where_the_settings_do(host, make_settings, service):
    url = f"{host}/a.png"
    with served(make_settings(anyone=True, fetch=(host,))) as client:
        queued = client.post("/v1/jobs", params={"url": url})
        assert queued.status_code == 202
        assert finished(client, queued.json()["id"], {})["action"] == "pass"
        assert queued.json()["id"] == client.post("/v1/jobs", content=DIM).json()["id"]
        assert client.post("/v1/jobs", params={"url": url}, content=b"x").status_code == 422
        assert client.post("/v1/jobs", params={"url": url + "?" + "x" * 2048}).status_code == 422
        gate = client.app.state.service.gate
        assert (gate.inflight, gate.bytes) == (0, 0)
    refused = service.post("/v1/jobs", params={"url": url}, headers=service.keys["alice"])
    assert (refused.status_code, "not fetched here" in refused.json()["error"]["problem"]) == (422, True)


@pytest.mark.usefixtures("public")
def test_a_video_at_an_address_may_have_as_many_bytes_as_one_that_is_sent(host, make_settings):
    video = PATHS["/clip.mp4"][2]
    with served(make_settings(anyone=True, fetch=(host,), max_video_bytes=len(video) - 1)) as client:
        answers = [client.post("/v1/jobs", params={"url": f"{host}/clip.mp4"}), client.post("/v1/jobs", content=video)]
    assert [answer.status_code for answer in answers] == [413, 413]
    assert answers[0].json() == answers[1].json()


def test_who_waits_for_a_file_takes_no_thread_of_others(make_settings, monkeypatch):
    begun, ends = threading.Event(), threading.Event()

    def waiting(*_, **__):
        begun.set()
        return DIM if ends.wait(20) else b"another file"

    async def one_thread():
        anyio.to_thread.current_default_thread_limiter().total_tokens = 1

    monkeypatch.setattr(uploading, "fetched", waiting)
    with served(make_settings(anyone=True)) as client, ThreadPoolExecutor(1) as other:
        client.portal.call(one_thread)
        job = other.submit(client.post, "/v1/jobs", params={"url": "https://cdn.example/a"})
        try:
            assert begun.wait(20)
            assert client.get(f"/v1/jobs/{'0' * 32}").status_code == 404
        finally:
            ends.set()
        document = job.result().json()
        assert document["id"] == client.post("/v1/jobs", content=DIM).json()["id"]
