"""Files by their address, if the settings allow it: of named origins alone, at public addresses, by no redirect."""

from __future__ import annotations

import functools
import http.client
import ipaddress
import re
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit

from sdk.errors import BadSetting, ServiceRefused
from sdk.serve.outgoing import connected, looked_up, target

Origin: TypeAlias = tuple[str, str, int]
"""Scheme, host and port, as they are compared."""

THREADS = ThreadPoolExecutor(8, thread_name_prefix="fetch")
"""Where files are fetched: the threads of other requests would be used up by hosts that are slow."""
PORTS = {"http": 80, "https": 443}
NOT_PUBLIC = [
    ipaddress.ip_network(each)
    for each in ("168.63.129.16/32", "192.0.0.0/24", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/23", "2002::/16",
                 "fec0::/10")
]  # fmt: skip
"""Of clouds, of protocols, that stand for any of version 4, and of sites: ``is_global`` judges them as Python's patch
release does, or as public."""
_ORIGIN = re.compile(r"https?://[a-z0-9.-]+(:[0-9]+)?")
_SEND = "send the file itself"


def fetched(url: str, *, origins: tuple[str, ...], most: int, until: float) -> bytes:
    """The file of up to ``most`` bytes at ``url``, whose origin is one of ``origins``, by ``time.monotonic`` ``until``.

    It is taken from an address that was looked at, so that no second answer of a name server counts.

    Raises:
        ServiceRefused: it may not be fetched or is none (422), is too large (413), or did not come (504).
    """
    address = _parsed(url)
    if address is None:
        raise ServiceRefused("the address of the file cannot be read", remedy="give https://HOST/PATH", status=422)
    if _origin(address) not in listed(origins):
        raise ServiceRefused("files of this origin are not fetched here", remedy=_SEND, status=422)
    try:
        with connected(address, until=until, at=_public(address, until)) as connection:
            connection.request("GET", target(address), headers={"Accept-Encoding": "identity"})
            with connection.getresponse() as answer:
                data = _whole(answer, most)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _missed(f"the file could not be fetched: {type(error).__name__}") from error
    if not data:
        raise ServiceRefused("the file is empty", remedy="name one that is not", status=422)
    return data


@functools.cache
def listed(origins: tuple[str, ...]) -> frozenset[Origin]:
    """The origins of a setting. Raises BadSetting: one of them is none."""
    found = {each: _parsed(each) if _ORIGIN.fullmatch(each) else None for each in origins}
    for each, address in found.items():
        if address is None:
            raise BadSetting(f"fetch names {each!r}", remedy="give origins, without a path: https://cdn.example")
    return frozenset(_origin(address) for address in found.values() if address)


def _whole(answer: http.client.HTTPResponse, most: int) -> bytes:
    """The file that is the answer, of up to ``most`` bytes."""
    if answer.status == 429 or answer.status >= 500:
        raise _missed(f"the address answered {answer.status}")
    if answer.status != 200:  # a redirect would lead to where nobody looked
        raise ServiceRefused(f"the address answered {answer.status}, not 200", remedy=_SEND, status=422)
    if answer.length is None and not answer.chunked:
        raise ServiceRefused("the file does not say how long it is", remedy=_SEND, status=422)
    announced = answer.length or 0
    data = answer.read(most + 1) if announced <= most else b""
    if max(announced, len(data)) > most:
        raise ServiceRefused(f"the file has more than {most:,} bytes", remedy="name a smaller one", status=413)
    if answer.length:
        raise _missed("the file was cut off")
    return data


def _missed(problem: str) -> ServiceRefused:
    """The error for what may come another time."""
    return ServiceRefused(problem, remedy=f"try again, or {_SEND}", status=504, bound="fetch")


def _origin(address: SplitResult) -> Origin:
    return address.scheme, str(address.hostname).rstrip("."), address.port or PORTS[address.scheme]


def _parsed(url: str) -> SplitResult | None:
    """The parts of ``url``, which has to have a host, and no name or password; None if it cannot be read."""
    try:
        address = urlsplit(url)
        is_plain = url.isascii() and url.isprintable() and " " not in url
        is_named = address.scheme in PORTS and address.hostname and "@" not in address.netloc
        return address if is_plain and is_named and address.port != 0 else None
    except ValueError:  # a port or an address that cannot be
        return None


def _public(address: SplitResult, until: float) -> list[str]:
    """The addresses of the host, of which every one has to be public."""
    found = looked_up(address, until=until)
    if not all(map(is_public, found)):
        raise ServiceRefused("the host has an address that is not public", remedy=_SEND, status=422)
    return found


def is_public(text: str) -> bool:
    """Whether an address belongs to the open internet, and stands for no other."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return is_public(str(address.ipv4_mapped))
    if any(address in network for network in NOT_PUBLIC):
        return False
    return address.is_global and not (address.is_multicast or address.is_reserved)
