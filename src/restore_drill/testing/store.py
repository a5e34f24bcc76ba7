"""What every store must do: subclass :class:`StoreConformance` in a test module, and pytest runs it.

::

    class TestMyStore(StoreConformance):
        @pytest.fixture
        def store(self):
            return MyStore(StoreSettings("mine", "my://place", read_deadline=2))

        @pytest.fixture
        def put(self):
            return lambda key, data: my_client.write(key, data)

        @pytest.fixture
        def remove(self):
            return my_client.delete

        @pytest.fixture
        def make_unreachable(self):
            return lambda: MyStore(StoreSettings("mine", "my://nowhere", connect_deadline=1))

The store is empty when a test begins. What a test writes, it writes behind the store's back, as a backup job does.
"""

# ruff: noqa: S101, S311 - assertions are what this is for, and its random data is meant to be the same each time

from __future__ import annotations

import contextlib
import random
import re
import tracemalloc
from collections.abc import Callable, Iterator
from typing import ClassVar

import pytest

from restore_drill import digests
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Stage
from restore_drill.stores.base import CHUNK, Address, Store

Put = Callable[[str, bytes], None]
Remove = Callable[[str], None]
MakeUnreachable = Callable[[], Store]

#: Words that a method which only reads has no use for.
_WRITING = (
    "append copy create delete erase make mkdir move overwrite patch post prune purge put remove rename replace "
    "restore rmdir save set store truncate unlink update upload write"
)


def content(size: int, seed: int = 1) -> bytes:
    """Bytes that are the same each time."""
    return random.Random(seed).randbytes(size)


def found(store: Store, key: str) -> Artifact:
    """An object that must be in the listing."""
    (artifact,) = [artifact for artifact in store.list(key) if artifact.key == key]
    return artifact


def read(store: Store, artifact: Artifact) -> bytes:
    """An object whole."""
    return b"".join(store.open(artifact))


def old_or_refused(reader: Iterator[bytes], old: bytes, begun: bytes = b"") -> None:
    """Read on: it must be the version that was listed, to its last byte, or refused at the stage ``fetch``."""
    chunks, refusal = [begun], None
    try:
        chunks.extend(reader)
    except BackupFailed as problem:
        refusal = problem
    if refusal is None:
        assert b"".join(chunks) == old
    else:
        assert refusal.stage is Stage.FETCH
        assert refusal.looked_at and refusal.remedy


