"""Texts that the catalogue names and that lie beside it: references that somebody reviewed, runbooks."""

from __future__ import annotations

from pathlib import Path


def read_document(path: Path, what: str, most: int) -> tuple[str, bytes]:
    """A document, whole, as text and as it is stored.

    Args:
        path: Where it is.
        what: What messages call it.
        most: Bytes that it may have.

    Raises:
        ValueError: It cannot be read; the message says why.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(most + 1)
    except OSError as problem:
        raise ValueError(f"{what} cannot be read: {problem.strerror}") from problem
    if len(data) > most:
        raise ValueError(f"{what} is larger than {most >> 20} MiB")
    try:
        return data.decode("utf-8").removeprefix("\ufeff"), data
    except UnicodeDecodeError as problem:
        raise ValueError(f"{what} is not UTF-8") from problem
