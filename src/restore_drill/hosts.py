"""Hosts that nobody keeps backups on: where machines and clouds serve their own credentials.

Names are judged as they are written, in every spelling that a resolver takes; whoever connects asks :func:`is_refused`
again for the address that a name led to, because a name, or the target of a redirect, may lead inside.
"""

from __future__ import annotations

import ipaddress
import socket
from urllib.parse import unquote, urlsplit

#: Where clouds serve credentials to whoever asks, besides link-local addresses.
_METADATA_NAMES = frozenset(
    {"metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal"}
)
_METADATA_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32", "168.63.129.16/32")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def refusal(rest: str) -> str:
    """Why the host of a url is refused, or ``""``.

    Args:
        rest: The url, or what follows its scheme: ``//user@host:port/path``.
    """
    try:
        host = urlsplit(rest).hostname or ""
    except ValueError:
        return "the host of the url cannot be read"
    if is_refused(host):
        return f"{host} serves a machine's own credentials (link-local or metadata address)"
    return ""


def is_refused(host: str) -> bool:
    """Whether a host (a name as it is written, or an address) serves a machine's own credentials."""
    name = unquote(host).rstrip(".").lower()
    address = _address(name)
    return name in _METADATA_NAMES or bool(address and any(address in network for network in _METADATA_NETWORKS))


def _address(name: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address a host name spells, in any of the spellings that resolvers take (``0xA9FEA9FE``, ``::ffff:…``)."""
    try:
        address = ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(name))
        except (OSError, ValueError):
            return None
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or address
    return address
