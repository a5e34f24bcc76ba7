"""Where compiled templates are kept: beside their sources, as Python keeps its modules."""

from __future__ import annotations

import contextlib
import pickle
import sys
from importlib.util import cache_from_source
from pathlib import Path

from jinja2 import BytecodeCache
from jinja2.bccache import Bucket

from restore_drill import __version__
from restore_drill.whole_files import write_whole


class BesideSources(BytecodeCache):
    """Compiling a page's templates takes longer than writing the page; what cannot be kept is compiled again.

    A bucket knows the digest of its source, so that one of another release is not used.
    """

    def get_cache_key(self, name: str, filename: str | None = None) -> str:  # noqa: ARG002 - as the base class has it
        """A template's own name."""
        return name

    def get_source_checksum(self, source: str) -> str:
        """Of the source and of the release: how templates are compiled is part of it."""
        return super().get_source_checksum(f"{__version__} {source}")

    def load_bytecode(self, bucket: Bucket) -> None:
        """Read what an earlier process compiled, if there is any."""
        with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
            bucket.bytecode_from_string(_place(bucket).read_bytes())

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep it for the next process, where this user may write."""
        if not sys.dont_write_bytecode:
            with contextlib.suppress(OSError):
                _place(bucket).parent.mkdir(parents=True, exist_ok=True)
                write_whole(_place(bucket), bucket.bytecode_to_string())


def _place(bucket: Bucket) -> Path:
    source = Path(__file__).parent / "templates" / bucket.key
    return Path(cache_from_source(str(source)))
