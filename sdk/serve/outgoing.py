"""Connections to others, each ended at a moment of ``time.monotonic``: of webhooks, and of files that are fetched."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import SplitResult

_LOOK_UPS = ThreadPoolExecutor(32, thread_name_prefix="look-up")
"""Name servers are asked here, because nothing else can leave one that does not answer."""


@contextlib.contextmanager
def connected(address: SplitResult, *, until: float, at: Sequence[str] = ()) -> Iterator[http.client.HTTPConnection]:
    """A connection to the host of ``address``, or of that name to the first of ``at`` that can be reached.

    Raises OSError, ValueError and HTTPException as sockets and ``http.client`` do; a certificate is checked.
    """
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    # The port is always given: without one http.client takes the last group of an IPv6 address for it.
    connection = kind(str(address.hostname), address.port or kind.default_port)
    with (
        _reached(at or looked_up(address, until=until), connection.port, until=until) as plain,
        _cut_off(plain, until),
        _secured(plain, address) as connection.sock,
    ):
        yield connection


def looked_up(address: SplitResult, *, until: float) -> list[str]:
    """The addresses of the host. Raises OSError and ValueError as ``getaddrinfo`` does, or TimeoutError."""
    asked = _LOOK_UPS.submit(socket.getaddrinfo, str(address.hostname), None, type=socket.SOCK_STREAM)
    try:
        return [str(entry[4][0]) for entry in asked.result(_left(until))]
    finally:
        asked.cancel()


def target(address: SplitResult) -> str:
    """What is asked of the host: path and query."""
    return (address.path or "/") + (f"?{address.query}" if address.query else "")


def _left(until: float) -> float:
    """Seconds until then; never 0, which is no timeout to a socket."""
    return max(until - time.monotonic(), 1e-3)


def _reached(addresses: Sequence[str], port: int, *, until: float) -> socket.socket:
    """A connection to the first of ``addresses`` that takes one; a silent one leaves the others their parts of time."""
    *others, last = addresses
    for number, address in enumerate(others):
        with contextlib.suppress(OSError):
            return socket.create_connection((address, port), _left(until) / (len(addresses) - number))
    return socket.create_connection((last, port), _left(until))


@contextlib.contextmanager
def _cut_off(connection: socket.socket, until: float) -> Iterator[None]:
    """Shut ``connection`` then: a socket's own timeout begins anew with every byte."""
    connection.settimeout(_left(until))
    with connection.dup() as twin:  # TLS takes the other one's descriptor away

        def cut() -> None:
            with contextlib.suppress(OSError):  # the other side was faster
                twin.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(_left(until), cut)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            timer.join()


def _secured(connection: socket.socket, address: SplitResult) -> socket.socket:
    """``connection``, with TLS if ``address`` wants it."""
    if address.scheme != "https":
        return connection
    return ssl.create_default_context().wrap_socket(connection, server_hostname=address.hostname)