class StoreConformance:
    """The contract of :mod:`restore_drill.stores.base` as tests.

    Attributes:
        ODD_NAMES: Keys that this kind of store can hold; a subclass adds to them or takes out what cannot exist there.
        NOWHERE: Keys under which nothing can be, and that a store may be asked for all the same.
        DIGESTS: Algorithms by which the store keeps a digest of every object that ``put`` writes.
        LARGE: Size of an object that no buffer on the way holds whole.
        MEMORY: What reading it may allocate (bytes).
    """

    ODD_NAMES: ClassVar[tuple[str, ...]] = (
        "with space", " leading and trailing ", "a+b", "a%20b", "a%2Fb", "q?x=1&y=2#z", "semi;colon:at@", "quo'te\"s",
        "brackets[0]{1}(2)", "back\\slash", "tilde~", "new\nline", "tab\there", "naïve/ünïcödé", "nai\u0308ve",
        "日本語", "🎈", "-rf", "...", ".hidden", "a.", "x" * 200, "deep/" * 20 + "file",
    )  # fmt: skip
    NOWHERE: ClassVar[tuple[str, ...]] = ("", "dir", "dir/", "dir/one/below", "../one", "/dir/one", "dir//one")
    DIGESTS: ClassVar[frozenset[str]] = frozenset()
    LARGE: ClassVar[int] = 32 << 20
    MEMORY: ClassVar[int] = 16 << 20

    @pytest.fixture
    def store(self) -> Store:
        """An empty store with short deadlines."""
        raise NotImplementedError

    @pytest.fixture
    def put(self) -> Put:
        """Writes an object, replacing one of that name, by other means than the store."""
        raise NotImplementedError

    @pytest.fixture
    def remove(self) -> Remove:
        """Removes an object by other means than the store."""
        raise NotImplementedError

    @pytest.fixture
    def make_unreachable(self) -> MakeUnreachable:
        """Gives a store of the same kind whose place cannot be reached."""
        raise NotImplementedError

    def test_an_empty_store_lists_nothing(self, store: Store) -> None:
        """No error, and no entry for the place itself."""
        assert list(store.list("")) == []
        assert list(store.list("some/prefix")) == []
        assert list(store.scan("", print)) == []

    def test_lists_keys_sizes_and_times(self, store: Store, put: Put) -> None:
        """What a snapshot is chosen by."""
        put("one", b"1")
        put("two/three", b"333")
        listed = {artifact.key: artifact for artifact in store.list("")}
        assert {key: artifact.size for key, artifact in listed.items()} == {"one": 1, "two/three": 3}
        assert all(artifact.modified > 1e9 for artifact in listed.values())

    def test_a_listing_is_an_iterator(self, store: Store, put: Put) -> None:
        """It begins before it is complete."""
        put("one", b"1")
        listing = store.list("")
        assert iter(listing) is listing
        assert next(listing).key == "one"

    @pytest.mark.parametrize(
        ("prefix", "expected"),
        [
            ("", ["a/one", "ab/c", "b/a", "b/ab"]),
            ("a", ["a/one", "ab/c"]),
            ("a/", ["a/one"]),
            ("a/o", ["a/one"]),
            ("ab/c", ["ab/c"]),
            ("b/a", ["b/a", "b/ab"]),
            ("ab/cd", []),
            ("c", []),
            ("A", []),
            ("a/one/", []),
            ("/a", []),
            ("../", []),
        ],
    )
    def test_a_prefix_is_the_beginning_of_a_key(self, store: Store, put: Put, prefix: str, expected: list[str]) -> None:
        """Of any key, not only of whole directory names."""
        for key in ("a/one", "ab/c", "b/a", "b/ab"):
            put(key, b"x")
        assert sorted(artifact.key for artifact in store.list(prefix)) == expected

    def test_lists_more_than_a_page(self, store: Store, put: Put) -> None:
        """Servers answer in pages of 1,000."""
        keys = [f"many/{number % 3}/{number:04d}" for number in range(1500)]
        for key in keys:
            put(key, b"")
        assert sorted(artifact.key for artifact in store.list("many/")) == sorted(keys)

    def test_odd_names_come_back_unharmed(self, store: Store, put: Put) -> None:
        """Listed, looked at, read and printed."""
        for number, key in enumerate(self.ODD_NAMES):
            put(key, b"%d" % number)
        assert sorted(artifact.key for artifact in store.list("")) == sorted(self.ODD_NAMES)
        for number, key in enumerate(self.ODD_NAMES):
            artifact = store.stat(key)
            assert artifact is not None, key
            assert artifact.key == key
            assert read(store, artifact) == b"%d" % number
            assert found(store, key).size == artifact.size
            assert store.where(key).isprintable()

    def test_looks_at_one_object(self, store: Store, put: Put) -> None:
        """As the listing has it."""
        put("dir/one", b"12345")
        artifact = store.stat("dir/one")
        assert artifact is not None
        assert (artifact.key, artifact.size, artifact.name) == ("dir/one", 5, "one")
        assert artifact.modified == pytest.approx(found(store, "dir/one").modified, abs=1)

    def test_what_is_not_there_is_none(self, store: Store, put: Put) -> None:
        """Neither is a directory, nor anything outside."""
        put("dir/one", b"1")
        assert store.stat("dir/one") is not None
        for key in ("missing", "dir/missing", *self.NOWHERE):
            assert store.stat(key) is None, key

    def test_an_empty_object_is_an_object(self, store: Store, put: Put) -> None:
        """It is read without an error and without a chunk."""
        put("empty", b"")
        artifact = store.stat("empty")
        assert artifact is not None
        assert artifact.size == found(store, "empty").size == 0
        assert list(store.open(artifact)) == list(store.open(found(store, "empty"))) == []

    @pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK + 17])
    def test_reads_every_byte_in_bounded_chunks(self, store: Store, put: Put, size: int) -> None:
        """Around the size of a chunk, however the object was found."""
        put("object", content(size))
        for artifact in (found(store, "object"), store.stat("object")):
            assert artifact is not None
            chunks = list(store.open(artifact))
            assert b"".join(chunks) == content(size)
            assert all(0 < len(chunk) <= CHUNK for chunk in chunks)

    def test_reads_in_bounded_memory(self, store: Store, put: Put) -> None:
        """Which does not grow with the object."""
        put("large", content(self.LARGE))
        artifact = found(store, "large")
        next(store.open(artifact))  # what is imported and connected once is not counted
        tracemalloc.start()
        try:
            size = sum(len(chunk) for chunk in store.open(artifact))
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert size == self.LARGE
        assert peak < self.MEMORY

    def test_two_readers_do_not_disturb_each_other(self, store: Store, put: Put) -> None:
        """A sidecar is read while its artifact is."""
        put("one", content(3 * CHUNK, 1))
        put("two", content(3 * CHUNK, 2))
        readers = [store.open(found(store, key)) for key in ("one", "two", "one")]
        chunks: list[list[bytes]] = [[], [], []]
        open_ones = list(range(3))
        while open_ones:
            for number in list(open_ones):
                chunk = next(readers[number], None)
                if chunk is None:
                    open_ones.remove(number)
                else:
                    chunks[number].append(chunk)
        for some, seed in zip(chunks, (1, 2, 1), strict=True):
            assert b"".join(some) == content(3 * CHUNK, seed)

    def test_a_reader_may_be_abandoned(self, store: Store, put: Put) -> None:
        """Without taking a connection with it."""
        data = content(self.LARGE)
        put("large", data)
        for _ in range(12):  # more often than any pool has connections
            reader = store.open(found(store, "large"))
            assert data.startswith(next(reader))
            del reader
        assert read(store, found(store, "large")) == data

    def test_vanished_between_listing_and_reading(self, store: Store, put: Put, remove: Remove) -> None:
        """The backup's fault: something prunes what was just listed."""
        put("object", b"here")
        listed, looked_at = found(store, "object"), store.stat("object")
        assert looked_at is not None
        assert read(store, listed) == read(store, looked_at) == b"here"
        remove("object")
        assert store.stat("object") is None
        with pytest.raises(BackupFailed) as failure:
            read(store, listed)
        assert failure.value.stage is Stage.FETCH
        assert failure.value.remedy and "object" in failure.value.looked_at
        old_or_refused(store.open(looked_at), b"here")

    @pytest.mark.parametrize(
        "new", [b"b" * 5000, b"b" * 4999, b"b" * 5001, b""], ids=["same size", "less", "more", "empty"]
    )
    def test_replaced_between_listing_and_reading(self, store: Store, put: Put, new: bytes) -> None:
        """Never bytes of another version, even where it has the same size."""
        old = b"a" * 5000
        put("object", old)
        listed, looked_at = found(store, "object"), store.stat("object")
        assert looked_at is not None
        assert read(store, listed) == old
        put("object", new)
        old_or_refused(store.open(listed), old)
        old_or_refused(store.open(looked_at), old)
        assert read(store, found(store, "object")) == new

    @pytest.mark.parametrize("share", [0, 3, 1], ids=["emptied", "truncated", "same size"])
    def test_replaced_while_it_is_read(self, store: Store, put: Put, share: int) -> None:
        """Never a mixture, never a short read that passes for the whole."""
        old = content(self.LARGE)
        put("large", old)
        artifact = found(store, "large")
        reader = store.open(artifact)
        begun = next(reader)
        put("large", content(self.LARGE // share if share else 0, 2))
        old_or_refused(reader, old, begun)
        assert found(store, "large").size == (self.LARGE // share if share else 0)

    def test_vanished_while_it_is_read(self, store: Store, put: Put, remove: Remove) -> None:
        """The rest arrives all the same, or it is refused."""
        old = content(self.LARGE)
        put("large", old)
        reader = store.open(found(store, "large"))
        begun = next(reader)
        remove("large")
        old_or_refused(reader, old, begun)
        assert store.stat("large") is None

    def test_metadata_has_names_in_lower_case(self, store: Store, put: Put) -> None:
        """S3 servers differ in how they write them."""
        put("object", b"x")
        metadata = store.metadata(found(store, "object"))
        assert all(name == name.lower() and isinstance(value, str) for name, value in metadata.items())

    @pytest.mark.parametrize("size", [0, 1, 3 * CHUNK + 17])
    def test_recorded_digests_are_of_the_stored_bytes(self, store: Store, put: Put, size: int) -> None:
        """All of them, however the object was found; a store that keeps none has none."""
        put("dir/object", content(size))
        for artifact in (found(store, "dir/object"), store.stat("dir/object")):
            assert artifact is not None
            recorded = store.recorded_digests(artifact)
            assert {each.algorithm for each in recorded} >= self.DIGESTS
            for each in recorded:
                hasher = digests.Composite(each.algorithm, each.parts) if each.parts else digests.new(each.algorithm)
                hasher.update(content(size))
                assert each.hexdigest == hasher.hexdigest(), each.source
                assert each.source.isprintable() and each.source

    def test_recorded_digests_of_what_was_replaced_or_removed(self, store: Store, put: Put, remove: Remove) -> None:
        """Of the version that was listed, or refused: never another one's."""
        put("object", b"a" * 5000)
        listed = found(store, "object")
        before = store.recorded_digests(listed)
        changes: list[Callable[[], None]] = [lambda: put("object", b"b" * 5000), lambda: remove("object")]
        for change in changes:
            change()
            with contextlib.suppress(BackupFailed):
                assert tuple(store.recorded_digests(listed)) in {(), tuple(before)}

    def test_small_objects_come_whole_and_large_ones_are_refused(self, store: Store, put: Put) -> None:
        """A sidecar of a terabyte is not a sidecar."""
        put("sidecar", b"x" * 100)
        assert store.read_small("sidecar", limit=100) == b"x" * 100
        assert store.read_small("missing") is None
        with pytest.raises(BackupFailed, match="too large"):
            store.read_small("sidecar", limit=99)

    def test_keys_that_begin_so_are_told_all_or_not_at_all(self, store: Store, put: Put) -> None:
        """Whoever takes an absent one for granted must not be told less than there is."""
        for key in ("d/a.gz", "d/a.gz.sha256", "d/a.sha256", "d/b", "e/a.gz"):
            put(key, b"x")
        assert store.keys_beginning("d/a") in (None, {"d/a.gz", "d/a.gz.sha256", "d/a.sha256"})
        assert store.keys_beginning("d/nothing") in (None, set())

    def test_an_unreachable_store_is_not_an_empty_one(
        self, store: Store, put: Put, make_unreachable: MakeUnreachable
    ) -> None:
        """Nothing is known then, and the error says what to do."""
        put("object", b"x")
        artifact = found(store, "object")
        nowhere = make_unreachable()
        attempts: list[Callable[[], object]] = [
            lambda: list(nowhere.list("")),
            lambda: nowhere.stat("object"),
            lambda: nowhere.stat("missing"),
            lambda: nowhere.keys_beginning("missing") or nowhere.stat("missing"),
            lambda: read(nowhere, artifact),
            lambda: nowhere.read_small("object"),
        ]
        for attempt in attempts:
            with pytest.raises(CouldNotVerify) as failure:
                attempt()
            assert failure.value.cause and failure.value.looked_at and failure.value.remedy

    def test_what_it_declares_is_whole(self, store: Store) -> None:
        """So that a catalogue can be checked, and a person be told what to write."""
        kind = type(store)
        assert kind.schemes and all(scheme == scheme.lower() for scheme in kind.schemes)
        for name, option in kind.options.items():
            assert option.takes(option.example), f"the example of the option {name} is not taken"
            assert not option.takes([{}]), f"the option {name} takes anything"
            assert option.description.endswith("."), name
        assert [name for name, each in kind.credentials.items() if not each.description.endswith(".")] == []
        assert not kind.options.keys() & kind.credentials.keys()

    def test_what_it_is_built_from_is_declared_and_good(self, store: Store) -> None:
        """The store of these tests is one that a catalogue could have named."""
        kind, settings = type(store), store.settings
        assert settings.options.keys() <= kind.options.keys()
        assert settings.secrets.keys() <= {*kind.credentials, "endpoint"}
        address = Address(settings.url, settings.options, frozenset(settings.secrets) - {"endpoint"})
        assert address.scheme in kind.schemes
        assert list(kind.check(address)) == []
        named = {name for name, _ in kind.hosts(address)}
        assert named <= {"url", *kind.options}

    def test_no_method_writes(self, store: Store) -> None:
        """By name; what a store can send is for its own tests to prove."""
        writing = {word for one in _WRITING.split() for word in (one, one.capitalize())}
        methods = [name for name in dir(store) if not name.startswith("_") and callable(getattr(store, name))]
        assert {"list", "stat", "open"} <= set(methods)
        assert [name for name in methods if writing & set(re.split(r"_|(?=[A-Z])", name))] == []

    def test_says_where_without_credentials(self, store: Store) -> None:
        """The address goes into messages and reports."""
        assert store.where("dir/one").endswith("dir/one")
        assert "@" not in store.where("dir/one")
