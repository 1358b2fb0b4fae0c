"""Files by their address, if the settings allow it: of named origins alone, at public addresses, by no redirect."""

from __future__ import annotations

import http.client
import ipaddress
import socket
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from sdk.errors import ServiceRefused
from sdk.serve.outgoing import connected, target

PORTS = {"http": 80, "https": 443}
TRANSLATED = ipaddress.ip_network("64:ff9b::/96")
"""Addresses of version 6 that stand for any of version 4."""
_SEND = "send the file itself"


def fetched(url: str, *, origins: Sequence[str], most: int, seconds: float) -> bytes:
    """The file of up to ``most`` bytes at ``url``, whose origin is one of ``origins``, within ``seconds``.

    It is taken from the address that was looked at, so that no second answer of a name server counts.

    Raises:
        ServiceRefused: it may not be fetched or is none (422), is too large (413), or did not come (504).
    """
    address = _parsed(url)
    if origin(address) not in {origin(_parsed(each)) for each in origins}:
        raise ServiceRefused("files of this origin are not fetched here", remedy=_SEND, status=422)
    try:
        with connected(address, seconds=seconds, at=_public(address)) as connection:
            connection.request("GET", target(address), headers={"Accept-Encoding": "identity"})
            with connection.getresponse() as answer:
                data = _whole(answer, most)
    except (OSError, http.client.HTTPException, ValueError) as error:
        problem = f"the file could not be fetched: {type(error).__name__}"
        raise ServiceRefused(problem, remedy=f"try again, or {_SEND}", status=504, bound="fetch") from error
    if not data:
        raise ServiceRefused("the file is empty", remedy="name one that is not", status=422)
    return data


def _whole(answer: http.client.HTTPResponse, most: int) -> bytes:
    """The file that is the answer, of up to ``most`` bytes."""
    if answer.status != 200:  # a redirect would lead to where nobody looked
        raise ServiceRefused(f"the address answered {answer.status}, not 200", remedy=_SEND, status=422)
    if answer.length is None and not answer.chunked:
        raise ServiceRefused("the file does not say how long it is", remedy=_SEND, status=422)
    data = answer.read(most + 1)
    if len(data) > most:
        raise ServiceRefused(f"the file has more than {most:,} bytes", remedy="name a smaller one", status=413)
    if answer.length:
        raise ServiceRefused("the file was cut off", remedy="try again", status=504)
    return data


def origin(address: SplitResult) -> tuple[str, str, int]:
    """Scheme, host and port, as they are compared."""
    return address.scheme, str(address.hostname).rstrip("."), address.port or PORTS[address.scheme]


def _parsed(url: str) -> SplitResult:
    """The parts of ``url``, which has to have a host, and no name or password."""
    try:
        address = urlsplit(url)
        is_plain = url.isascii() and url.isprintable() and " " not in url
        if (
            is_plain
            and address.scheme in PORTS
            and address.hostname
            and "@" not in address.netloc
            and address.port != 0
        ):
            return address
    except ValueError:  # a port or an address that cannot be
        pass
    raise ServiceRefused("the address of the file cannot be read", remedy="give https://HOST/PATH", status=422)


def _public(address: SplitResult) -> str:
    """The address of the host, of whose addresses every one has to be public."""
    _, host, port = origin(address)
    found = [str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
    if not found or not all(map(is_public, found)):
        raise ServiceRefused("the host has an address that is not public", remedy=_SEND, status=422)
    return found[0]


def is_public(text: str) -> bool:
    """Whether an address belongs to the open internet, and stands for no other."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return is_public(str(address.ipv4_mapped))
        if address.sixtofour or address.teredo or address in TRANSLATED:
            return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
