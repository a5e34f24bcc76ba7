"""What a web server has in a directory: read from its index page, or from a file that lists names.

HTTP knows no listing (RFC 9110). What is read here are the index pages of nginx, Apache, lighttpd, Caddy and Python's
``http.server`` (HTML), nginx's ``autoindex_format json`` and Caddy's JSON. A page counts as one when it says so itself:
a login page with status 200 must not pass for an empty directory.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

_TITLE = re.compile(r"\s*(index of|directory (listing|index)|\S+ - /)", re.IGNORECASE)
_SUM = re.compile(r"(?:[0-9A-Fa-f]{8,128}|[A-Za-z0-9+/]{22,}={0,2})(?: [ *]|[ \t]+)(?P<name>.+)")
_TAGGED = re.compile(r"[A-Z][A-Za-z0-9/-]*(?:-\d+)? ?\((?P<name>.+)\) ?= ?[0-9A-Fa-f]+")


class NoListing(Exception):
    """What came is no index page; the text says why."""


def names_in_page(page: bytes, url: str) -> Iterator[tuple[str, bool]]:
    """The names that an index page lists, and whether each is a directory.

    Args:
        page: The whole page.
        url: Where it came from, with a slash at its end.

    Raises:
        NoListing: It is none, or is cut off.
    """
    if page.lstrip()[:1] in (b"[", b"n") and b"<" not in page[:64]:
        yield from _of_json(page)
        return
    reader = _Page()
    reader.feed(page.decode("utf-8", "surrogateescape"))
    if not _TITLE.match(reader.title) and not _TITLE.match(reader.heading):
        raise NoListing("what answers is no index page")
    if b"</html" not in page.lower():
        raise NoListing("the index page is cut off")
    seen: set[str] = set()
    for link in reader.links:
        name = _below(link, url)
        if name and name not in seen:
            seen.add(name)
            yield name.removesuffix("/"), name.endswith("/")


def names_in_file(text: bytes) -> Iterator[str]:
    """The names that a file lists: one a line, alone or as checksum programs write them beside a digest.

    Raises:
        NoListing: It is a web page, or empty.
    """
    if text.lstrip()[:1] == b"<":
        raise NoListing("what answers is a web page, and no list of names")
    found = False
    for written in text.decode("utf-8", "surrogateescape").splitlines():
        line = written.strip("\r")
        if not line.strip() or line.startswith("#"):
            continue
        escaped = line.startswith("\\")  # coreutils writes \n and \\ in a name so
        match = _TAGGED.fullmatch(line.removeprefix("\\")) or _SUM.fullmatch(line.removeprefix("\\"))
        name = match["name"] if match else line
        found = True
        yield re.sub(r"\\([n\\])", _unescaped, name).removeprefix("./") if escaped else name.removeprefix("./")
    if not found:
        raise NoListing("the list of names is empty")


def _unescaped(found: re.Match[str]) -> str:
    return "\n" if found[1] == "n" else "\\"


def _of_json(page: bytes) -> Iterator[tuple[str, bool]]:
    try:
        entries = json.loads(page)
    except ValueError as problem:
        raise NoListing("the index page is no whole JSON document") from problem
    for entry in entries or ():
        name = entry.get("name") if isinstance(entry, dict) else None
        if not isinstance(name, str) or not name.strip("/"):
            raise NoListing("the JSON document is no index")
        yield name.removesuffix("/"), _is_directory(entry)


def _is_directory(entry: dict[str, Any]) -> bool:
    return entry.get("type") == "directory" or entry.get("is_dir") is True or str(entry["name"]).endswith("/")


def _below(link: str, url: str) -> str | None:
    """The name that a link leads to when it stands directly in the directory, with a slash at a directory's end."""
    if link.startswith(("?", "#")):
        return None
    try:
        target, here = urlsplit(urljoin(url, link)), urlsplit(url)
    except ValueError:
        return None
    if (target.scheme, target.netloc) != (here.scheme, here.netloc) or target.query:
        return None
    if not target.path.startswith(here.path):
        return None
    rest = target.path[len(here.path) :]
    name = unquote_to_bytes(rest).decode("utf-8", "surrogateescape")
    plain = name.removesuffix("/")
    return None if not plain or "/" in plain or plain in (".", "..") or "\0" in plain else name


class _Page(HTMLParser):
    """The links of a page, its title and its first heading."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.links: list[str] = []
        self.title = ""
        self.heading = ""
        self._inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note links, and where titles begin."""
        if tag == "a":
            self.links += [value for name, value in attrs if name == "href" and value]
        elif tag in ("title", "h1"):
            self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        """Note where titles end."""
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        """Note titles."""
        if self._inside == "title":
            self.title += data
        elif self._inside == "h1":
            self.heading += data
