"""What the headers of an answer say of an object: its size, its version, when it was changed, its digests."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from restore_drill import digests
from restore_drill.model import Artifact


@dataclass(frozen=True)
class Seen:
    """An object as the headers of an answer describe it; their names are in lower case."""

    artifact: Artifact
    headers: Mapping[str, str]


def described(key: str, answer: Any) -> Seen | None:
    """What an answer says of an object, ``None`` when it says too little."""
    headers = lowered(answer)
    if answer.status == 206:
        size = headers.get("content-range", "").rpartition("/")[2]
        headers.pop("content-md5", None)  # of the part that was sent (RFC 1864)
    elif answer.status == 200:
        size = headers.get("content-length", "")
    else:
        return None
    modified = _time(headers.get("last-modified", ""))
    if not size.isdigit() or modified is None:
        return None
    return Seen(Artifact(key, int(size), modified, etag=marker(headers)), headers)


def lowered(answer: Any) -> dict[str, str]:
    """The headers of an answer, their names in lower case."""
    return {str(name).lower(): str(value) for name, value in answer.headers.items()}


def marker(headers: Mapping[str, str]) -> str:
    """What tells one version of an object from another."""
    return headers.get("etag") or headers.get("last-modified", "")


def is_page(key: str, kind: str) -> bool:
    """Whether a web page answers in the place of something that is none by its name.

    Args:
        key: The name.
        kind: The header ``Content-Type``.
    """
    page = kind.partition(";")[0].strip().lower() in ("text/html", "application/xhtml+xml")
    return page and not re.search(r"\.x?html?(\.|$)", key, re.IGNORECASE)


def digests_in(headers: Mapping[str, str]) -> Iterator[tuple[str, str, str]]:
    """Field, algorithm and base64 of every digest that the headers hold (RFC 9530, RFC 3230, RFC 1864)."""
    for field in ("repr-digest", "digest"):
        for written in headers.get(field, "").split(","):
            name, equals, value = written.strip().partition("=")
            known = digests.canonical(name) if equals else ""
            if known:
                yield field, known, value.partition(";")[0].strip(": ")
    if "content-md5" in headers:
        yield "content-md5", "md5", headers["content-md5"]


def _time(text: str) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None
