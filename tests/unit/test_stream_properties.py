"""What holds of any content in any format: the reference tool's bytes and digests come back, and damage does not."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.formats import STREAMS, Stream

from restore_drill.errors import RestoreDrillError
from restore_drill.recognise import codec_detector
from restore_drill.secrets import SecretReference
from restore_drill.stream import Peeled, Peeling

PACKED = [form for form in STREAMS if not form.is_plain]
#: Formats whose own program has to be started for every example get fewer of them.
_FEW = {True: 12, False: 60}
_CONTENT = st.one_of(
    st.binary(min_size=1, max_size=3000),
    st.builds(lambda piece, times: piece * times, st.binary(min_size=1, max_size=40), st.integers(1, 5000)),
    st.builds(lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 99), st.integers(1, 200_000)),
)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, object]]]:
    """The secrets of every format that needs some, as references to files."""
    root: Path = tmp_path_factory.mktemp("keys")
    found: dict[str, dict[str, dict[str, object]]] = {}
    for form in PACKED:
        for name, text in form.keys.items():
            path = root / f"{form.slug}-{name}"
            path.write_text(text)
            path.chmod(0o600)
            secrets = found.setdefault(form.slug, {}).setdefault(form.codec, dict(form.options))
            secrets[name] = SecretReference("file", str(path))
    return found


def peeled(form: Stream, stored: bytes, cuts: list[int], keys: dict[str, dict[str, dict[str, object]]]) -> Peeled:
    """A stored object on its way, in chunks that end at these places."""
    # Content may look like another format: the layers are given, as a catalogue may.
    layers = (form.codec or form.name.split()[0],)
    how = Peeling(
        name=f"x{form.suffix}", size=len(stored), wanted=lambda names: frozenset({"sha256"}),
        detect=codec_detector(keys.get(form.slug, {}), layers),  # type: ignore[arg-type]
    )  # fmt: skip
    return Peeled(chunks(stored, cuts), how)


def chunks(stored: bytes, cuts: list[int]) -> Iterator[bytes]:
    ends = sorted({end % (len(stored) + 1) for end in cuts} | {len(stored)})
    start = 0
    for end in ends:
        yield stored[start:end]
        start = end


def decoded(stream: Peeled) -> bytes:
    """The content; what broke is raised, whatever had come until then."""
    try:
        stream.open()
        return b"".join(stream.content())
    finally:
        stream.finish()


def _limited(form: Stream) -> settings:
    starts_programs = form.slug not in {"gzip", "bzip2", "xz", "zstd", "zstd-without-checksum", "age"}
    return settings(
        max_examples=_FEW[starts_programs], deadline=None, database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
    )  # fmt: skip


@pytest.mark.parametrize("form", PACKED, ids=lambda form: form.slug)
def test_any_content_in_any_chunking_comes_back(form: Stream, keys: dict[str, dict[str, dict[str, object]]]) -> None:
    @_limited(form)
    @given(_CONTENT, st.lists(st.integers(0, 1 << 20), max_size=30))
    def holds(content: bytes, cuts: list[int]) -> None:
        stored = form.pack(content)
        stream = peeled(form, stored, cuts, keys)
        assert decoded(stream) == content
        first, last = stream.layers
        assert first.whole and last.whole
        assert (first.size, first.digests["sha256"]) == (len(stored), hashlib.sha256(stored).hexdigest())
        assert (last.size, last.digests["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())

    holds()


_DAMAGE = st.sampled_from(["flip", "cut", "insert", "drop", "swap"])


def damage(stored: bytes, how: str, at: int, other: int) -> bytes:
    """One piece of damage somewhere in it."""
    place, second = at % len(stored), other % len(stored)
    if how == "flip":
        return stored[:place] + bytes([stored[place] ^ (1 << other % 8)]) + stored[place + 1 :]
    if how == "cut":
        return stored[:place]
    if how == "insert":
        return stored[:place] + bytes([other % 256]) + stored[place:]
    if how == "drop":
        return stored[:place] + stored[place + 1 :]
    first, last = sorted((place, second))
    return stored[:first] + stored[last : last + 1] + stored[first + 1 : last] + stored[first : first + 1] + stored[
        last + 1 :
    ] if first != last else stored  # fmt: skip


@pytest.mark.parametrize("form", PACKED, ids=lambda form: form.slug)
def test_any_single_damage_is_caught(form: Stream, keys: dict[str, dict[str, dict[str, object]]]) -> None:
    """By the format itself, where it authenticates or checks its content, and always by the digest of what is stored.

    What a format does not protect (a name, a time in a header) may be damaged as long as the content is the same.
    """

    @_limited(form)
    @given(_CONTENT, _DAMAGE, st.integers(0, 1 << 20), st.integers(0, 1 << 20))
    def holds(content: bytes, how: str, at: int, other: int) -> None:
        stored = form.pack(content)
        bad = damage(stored, how, at, other)
        stream = peeled(form, bad, [1000, 70_000], keys)
        try:
            came_out = decoded(stream)
        except RestoreDrillError:
            came_out = content
        assert came_out == content or not form.checks
        assert stream.layers[0].digests["sha256"] == hashlib.sha256(bad).hexdigest()
        assert bad == stored or stream.layers[0].digests["sha256"] != hashlib.sha256(stored).hexdigest()

    holds()
