"""Faults that can hit any format: which formats each can hit, how the damage is done, and the case that must catch it.

The numbers and the cases are those of the fault catalogue's groups storage, checksum, encryption and archive.
:func:`rows` generates a row for every pair; ``docs/faults.md`` is printed from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache, partial
from typing import Any

from tests.support.contents import altered, sha256, shop, sql, tar
from tests.support.formats import (
    ARCHIVES,
    EXPORTS,
    LAYOUTS,
    LISTINGS,
    SIDECARS,
    STREAMS,
    Archive,
    Export,
    Format,
    Layout,
    Listing,
    Sidecar,
    Stream,
    tree,
)
from tests.support.matrix import AGES, Make, Row, Site, flip
from tests.support.tar_builder import BLOCK, END, header_offsets

_PAGE = b"<!DOCTYPE html>\n<html><body>502 Bad Gateway</body></html>\n"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        number: Its row in the fault catalogue.
        name: What the documents call it.
        harm: Damages a target of a format.
        hits: Whether it can hit a format.
        case: The case that must bear it, per format; empty when nothing may fail.
        says: What its message must say; ``{word}`` stands for what messages call the format.
        verdict: What the case says.
        note: What one of the notes must say.
    """

    number: int
    name: str
    harm: Callable[[Any, Site], object]
    hits: Callable[[Any], bool]
    case: Callable[[Any], str]
    says: Callable[[Any], str] = lambda _: "."
    verdict: str = "failed"
    note: str = ""

    def row(self, form: Format) -> Row:
        """The fault in one format."""
        case = self.case(form)
        return Row(
            self.number, f"{self.name}: {form.name}", _make(form), partial(self.harm, form),
            f"nas/{case}" if case else "", self.says(form) if case else "", "." if case else "",
            verdict=self.verdict, note=self.note,
        )  # fmt: skip


@cache
def _make(form: Format) -> Make:
    def make(site: Site) -> None:
        form.make(site)

    make.__name__ = form.slug
    return make


def of(
    kind: type[Format] | tuple[type[Format], ...], also: Callable[[Any], bool] = lambda _: True
) -> Callable[[Any], bool]:
    """Formats of a kind."""
    return lambda form: isinstance(form, kind) and also(form)


def always(value: str) -> Callable[[Any], str]:
    return lambda _: value


# What is done to a target


def removed(form: Format, site: Site) -> None:
    place = site.places["nas"]
    for path in sorted(site.disk(f"{site.name}").iterdir()):
        place.remove(f"{site.name}/{path.name}")


def stored_as(data: bytes) -> Callable[[Format, Site], None]:
    """The job stored something else, and its digest."""

    def harm(form: Format, site: Site) -> None:
        site.rewrite(data)
        _sign(form, site)

    return harm


def changed(change: Callable[[bytes], bytes], *, before: bool = True) -> Callable[[Format, Site], None]:
    """The stored bytes were changed before (or after) their digest was taken."""

    def harm(form: Format, site: Site) -> None:
        site.rewrite(change(site.bytes()))
        if before:
            _sign(form, site)

    return harm


def _sign(form: Format, site: Site) -> None:
    if not getattr(form, "content_digest", False):
        site.sign()


def repacked(content: Callable[[bytes], bytes]) -> Callable[[Stream, Site], None]:
    """What was backed up was bad already."""
    return lambda form, site: form.rewrite(site, content(shop(site.when(site.newest()))))


