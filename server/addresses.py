"""Who a connection comes from: one address, one IPv6 network of a household, or a proxy."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ..schemas.errors import BadInput

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
HOUSEHOLD = 64
"""Bits of an IPv6 address that one subscriber shares; the rest are theirs to choose."""
UNKNOWN = "somewhere"


def caller_of(host: str | None) -> str:
    """The name under which everybody counts who comes from `host`: an IPv4 address, or the /64
    of an IPv6 one. What is no address counts as one caller."""
    found = _address(host or "")
    if found is None:
        return UNKNOWN
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(ipaddress.ip_network((int(found), HOUSEHOLD), strict=False))


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        found = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return mapped or found


def networks(given: Iterable[str]) -> tuple[Network, ...]:
    """The addresses and networks of proxies. Raises BadInput for what is neither."""
    return tuple(_network(one.strip()) for one in given)


def _network(given: str) -> Network:
    try:
        found = ipaddress.ip_network(given, strict=False)
    except ValueError:
        raise BadInput(
            f"{given!r} is no address of a proxy.",
            "Give the address it connects from, such as 10.0.0.7, or its network, 10.0.0.0/24.",
        ) from None
    if found.prefixlen == 0:
        raise BadInput(
            f"{given} is everybody: any caller could invent an address.",
            "Name the proxy's own address.",
        )
    return found


def within(host: str | None, known: Iterable[Network]) -> bool:
    """Whether `host` is an address in one of these networks."""
    found = _address(host or "")
    return found is not None and any(found in one for one in known)
