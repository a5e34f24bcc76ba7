"""Addresses of stores and of the state: what may stand in a url, and which places lie inside one another.

Nothing is looked up: a name that only a resolver leads to an inner address, and symbolic links, are for the code that
connects to them. Host names are compared as they are written.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

from restore_drill.catalogue.gather import Draft, Loc
from restore_drill.catalogue.places import local_root
from restore_drill.catalogue.problems import shorten, suggest
from restore_drill.errors import CouldNotVerify
from restore_drill.registry import BUILT_IN, load, names

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
#: Where clouds serve credentials to whoever asks, besides link-local addresses.
_METADATA_NAMES = frozenset(
    {"metadata.google.internal", "metadata.goog", "metadata", "instance-data", "instance-data.ec2.internal"}
)
_METADATA_NETWORKS = tuple(
    ipaddress.ip_network(text)
    for text in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32", "168.63.129.16/32")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
#: Options that mean something to s3: stores only.
_S3_ONLY = ("endpoint", "region", "profile", "path_style", "credentials", "ranges")
_NEVER_IN_A_URL = "name them under credentials, as env:, file: or command: references"


class Place(NamedTuple):
    """What an address means: two are the same place, or inside one another, only under the same root."""

    root: tuple[str, ...]
    parts: tuple[str, ...]

    def holds(self, other: Place) -> bool:
        """Whether the other one is this place or inside it."""
        return self.root == other.root and other.parts[: len(self.parts)] == self.parts


def place_of(raw: Any, base: Path) -> Place | None:
    """Where a store or the state is, from its raw mapping; ``None`` when that cannot be told."""
    if isinstance(raw, str):
        raw = {"url": raw}
    url = raw.get("url") if isinstance(raw, Mapping) else None
    if not isinstance(url, str) or url in ("file:", "file://"):
        return None
    local = local_root(url, base)
    if local is not None:
        return Place(("file",), local.parts)
    scheme, _, rest = url.partition("://")
    bucket, _, prefix = rest.partition("/")
    endpoint = raw.get("endpoint")
    where = str(endpoint).rstrip("/").lower() if endpoint else ""
    return Place((scheme.lower(), where, bucket), tuple(part for part in prefix.split("/") if part)) if bucket else None


def check_address(draft: Draft, loc: Loc, raw: Mapping[str, Any], *, store: bool) -> None:
    """Note what is wrong with the url, the endpoint and their options.

    Args:
        draft: The catalogue.
        loc: Where the store or the state stands.
        raw: Its raw mapping.
        store: Whether it is a store; the state knows two schemes only.
    """
    url = raw.get("url")
    if isinstance(url, str) and url:
        scheme = _check_url(draft, (*loc, "url"), url, third_parties=store)
        _check_options(draft, loc, raw, scheme)
    endpoint = raw.get("endpoint")
    if isinstance(endpoint, str) and not endpoint.startswith(("env:", "file:")):
        _check_endpoint(draft, (*loc, "endpoint"), endpoint)


def _check_url(draft: Draft, loc: Loc, url: str, *, third_parties: bool) -> str:
    """Note what is wrong with a url, and return its scheme."""
    found = _SCHEME.fullmatch(url)
    if found is None:
        path = url if "@" not in url else "…"
        draft.report(
            loc, "the url has no scheme", f"write file:{path} for a directory, s3://bucket/prefix for a bucket",
            secret="@" in url,
        )  # fmt: skip
        return ""
    scheme, rest = found[1].lower(), found[2]
    if _has_credentials(url):
        draft.report(loc, "a url must not hold credentials", _NEVER_IN_A_URL, secret=True)
    elif scheme == "file":
        _check_file(draft, loc, rest)
    elif scheme == "s3":
        _check_bucket(draft, loc, rest)
    elif _is_served(draft, loc, scheme, third_parties) and (refused := _refused_host(rest)):
        draft.report(loc, refused, "a store is never there")
    return scheme


def _is_served(draft: Draft, loc: Loc, scheme: str, third_parties: bool) -> bool:
    """Whether a store is registered for a scheme; only for one that is not built in are third parties imported."""
    known = list(BUILT_IN["stores"])
    try:
        for name in names("stores") if third_parties else ():
            known += [] if name in BUILT_IN["stores"] else load("stores", name).schemes
    except CouldNotVerify as problem:
        draft.report(loc, problem.cause, problem.remedy)
        return False
    if scheme not in known:
        draft.report(loc, f"no store serves {scheme}: urls", suggest(scheme, known))
    return scheme in known


def _has_credentials(url: str) -> bool:
    """Whether a url has a password, a signature, or (where no user is expected) a user."""
    scheme, _, rest = url.partition(":")
    if scheme.lower() == "file":
        return False
    authority = re.split(r"[/?#]", rest.removeprefix("//"), maxsplit=1)[0]
    user, at, _ = authority.rpartition("@")
    anywhere = re.match(r"//[^/@]*:[^@]*@", rest)  # a password may hold a slash
    signed = re.search(r"[?&#](?:[\w-]*(?:sig|signature|token|secret|password|pass|key|credential)[\w-]*)=", rest, re.I)
    return bool(anywhere or signed or ":" in user or (at and scheme.lower() in ("s3", "http", "https")))


def _check_file(draft: Draft, loc: Loc, rest: str) -> None:
    if not rest or rest == "//":
        draft.report(loc, "the url names no directory", "write file:///path, or file:path relative to the catalogue")
    elif rest.startswith("//") and not rest.startswith("///"):
        host, _, path = rest[2:].partition("/")
        draft.report(
            loc, f"a file: url has no host, and {shorten(host)} stands where one would be",
            f"write file:///{path} for an absolute path, file:{rest[2:]} for one relative to the catalogue",
        )  # fmt: skip
    elif rest.startswith("~"):
        draft.report(loc, "~ is not expanded", "write the whole path: file:///home/…")
    elif "\0" in rest:
        draft.report(loc, "a path cannot hold a zero byte")


def _check_bucket(draft: Draft, loc: Loc, rest: str) -> None:
    bucket, _, prefix = rest.removeprefix("//").partition("/")
    if not rest.startswith("//") or not bucket:
        draft.report(loc, "an s3: url needs a bucket", "write s3://bucket/prefix")
    elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", bucket):
        draft.report(loc, f"{shorten(bucket)} is not a bucket's name", "write s3://bucket/prefix")
    elif prefix and {"", ".", ".."} & set(prefix.removesuffix("/").split("/")):
        draft.report(loc, "the prefix has empty parts, '.' or '..'", "a key is taken literally: write it plainly")
    elif re.search(r"[?#]", prefix):
        draft.report(loc, "an s3: url has neither ? nor #", "options of the store have keys of their own")
    elif refused := _refused_host(f"//{bucket}"):
        draft.report(loc, refused, "a store is never there")


def _check_options(draft: Draft, loc: Loc, raw: Mapping[str, Any], scheme: str) -> None:
    if scheme == "file":
        for option in _S3_ONLY:
            if raw.get(option) not in (None, False):
                hint = "remove it, or correct the url"
                draft.report((*loc, option), f"{option!r} is an option of s3: stores, not of file:", hint, at_key=True)
    if scheme in BUILT_IN["stores"] and raw.get("options"):
        draft.report(
            (*loc, "options"), f"{scheme}: stores have no options of their own here",
            "remove it; it is for stores that a plug-in brings", at_key=True,
        )  # fmt: skip
    if scheme == "s3" and raw.get("profile") and raw.get("credentials"):
        draft.report(
            (*loc, "profile"), "profile and credentials say two things about who asks", "keep one of them", at_key=True
        )


def _check_endpoint(draft: Draft, loc: Loc, endpoint: str) -> None:
    scheme, _, rest = endpoint.partition(":")
    if _has_credentials(endpoint) or "@" in endpoint:
        draft.report(loc, "an endpoint must not hold credentials", _NEVER_IN_A_URL, secret=True)
    elif scheme.lower() not in ("http", "https") or not re.match(r"//[^/?#]", rest):
        draft.report(loc, "an endpoint is an http: or https: url", "write https://host:port")
    elif refused := _refused_host(rest):
        draft.report(loc, refused, "name the service that holds the backups")


def _refused_host(rest: str) -> str:
    """Why the host of a url is refused, or ``""``."""
    try:
        host = urlsplit(rest).hostname or ""
    except ValueError:
        return "the host of the url cannot be read"
    name = unquote(host).rstrip(".").lower()
    address = _address(name)
    if name in _METADATA_NAMES or (address and any(address in network for network in _METADATA_NETWORKS)):
        return f"{host} serves a machine's own credentials (link-local or metadata address)"
    return ""


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
