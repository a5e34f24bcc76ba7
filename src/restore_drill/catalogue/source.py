"""A file of the catalogue: bytes to text to a tree, within bounds."""

from __future__ import annotations

import re
from pathlib import Path

from restore_drill.catalogue.compose import Composer
from restore_drill.catalogue.nodes import DEFAULT_BOUNDS, LINE_END, Bounds, Document, Stop
from restore_drill.catalogue.problems import Place, Problems

_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


def read_file(path: Path, file: str, problems: Problems, bounds: Bounds = DEFAULT_BOUNDS) -> Document:
    """Read a file; whatever is wrong is noted in ``problems``, and ``root`` is ``None`` when nothing could be read."""
    try:
        with path.open("rb") as stream:
            data = stream.read(bounds.size + 1)
    except OSError as problem:
        problems.add(Place(file), f"the file cannot be read: {problem.strerror or problem}", "check its name and mode")
        return Document(file)
    return read_bytes(data, file, problems, bounds)


def read_bytes(data: bytes, file: str, problems: Problems, bounds: Bounds = DEFAULT_BOUNDS) -> Document:
    """Read the bytes of a file; see :func:`read_file`."""
    document = Document(file, data)
    try:
        document.text = _decode(data, document, problems, bounds)
        document.root = Composer(document, problems, bounds).compose()
    except Stop:
        document.root = None
    return document


def _decode(data: bytes, document: Document, problems: Problems, bounds: Bounds) -> str:
    if len(data) > bounds.size:
        problems.add(
            Place(document.file),
            f"the file is larger than {bounds.size} bytes",
            "split it into files named under include; a catalogue holds no data",
        )
        raise Stop
    try:
        text = data.decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as problem:
        before = data[: problem.start].decode("utf-8").removeprefix("\ufeff")
        document.text = data.decode("utf-8", "replace").removeprefix("\ufeff")
        lines = LINE_END.split(before)
        sixteen = " (it looks like UTF-16)" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        problems.add(
            document.place(len(lines) - 1, len(lines[-1])),
            f"the file is not UTF-8: byte 0x{data[problem.start]:02x}{sixteen}",
            "save it as UTF-8",
        )
        raise Stop from problem
    document.text = text
    if odd := _UNPRINTABLE.search(text):
        lines = LINE_END.split(text[: odd.start()])
        problems.add(
            document.place(len(lines) - 1, len(lines[-1])),
            f"the control character U+{ord(odd[0]):04X} is not allowed",
            'remove it, or write it as an escape in double quotes ("\\x1b")',
        )
        raise Stop
    return text
