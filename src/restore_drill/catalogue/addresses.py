"""Addresses of stores and of the state: what may stand in a url and beside it, and which places lie in one another.

What a kind of store knows it declares itself (:mod:`restore_drill.stores.base`); here it is compared with what is
written. Nothing is looked up: a name that only a resolver leads to an inner address, and symbolic links, are for the
code that connects to them. Host names are compared as they are written.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from restore_drill import hosts
from restore_drill.catalogue.gather import Draft, Loc
from restore_drill.catalogue.places import local_root
from restore_drill.catalogue.problems import suggest
from restore_drill.errors import CouldNotVerify
from restore_drill.registry import BUILT_IN, load, names, store_of
from restore_drill.stores.base import BESIDE_THE_URL, Address, Store

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_SIGNED = re.compile(r"[?&#](?:[\w-]*(?:sig|signature|token|secret|password|pass|key|credential)[\w-]*)=", re.I)
_NEVER_IN_A_URL = "name them under credentials, as env:, file:, sops: or command: references"
#: What the state can be kept in.
_OF_THE_STATE = ("file", "s3")


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
    """Note what is wrong with the url, the endpoint, their options and the names of their credentials.

    Args:
        draft: The catalogue.
        loc: Where the store or the state stands.
        raw: Its raw mapping.
        store: Whether it is a store; the state knows two schemes only.
    """
    url = raw.get("url")
    kind = _kind(draft, (*loc, "url"), url, store) if isinstance(url, str) and url else None
    if kind is not None:
        _Checked(draft, loc, raw, str(url), kind).check()
    endpoint = raw.get("endpoint")
    if isinstance(endpoint, str) and not endpoint.startswith(("env:", "file:", "sops:")):
        _check_endpoint(draft, (*loc, "endpoint"), endpoint)


def _kind(draft: Draft, loc: Loc, url: str, store: bool) -> type[Store] | None:
    """The class that serves a url; ``None`` when there is none, or its scheme is as far as it can be trusted."""
    found = _SCHEME.fullmatch(url)
    if found is None:
        path = url if "@" not in url else "…"
        draft.report(
            loc, "the url has no scheme", f"write file:{path} for a directory, s3://bucket/prefix for a bucket",
            secret="@" in url,
        )  # fmt: skip
        return None
    scheme = found[1].lower()
    secret = _holds_secret(scheme, found[2])
    if secret:
        draft.report(loc, "a url must not hold credentials", _NEVER_IN_A_URL, secret=True)
    kind: type[Store] | None = None
    try:
        known = _schemes(third_parties=store)
        if scheme in known:
            kind = store_of(scheme)
        elif not secret:
            draft.report(loc, f"no store serves {scheme}: urls", suggest(scheme, known))
    except CouldNotVerify as problem:
        if scheme not in BUILT_IN["stores"]:  # what a built-in one needs, the drill asks for
            draft.report(loc, problem.cause, problem.remedy)
    return kind


def _schemes(*, third_parties: bool) -> list[str]:
    """What stores are registered for; third parties are imported to ask them."""
    if not third_parties:
        return list(_OF_THE_STATE)
    known = list(BUILT_IN["stores"])
    for name in names("stores"):
        known += [] if name in BUILT_IN["stores"] else load("stores", name).schemes
    return known


def _holds_secret(scheme: str, rest: str) -> bool:
    """Whether a url has a password or a signature."""
    if scheme == "file":
        return False
    user = _authority(rest).rpartition("@")[0]
    anywhere = re.match(r"//[^/@]*:[^@]*@", rest)  # a password may hold a slash
    return bool(anywhere or _SIGNED.search(rest) or ":" in user)


def _authority(rest: str) -> str:
    return re.split(r"[/?#]", rest.removeprefix("//"), maxsplit=1)[0]


class _Checked:
    """One address compared with what its kind of store declares.

    Args:
        draft: The catalogue.
        loc: Where the address stands.
        raw: It.
        url: Its url.
        kind: The class that serves it.
    """

    def __init__(self, draft: Draft, loc: Loc, raw: Mapping[str, Any], url: str, kind: type[Store]) -> None:
        self._draft = draft
        self._loc = loc
        self._raw = raw
        self._kind = kind
        given = raw.get("credentials")
        self._credentials = given if isinstance(given, Mapping) else {}
        written = raw.get("options")
        self._options = written if isinstance(written, Mapping) else {}
        self._address = Address(url, dict(self._well_formed()), frozenset(map(str, self._credentials)))

    def check(self) -> None:
        """Note everything."""
        self._check_beside()
        self._check_options()
        self._check_credentials()
        refused = self._check_url()
        for trouble in self._kind.check(self._address):
            if trouble.at == "url" and refused:
                continue  # what stands in it is not looked at any closer
            refused |= trouble.at == "url"
            loc = self._where(trouble.at)
            at_key = trouble.at != "url"
            self._draft.report(loc, trouble.message, trouble.hint, at_key=at_key, secret=trouble.secret)
        for at, url in self._kind.hosts(self._address):
            why = hosts.refusal(url)
            if why and not (at == "url" and refused):
                self._draft.report(self._where(at), why, "a store is never there", at_key=at != "url")

    def _check_url(self) -> bool:
        """Whether the url was found to hold what it must not."""
        user = _authority(self._address.rest).rpartition("@")[1]
        secret = _holds_secret(self._address.scheme, self._address.rest)
        if user and not secret and not self._kind.user_in_url:
            self._draft.report((*self._loc, "url"), "a url must not hold credentials", _NEVER_IN_A_URL, secret=True)
        return secret or bool(user and not self._kind.user_in_url)

    def _check_beside(self) -> None:
        """Options that stand beside the url, because several kinds of store have them."""
        known = {**self._kind.options, **({"ranges": None} if self._kind.reads_ranges else {})}
        for name in (*BESIDE_THE_URL, "ranges"):
            if self._raw.get(name) not in (None, False) and name not in known:
                hint = "remove it, or correct the url"
                self._report(name, f"{self._address.scheme}: stores have no option {name!r}", hint)

    def _check_options(self) -> None:
        known = {name: option for name, option in self._kind.options.items() if name not in BESIDE_THE_URL}
        for name, value in self._options.items():
            if name in self._kind.options and name not in known:
                self._report(name, f"{name!r} stands beside the url", "move it out of options", "options")
            elif name not in known:
                hint = suggest(str(name), known) or "remove it: they have none under options"
                self._report(name, f"{self._address.scheme}: stores have no option {name!r}", hint, "options")
            elif not known[name].takes(value):
                hint = f"{known[name].description.removesuffix('.')}, for example {name}: {known[name].example}"
                loc = (*self._loc, "options", name)
                self._draft.report(loc, f"{name!r} needs {known[name].wanted}", hint)
        for name, option in known.items():
            if option.required and name not in self._options:
                hint = f"{option.description.removesuffix('.')}, for example {name}: {option.example}"
                self._report("options" if self._options else "", f"{name!r} is missing in 'options'", hint)

    def _check_credentials(self) -> None:
        known = self._kind.credentials
        if not isinstance(self._raw.get("credentials"), Mapping):
            return
        if not known:
            message = f"{self._address.scheme}: stores have no option 'credentials'"
            self._report("credentials", message, "remove it, or correct the url")
            return
        for name in self._credentials:
            if name not in known:
                loc = (*self._loc, "credentials", name)
                self._draft.report(loc, f"unknown option {name!r}", suggest(str(name), known), at_key=True, secret=True)
        for name, credential in known.items():
            if credential.required and name not in self._credentials:
                hint = f"{credential.description.removesuffix('.')}, for example {name}: env:BACKUP_{name.upper()}"
                self._report("credentials", f"{name!r} is missing in 'credentials'", hint)

    def _well_formed(self) -> Iterator[tuple[str, Any]]:
        for name, option in self._kind.options.items():
            value = (self._raw if name in BESIDE_THE_URL else self._options).get(name)
            is_secret = name == "endpoint" and isinstance(value, str) and value.startswith(("env:", "file:", "sops:"))
            if value is not None and not is_secret and option.takes(value):
                yield name, value

    def _where(self, at: str) -> Loc:
        if at in self._kind.options and at not in BESIDE_THE_URL:
            return (*self._loc, "options", at)
        return (*self._loc, "credentials", at) if at in self._kind.credentials else (*self._loc, at)

    def _report(self, name: Any, message: str, hint: str, *within: str) -> None:
        loc: Loc = (*self._loc, *within, name) if name else self._loc
        self._draft.report(loc, message, hint, at_key=True)


def _check_endpoint(draft: Draft, loc: Loc, endpoint: str) -> None:
    scheme, _, rest = endpoint.partition(":")
    if _holds_secret(scheme.lower(), rest) or "@" in endpoint:
        draft.report(loc, "an endpoint must not hold credentials", _NEVER_IN_A_URL, secret=True)
    elif scheme.lower() not in ("http", "https") or not re.match(r"//[^/?#]", rest):
        draft.report(loc, "an endpoint is an http: or https: url", "write https://host:port")
    elif refused := hosts.refusal(rest):
        draft.report(loc, refused, "name the service that holds the backups")
