"""Connections to others: of webhooks, and of files that are fetched."""

from __future__ import annotations

import contextlib
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from urllib.parse import SplitResult


@contextlib.contextmanager
def connected(address: SplitResult, *, seconds: float, at: str = "") -> Iterator[http.client.HTTPConnection]:
    """A connection to the host of ``address``, or of that name ``at`` an address, shut after ``seconds``.

    Raises OSError, ValueError and HTTPException as sockets and ``http.client`` do; a certificate is checked.
    """
    kind = http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    # The port is always given: without one http.client takes the last group of an IPv6 address for it.
    connection = kind(str(address.hostname), address.port or kind.default_port)
    with (
        socket.create_connection((at or connection.host, connection.port), seconds) as plain,
        _cut_off_after(seconds, plain),
        _secured(plain, address) as connection.sock,
    ):
        yield connection


def target(address: SplitResult) -> str:
    """What is asked of the host: path and query."""
    return (address.path or "/") + (f"?{address.query}" if address.query else "")


@contextlib.contextmanager
def _cut_off_after(seconds: float, connection: socket.socket) -> Iterator[None]:
    """Shut ``connection`` after ``seconds``: a socket's own timeout begins anew with every byte."""
    with connection.dup() as twin:  # TLS takes the other one's descriptor away

        def cut() -> None:
            with contextlib.suppress(OSError):  # the other side was faster
                twin.shutdown(socket.SHUT_RDWR)

        timer = threading.Timer(seconds, cut)
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