def cut_by_a_third(data: bytes) -> bytes:
    return data[: len(data) * 2 // 3]


def upload(minutes: int) -> Callable[[Format, Site], None]:
    """An upload of so many minutes ago is, or was, under way."""

    def harm(form: Format, site: Site) -> None:
        when = site.now - timedelta(minutes=minutes)
        site.places["nas"].write(f"{site.key(when)}.part", site.bytes()[:700], when)

    return harm


def touched(form: Format, site: Site) -> None:
    """An old snapshot was copied or touched: by its modification time it is the newest."""
    oldest = min(path for path in site.disk(site.name).iterdir() if path.name.endswith(form.suffix or ".db"))
    oldest.touch()


def older_than_its_claim(form: Format, site: Site) -> None:
    site.places["nas"].date(site.newest(), site.now - timedelta(days=7))  # type: ignore[attr-defined]


def hashed_before_it_was_packed(form: Stream, site: Site) -> None:
    """``sha256sum`` of the file, then the compression: its digest stands under the name of the file."""
    if not form.content_digest:
        site.places["nas"].remove(f"{site.newest()}.sha256")
    form.sign(site, shop(site.when(site.newest())))


def hashed_before_other_content(form: Stream, site: Site) -> None:
    hashed_before_it_was_packed(form, site)
    site.rewrite(form.pack(_with_fewer_notes(shop(site.when(site.newest())))))


def _with_fewer_notes(data: bytes) -> bytes:
    return altered(data, sql("delete from audit where id = 9"))


def _without_orders(data: bytes) -> bytes:
    return altered(data, sql("delete from orders where id > 100"))


def sidecar(text: str) -> Callable[[Format, Site], None]:
    def harm(form: Format, site: Site) -> None:
        _beside(form, site, text)

    return harm


def _beside(form: Format, site: Site, text: str) -> None:
    key = site.newest()
    if getattr(form, "content_digest", False):
        key = key.removesuffix(form.suffix)
    line = text.format(digest=sha256(site.bytes()), name=key.rpartition("/")[2])
    site.places["nas"].write(f"{key}.sha256", line.encode(), site.now)


def without_digest(form: Format, site: Site) -> None:
    key = site.newest()
    if getattr(form, "content_digest", False):
        key = key.removesuffix(form.suffix)
    site.places["nas"].remove(f"{key}.sha256")


def other_key(form: Stream, site: Site) -> None:
    site.options["decrypt"] = {form.codec: form.secrets(site, form.wrong)}


def key_gone(form: Stream, site: Site) -> None:
    lost = dict.fromkeys(form.keys, "file:../keys/of-the-lost-system")
    site.options["decrypt"] = {form.codec: {**lost, **form.options}}


def in_the_clear(form: Stream, site: Site) -> None:
    content = shop(site.when(site.newest()))
    site.rewrite(content)
    site.sign()
    if form.content_digest:
        form.sign(site, content)


def twice(form: Stream, site: Site) -> None:
    """Two streams, one after the other."""
    content = shop(site.when(site.newest()))
    site.rewrite(form.pack(content[:9000]) + form.pack(content[9000:]))
    site.sign()


def among_files(
    change: Callable[[list[tuple[str, bytes]]], list[tuple[str, bytes]]],
) -> Callable[[Archive, Site], None]:
    """The tree was changed before it was packed; the manifest inside is that of the tree before."""
    return lambda form, site: form.rewrite(site, change(tree("other")))


def _without_one(entries: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [entry for entry in entries if entry[0] != "letters/003.txt"]


def _with_one_more(entries: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [*entries, ("letters/other.txt", b"other\n")]


def _with_one_changed(entries: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [(name, b"other\n" if name == "letters/003.txt" else content) for name, content in entries]


def _with_one_twice(entries: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [*entries, ("letters/003.txt", b"other\n")]


def _with_a_bad_manifest(entries: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    return [(name, b"<<<<<<< HEAD\n" if name == "SHA256SUMS" else content) for name, content in entries]


def at_member(change: Callable[[bytes, int], bytes], *, inside: bool = False) -> Callable[[Archive, Site], None]:
    """Damage a tar archive where a header stands; ``inside`` what it is wrapped in."""

    def harm(form: Archive, site: Site) -> None:
        data = form.pack(tree("other")) if not inside else tar(dict(tree("other")), site.now)
        offsets = header_offsets(data)
        # A member with extended headers must be hit in its own.
        damaged = change(data, offsets[2 * (len(offsets) // 4)])
        site.rewrite(form.wraps(damaged) if inside and form.wraps else damaged)
        site.sign()

    return harm


def two_archives(form: Archive, site: Site) -> None:
    entries = tree("other")
    site.rewrite(form.pack(entries[:7]) + form.pack(entries[7:]))
    site.sign()


def _boundary(data: bytes, at: int) -> bytes:
    return data[:at]


def _boundary_and_end(data: bytes, at: int) -> bytes:
    return data[:at] + END


def _bad_header(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _zero_blocks(data: bytes, at: int) -> bytes:
    return data[:at] + END + data[at:]


def _inside_a_member(data: bytes, at: int) -> bytes:
    return data[: at + BLOCK + 100]


def _other_letter(data: bytes, at: int) -> bytes:
    place = data.index(b"letter 7\n") + 3
    return flip(place)(data)


def resigned(text: str) -> Callable[[Sidecar, Site], None]:
    """Another line stands in the sidecar."""
    return lambda form, site: form.sign(site, text=text)


def not_accepted(form: Sidecar, site: Site) -> None:
    """The catalogue does not say that a weak digest is enough."""
    del site.options["checksum"]


def unknown_algorithm(form: Sidecar, site: Site) -> None:
    form.sign(site, text="WHIRLPOOL ({name}) = {digest}\n")


def without_sidecar(form: Sidecar, site: Site) -> None:
    site.places["nas"].remove(f"{site.newest()}{form.suffix}")


def in_the_tree(name: str, data: bytes | None) -> Callable[[Listing, Site], None]:
    """A file of the newest generation is written or removed."""

    def harm(form: Listing, site: Site) -> None:
        key = f"{site.newest()}{form.below}{name}"
        if data is None:
            site.places["nas"].remove(key)
        else:
            site.places["nas"].write(key, data, site.now)

    return harm


def of_the_listing(change: Callable[[bytes], bytes]) -> Callable[[Listing, Site], None]:
    """The manifest of the newest generation is another one."""

    def harm(form: Listing, site: Site) -> None:
        key = f"{site.newest()}{form.manifest}"
        site.places["nas"].write(key, change(site.places["nas"].read(key)), site.now)

    return harm


def _line_again(data: bytes) -> bytes:
    """A file is listed twice, the second time with another digest."""
    line = next(line for line in data.splitlines(keepends=True) if b"letters/003.txt" in line)
    at = data.rindex(b"\n") + 1
    return data[:at] + _other(line)


def _other(line: bytes) -> bytes:
    """A manifest's line with another SHA-256 in it."""
    found = re.search(rb"[0-9a-f]{64}", line)
    assert found
    return line.replace(found[0], found[0][::-1])


def _other_digest(data: bytes) -> bytes:
    line = next(line for line in data.splitlines(keepends=True) if b"letters/003.txt" in line)
    return data.replace(line, _other(line))


def all_removed(form: Layout, site: Site) -> None:
    for path in sorted(site.disk(site.name).rglob("*")):
        if path.is_file():
            path.unlink()


def of_the_newest(
    change: Callable[[bytes], bytes], *, piece: int = 0, signed: bool = True
) -> Callable[[Layout, Site], None]:
    """An object of the newest snapshot has other bytes."""

    def harm(form: Layout, site: Site) -> None:
        key = form.newest(site)[piece]
        site.rewrite(change(site.places["nas"].read(key)), key=key)
        if signed:
            site.sign(key=key)

    return harm


def without_the_middle(form: Layout, site: Site) -> None:
    key = form.newest(site)[1]
    site.places["nas"].remove(key)
    site.places["nas"].remove(f"{key}.sha256")


def unmarked(minutes: int) -> Callable[[Layout, Site], None]:
    """A snapshot of so many minutes ago, of which nothing says that it is complete."""
    return lambda form, site: form.put(site, timedelta(minutes=minutes), marked=False)


def oldest_touched(form: Layout, site: Site) -> None:
    for name in form.names(site.now - AGES[0], len(AGES) - 1):
        site.disk(f"{site.name}/{name}").touch()


def newest_kept_its_time(form: Layout, site: Site) -> None:
    for key in form.newest(site):
        site.places["nas"].date(key, site.now - timedelta(days=7))  # type: ignore[attr-defined]


# What each must be caught by


def _cut_is_caught(form: Format) -> str:
    if isinstance(form, Export):
        return form.cut
    return "restores" if isinstance(form, Stream) and form.is_plain else "unpacks"


def _named(form: Format) -> str:
    return form.word or form.name


_STREAM = of(Stream)
_ANY = of((Stream, Archive, Export))
_SIDECAR = of(Sidecar)
_LISTING = of(Listing)
_LAYOUT = of(Layout)
_EXPORT = of(Export)
_MARKED = of(Layout, lambda form: form.has_marker)
_ROTATES = of(Layout, lambda form: "{rotation" in form.path)
_NAMED = of(Layout, lambda form: "{rotation" not in form.path)
_PACKED = of(Stream, lambda form: not form.is_plain)
_ENCRYPTED = of(Stream, lambda form: bool(form.codec))
_SEALED = of(Stream, lambda form: bool(form.codec) and not form.content_digest)
_ARCHIVE = of(Archive)
_BLOCKS = of(Archive, lambda form: form.blocks)
_WRAPPED = of(Archive, lambda form: form.wraps is not None)
_CHECKS = of(Stream, lambda form: form.checks and not form.is_plain)
_BLIND = of(Stream, lambda form: not form.checks)

FAULTS: Sequence[Fault] = [
    Fault(1, "no snapshot at all", removed, _ANY, always("located"), always("no snapshot")),
    Fault(2, "0-byte object", stored_as(b""), _ANY, always("located"), always(r"it is empty \(0 bytes\)")),
    Fault(
        3, "error page stored as a dump", stored_as(_PAGE), _ANY, always("fetched"), always("begins like an HTML page")
    ),
    Fault(
        3, "error page packed", lambda form, site: form.rewrite(site, _PAGE), _PACKED, always("unpacks"),
        always("begins like an HTML page"),
    ),
    Fault(4, "cut by a third", changed(cut_by_a_third), _ANY, _cut_is_caught, always(".")),
    Fault(
        4, "cut after its digest was taken", changed(cut_by_a_third, before=False), _ANY,
        lambda form: "unpacks" if getattr(form, "content_digest", False) else "checksum",
    ),
    Fault(6, "upload under way", upload(2), _ANY, always(""), note="stepped over .*part: it has the name of an upload"),
    Fault(
        6, "upload that never ended", upload(18), _ANY, always("located"), always("was begun .* ago and never finished")
    ),
    Fault(7, "newest by mtime is wrong", touched, _ANY, always("")),
    Fault(
        7, "older than the time it claims", older_than_its_claim, _ANY, always("located"),
        always("older than the time it claims|was written .* before"),
    ),
    Fault(9, "digest taken before it was packed", hashed_before_it_was_packed, _PACKED, always("")),
    Fault(
        9, "the same with other content", hashed_before_other_content, _PACKED, always("checksum"),
        always("sha256 of the content bytes"),
    ),
    Fault(
        10, "sidecar names another file", sidecar("{digest}  other.db\n"), _ANY, always("checksum"),
        always("speaks of other.db"),
    ),
    Fault(11, "sidecar missing", without_digest, _ANY, always("checksum"), always(".")),
    Fault(11, "sidecar empty", sidecar(""), _ANY, always("checksum"), always("holds no digest line")),
    Fault(
        11, "sidecar without a valid line", sidecar("sha256sum: no such file\n"), _ANY, always("checksum"),
        always("line 1 is not a digest line"),
    ),
    Fault(1, "no snapshot at all", all_removed, _LAYOUT, always("located"), always("no snapshot")),
    Fault(2, "0-byte object", of_the_newest(lambda data: b""), _LAYOUT, always("located"), always("empty")),
    Fault(
        3, "error page stored as a dump", of_the_newest(lambda data: _PAGE), _LAYOUT, always("fetched"),
        always("begins like an HTML page"),
    ),
    Fault(
        4, "end missing", of_the_newest(cut_by_a_third, piece=-1), _LAYOUT, always("restores"), always("."),
    ),
    Fault(
        4, "part missing", without_the_middle, of(Layout, lambda form: "{part" in form.path), always("fetched"),
        always("missing"),
    ),
    Fault(6, "newest without its mark, of now", unmarked(2), _MARKED, always(""), note="stepped over"),
    Fault(
        6, "newest without its mark, of a while ago", unmarked(18), _MARKED, always("located"),
        always("not complete|marker|LATEST"),
    ),
    Fault(7, "newest by mtime is wrong", oldest_touched, _NAMED, always("")),
    Fault(7, "a number contradicts the times", oldest_touched, _ROTATES, always("located"), always("is newer than")),
    Fault(
        7, "older than the time it claims", newest_kept_its_time, _NAMED, always("located"),
        always("older than the time it claims|was written .* before"),
    ),
    Fault(
        27, "content changed", of_the_newest(flip(0.5), signed=False), _LAYOUT, always("checksum"),
        always("recorded is"),
    ),
    Fault(
        10, "it names another file", resigned("{digest}  other.db\n"), _SIDECAR, always("checksum"),
        always("speaks of other.db"),
    ),
    Fault(11, "it is missing", without_sidecar, _SIDECAR, always("checksum"), always("no digest is recorded")),
    Fault(11, "it is empty", resigned(" \n"), _SIDECAR, always("checksum"), always("holds no digest line")),
    Fault(12, "content changed", changed(flip(0.5), before=False), _SIDECAR, always("checksum"), always("recorded is")),
    Fault(14, "unknown algorithm", unknown_algorithm, _SIDECAR, always("checksum"), always("whirlpool")),
    Fault(
        14, "weak, and not accepted", not_accepted, of(Sidecar, lambda form: form.weak), always("checksum"),
        always("(?i)only an? "),
    ),
    Fault(
        15, "malformed manifest", of_the_listing(lambda data: data + b"<<<<<<< HEAD\n"), _LISTING,
        always("checksum"), always("."),
    ),
    Fault(
        15, "tampered manifest", of_the_listing(_other_digest), _LISTING, always("checksum"),
        always("differ|digest|tag"),
    ),
    Fault(15, "empty manifest", of_the_listing(lambda data: b""), _LISTING, always("checksum"), always(".")),
    Fault(
        15, "tampered file", in_the_tree("letters/003.txt", b"other\n"), _LISTING, always("checksum"),
        always("differ"),
    ),
    Fault(16, "missing file", in_the_tree("letters/003.txt", None), _LISTING, always("files"), always("missing")),
    Fault(16, "extra file", in_the_tree("letters/other.txt", b"other\n"), _LISTING, always("files"), always("not in")),
    Fault(17, "duplicate paths", of_the_listing(_line_again), _LISTING, always("checksum"), always("again|digest|tag")),
    Fault(
        13, "digest taken after the corruption", repacked(_without_orders), _STREAM, always("rows/orders"),
        always("orders has 100 rows"),
    ),
    Fault(
        13, "digest taken after a file was changed", among_files(_with_one_changed), _ARCHIVE, always("files"),
        always("1 files? differs? from the manifest"),
    ),
    Fault(
        15, "malformed manifest inside", among_files(_with_a_bad_manifest), _ARCHIVE, always("files"),
        always("manifest"),
    ),
    Fault(
        16, "missing file", among_files(_without_one), _ARCHIVE, always("files"),
        always("1 files of the manifest are missing"),
    ),
    Fault(
        16, "extra file", among_files(_with_one_more), _ARCHIVE, always("files"),
        always("1 files are not in the manifest"),
    ),
    Fault(
        17, "duplicate paths", among_files(_with_one_twice), of(Archive, lambda form: form.duplicates),
        always("unpacks"), always("two members have the same path"),
    ),
    Fault(19, "wrong key", other_key, _ENCRYPTED, always("unpacks"), verdict="error"),
    Fault(
        19, "lost key", key_gone, _ENCRYPTED, always("unpacks"), always("of-the-lost-system|cannot be read"),
        verdict="error",
    ),
    Fault(20, "truncated ciphertext", changed(lambda data: data[:-40]), _ENCRYPTED, _cut_is_caught),
    Fault(
        21, "ciphertext changed, then hashed", changed(flip(0.7)), _ENCRYPTED,
        lambda form: "checksum" if form.content_digest else "unpacks",
    ),
    Fault(23, "nothing encrypted", in_the_clear, _ENCRYPTED, always("encrypted"), always("can be read without a key")),
    Fault(25, "content changed, then hashed", changed(flip(0.5)), _CHECKS, always("unpacks")),
    Fault(26, "last bytes missing", changed(lambda data: data[:-3]), _PACKED, _cut_is_caught),
    Fault(27, "content changed", changed(flip(0.5), before=False), _ANY, always("checksum"), always("recorded is")),
    Fault(
        28, "trailing garbage", changed(lambda data: data + b"garbage\n"), _PACKED, always("unpacks"),
    ),
    Fault(28, "trailing garbage on an archive", changed(lambda data: data + b"garbage\n"), _ARCHIVE, always("unpacks")),
    Fault(29, "cut at a member boundary", at_member(_boundary), _BLOCKS, always("unpacks"), always("end")),
    Fault(
        29, "the same, end blocks added", at_member(_boundary_and_end), _BLOCKS, always("files"),
        always("manifest"),
    ),
    Fault(30, "bad header mid-tar", at_member(_bad_header), _BLOCKS, always("unpacks"), always("header")),
    Fault(
        31, "zero blocks mid-tar", at_member(_zero_blocks), _BLOCKS, always("unpacks"),
        always("another archive or more members follow"),
    ),
    Fault(32, "concatenated, where that is one", twice, of(Stream, lambda form: form.joins), always("")),
    Fault(
        32, "concatenated, where that is none", twice,
        of(Stream, lambda form: not (form.joins or form.is_plain or form.content_digest)), always("unpacks"),
    ),
    Fault(32, "concatenated archives", two_archives, _BLOCKS, always("unpacks"), always("archive|end")),
    Fault(
        33, "bit flip in tar data", at_member(_other_letter, inside=True), _WRAPPED, always("files"),
        always("1 files? differs? from the manifest"),
    ),
    Fault(
        33, "tar cut inside a member", at_member(_inside_a_member, inside=True), _WRAPPED, always("unpacks"),
        always("ends inside a member|end"),
    ),
    Fault(
        35, "zero files restored", lambda form, site: form.rewrite(site, []), of(Archive, lambda form: form.empty),
        always("restores"), always("nothing came back"),
    ),
]  # fmt: skip

#: What the document's tables are called → the formats in them.
GROUPS: Mapping[str, Sequence[Format]] = {
    "One object that holds one database": STREAMS,
    "One object that holds a tree": ARCHIVES,
    "Exports of other systems": EXPORTS,
    "Layouts": LAYOUTS,
    "The digest beside an object": SIDECARS,
    "The manifest of a tree": LISTINGS,
}


def rows() -> Iterator[Row]:
    """Every fault in every format that it can hit."""
    for fault in FAULTS:
        for formats in GROUPS.values():
            yield from (fault.row(form) for form in formats if fault.hits(form))


def document() -> str:
    """The matrix as a page."""
    return "\n".join([_HEAD, *(line for title in GROUPS for line in _table(title)), ""])


_HEAD = """# Faults

Which case catches which damage, in every format that it can hit. Each cell is a backup that was made by the format's
own program, damaged, and drilled in the project's tests: exactly the case named there fails (`error` where the cell
says so: nothing is known of the backup), every other case is green or blocked by it, and the undamaged twin beside it
is green throughout. `green` means that nothing may fail; a dot, that the fault cannot hit the format.

The numbers are those of the project's fault catalogue. This page is printed by the test that drills the cells:
`RESTORE_DRILL_PRINT=1 ci/test tests/e2e/test_fault_matrix.py`.
"""


def _table(title: str) -> Iterator[str]:
    formats = GROUPS[title]
    yield f"## {title}\n"
    yield f"| # | fault | {' | '.join(form.name for form in formats)} |"
    yield f"|---|---|{'---|' * len(formats)}"
    for fault in FAULTS:
        cells = [_cell(fault, form) for form in formats]
        if set(cells) != {"·"}:
            yield f"| {fault.number} | {fault.name} | {' | '.join(cells)} |"
    yield ""


def _cell(fault: Fault, form: Format) -> str:
    if not fault.hits(form):
        return "·"
    case = fault.case(form).partition("/")[0] or "green"
    return f"{case}: error" if fault.verdict == "error" else case
