"""The local store: its conformance, and what only file systems do."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded
from restore_drill.model import Artifact, Stage
from restore_drill.registry import load
from restore_drill.stores import scan
from restore_drill.stores.base import CHUNK, Store, StoreSettings
from restore_drill.stores.local import LocalStore, file_systems, is_own_disk
from restore_drill.stores.watched import Watched
from restore_drill.testing.store import MakeUnreachable, Put, Remove, StoreConformance, content, found, read


def local(root: Path, **more: float) -> LocalStore:
    return LocalStore(StoreSettings("nas", f"file://{root}", **more))  # type: ignore[arg-type]


def keys(store: Store, prefix: str = "") -> list[str]:
    return [artifact.key for artifact in store.list(prefix)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "backups"
    path.mkdir()
    return path


@pytest.fixture
def nas(root: Path) -> LocalStore:
    return local(root)


class TestLocalStore(StoreConformance):
    """A careful backup job: writes under another name, then renames."""

    @pytest.fixture
    def store(self, root: Path) -> Store:
        return local(root)

    @pytest.fixture
    def put(self, root: Path, tmp_path: Path) -> Put:
        def put(key: str, data: bytes) -> None:
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "new").write_bytes(data)
            (tmp_path / "new").rename(path)

        return put

    @pytest.fixture
    def remove(self, root: Path) -> Remove:
        return lambda key: (root / key).unlink()

    @pytest.fixture
    def make_unreachable(self, root: Path) -> MakeUnreachable:
        return lambda: local(root.parent / "not mounted")


class TestLocalStoreWrittenInPlace(TestLocalStore):
    """A careless one: overwrites what is there."""

    @pytest.fixture
    def put(self, root: Path) -> Put:
        def put(key: str, data: bytes) -> None:
            path = root / key
            path.parent.mkdir(parents=True, exist_ok=True)
            before = path.stat().st_mtime_ns if path.exists() else 0
            path.write_bytes(data)
            if path.stat().st_mtime_ns == before:  # the clock of the file system may be coarser than two writes
                os.utime(path, ns=(before + 1, before + 1))

        return put


def test_is_registered_under_its_scheme() -> None:
    assert load("stores", "file") is LocalStore
    assert LocalStore.schemes == ("file",)


def test_lists_in_the_byte_order_of_keys(root: Path, nas: LocalStore) -> None:
    names = ["a.b", "a/b", "a-b", "a/b-c", "ab", "B", "é", "z"]
    for name in names:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_bytes(b"")
    assert keys(nas) == sorted(names, key=os.fsencode)


def test_a_directory_larger_than_a_batch(root: Path, nas: LocalStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scan, "BATCH", 7)
    names = [f"d/{number:03d}" for number in range(50)] + [f"d/{number:03d}.d/x" for number in range(0, 50, 9)]
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")
    assert keys(nas, "d/") == sorted(names)
    assert keys(nas, "d/01") == sorted(name for name in names if name.startswith("d/01"))


def test_lists_a_large_tree_in_bounded_memory(root: Path, nas: LocalStore) -> None:
    for directory in range(20):
        (root / str(directory)).mkdir()
        for number in range(1000):
            os.close(os.open(root / str(directory) / f"{number:04d}-some-longer-name-of-a-backup", os.O_CREAT))
    next(nas.list(""))
    tracemalloc.start()
    try:
        count = sum(1 for _ in nas.list(""))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert count == 20_000
    assert peak < 3 << 20


def test_descends_only_where_the_prefix_leads(root: Path, nas: LocalStore) -> None:
    """Directories of other targets may be closed to us."""
    (root / "ours").mkdir()
    (root / "ours/one").write_bytes(b"")
    (root / "theirs").symlink_to("/nonexistent")
    opened: list[str] = []
    original = nas._ask

    def ask(key: str, *call: object) -> object:
        opened.append(key)
        return original(key, *call)  # type: ignore[arg-type]

    nas._ask = ask  # type: ignore[method-assign,assignment]
    (root / "other").mkdir()
    assert keys(nas, "ou") == ["ours/one"]
    assert set(opened) == {"", "ours"}


@pytest.fixture
def shared_root() -> Iterator[Path]:
    """A directory that every user can reach, which pytest's own are not."""
    with tempfile.TemporaryDirectory(prefix="restore-drill-test-") as directory:
        Path(directory).chmod(0o755)
        root = Path(directory, "backups")
        root.mkdir()
        yield root


def test_an_unreadable_directory_is_not_an_empty_one(shared_root: Path, as_nobody: Callable[[str, Path], str]) -> None:
    root = shared_root
    (root / "closed").mkdir()
    (root / "closed/one").write_bytes(b"x")
    (root / "file").write_bytes(b"x")
    assert as_nobody("list", root) == "closed/one file"
    (root / "file").chmod(0)
    answer = as_nobody("open file", root)
    assert "CouldNotVerify" in answer and "may not read it" in answer and "read access" in answer
    (root / "closed").chmod(0)
    answer = as_nobody("list", root)
    assert "CouldNotVerify" in answer and "may not read it" in answer and "backups/closed" in answer
    root.chmod(0)
    answer = as_nobody("list", root)
    assert "CouldNotVerify" in answer and "may not read it" in answer


@pytest.fixture
def as_nobody() -> Callable[[str, Path], str]:
    """Use a store as a user who may not read everything (root may)."""
    program = (
        "import os, sys\n"
        "from restore_drill.stores.local import LocalStore\n"
        "from restore_drill.stores.base import StoreSettings\n"
        "from restore_drill.errors import RestoreDrillError\n"
        "store = LocalStore(StoreSettings('nas', 'file://' + sys.argv[2]))\n"
        "what, _, key = sys.argv[1].partition(' ')\n"
        "artifact = store.stat(key) if key else None\n"
        "child = os.fork()\n"
        "if child: sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))\n"
        "if os.geteuid() == 0: os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try:\n"
        "    print(' '.join(a.key for a in store.list('')) if what == 'list' else b''.join(store.open(artifact)))\n"
        "except RestoreDrillError as problem:\n"
        "    print(type(problem).__name__, problem)\n"
        "sys.stdout.flush()\n"
        "os._exit(0)\n"
    )

    def run(what: str, place: Path) -> str:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run(
            [sys.executable, "-c", program, what, str(place)],
            capture_output=True,
            text=True,
            check=True,
            env=environment,
        )
        return done.stdout.strip()

    return run


@pytest.mark.parametrize("call", ["list", "stat", "open", "metadata"])
def test_a_missing_root_asks_for_the_disk(root: Path, call: str) -> None:
    (root / "one").write_bytes(b"x")
    artifact = found(local(root), "one")
    nowhere = local(root.parent / "gone")
    calls: dict[str, Callable[[Store], object]] = {
        "list": lambda store: list(store.list("")),
        "stat": lambda store: store.stat("one"),
        "open": lambda store: read(store, artifact),
        "metadata": lambda store: store.metadata(artifact),
    }
    with pytest.raises(CouldNotVerify, match="Is the disk mounted"):
        calls[call](nowhere)
    calls[call](local(root))


def test_a_disk_unmounted_meanwhile_is_not_an_empty_store(root: Path, nas: LocalStore) -> None:
    (root / "one").write_bytes(b"x")
    artifact = found(nas, "one")
    root.rename(root.parent / "the disk")
    root.mkdir()  # what a mount point is without its disk
    for attempt in (lambda: list(nas.list("")), lambda: nas.stat("one"), lambda: read(nas, artifact)):
        with pytest.raises(CouldNotVerify, match="another one than at the beginning"):
            attempt()
    root.rmdir()
    (root.parent / "the disk").rename(root)
    assert read(nas, artifact) == b"x"


def test_a_root_that_is_a_file(root: Path) -> None:
    (root / "file").write_bytes(b"x")
    with pytest.raises(CouldNotVerify, match="not a directory"):
        list(local(root / "file").list(""))


@pytest.mark.parametrize("url", ["file:relative", "file:", "s3://bucket", "file:///with\0nul"])
def test_a_url_without_an_absolute_path(url: str) -> None:
    with pytest.raises(CouldNotVerify, match="no absolute path"):
        LocalStore(StoreSettings("nas", url))


@pytest.mark.parametrize("form", ["file://{}", "file:{}", "file://{}/"])
def test_the_ways_to_write_its_url(root: Path, form: str) -> None:
    (root / "one").write_bytes(b"x")
    assert keys(LocalStore(StoreSettings("nas", form.format(root)))) == ["one"]


def test_a_url_is_taken_literally(tmp_path: Path) -> None:
    (tmp_path / "a%20b").mkdir()
    (tmp_path / "a%20b/one").write_bytes(b"x")
    assert keys(local(tmp_path / "a%20b")) == ["one"]


def test_what_the_file_system_keeps_for_itself_is_not_listed(root: Path, nas: LocalStore) -> None:
    for directory in ("lost+found", "db/lost+found"):
        (root / directory).mkdir(parents=True)
        (root / directory / "one").write_bytes(b"")
    assert keys(nas) == ["db/lost+found/one"]


def test_names_that_are_not_utf8(root: Path, nas: LocalStore) -> None:
    (root / os.fsdecode(b"caf\xe9 \x1b[31m\n")).write_bytes(b"latin-1")
    (listed,) = nas.list("caf")
    assert os.fsencode(listed.key) == b"caf\xe9 \x1b[31m\n"
    assert read(nas, listed) == b"latin-1"
    assert nas.stat(listed.key) == listed
    assert nas.where(listed.key).endswith("/caf\\udce9 \\x1b[31m\\n")
    assert nas.where(listed.key).encode("ascii")


def test_a_key_that_no_file_system_can_hold(root: Path, nas: LocalStore) -> None:
    for key in ("\ud800", "nul\0byte", "x" * 300, "/".join(["y" * 200] * 40)):
        assert nas.stat(key) is None
        assert keys(nas, key) == []


class TestSymbolicLinks:
    @pytest.fixture(autouse=True)
    def _tree(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "secret").write_bytes(b"outside")
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "elsewhere/one").write_bytes(b"outside")
        (root / "pool/gen").mkdir(parents=True)
        (root / "pool/gen/one").write_bytes(b"inside")

    @pytest.mark.parametrize("target", ["pool/gen/one", "./pool/../pool/gen/one", "{root}/pool/gen/one", "hop"])
    def test_a_link_to_a_file_inside_is_an_object(self, root: Path, nas: LocalStore, target: str) -> None:
        (root / "hop").symlink_to("pool/gen/one")
        (root / "link").symlink_to(target.format(root=root))
        assert "link" in keys(nas)
        artifact = nas.stat("link")
        assert artifact is not None and artifact.size == 6
        assert artifact == found(nas, "link")
        assert read(nas, artifact) == b"inside"

    def test_an_absolute_link_by_the_name_behind_a_linked_root(self, root: Path, tmp_path: Path) -> None:
        (tmp_path / "mnt").symlink_to(root)
        (root / "by-mount").symlink_to(tmp_path / "mnt/pool/gen/one")
        (root / "by-real-name").symlink_to(root / "pool/gen/one")
        store = local(tmp_path / "mnt")
        assert keys(store, "by") == ["by-mount", "by-real-name"]
        assert read(store, found(store, "by-real-name")) == b"inside"

    @pytest.mark.parametrize(
        "target",
        ["../secret", "{tmp}/secret", "pool/../../secret", "{root}/../secret", "{root}x/secret", "to-parent/secret"],
    )
    def test_a_link_that_leads_outside_is_refused(
        self, root: Path, tmp_path: Path, nas: LocalStore, target: str
    ) -> None:
        (tmp_path / "backupsx").mkdir()
        (tmp_path / "backupsx/secret").write_bytes(b"outside")
        (root / "to-parent").symlink_to("..")
        (root / "link").symlink_to(target.format(root=root, tmp=tmp_path))
        assert (root / "link").read_bytes() == b"outside"
        assert keys(nas) == ["pool/gen/one"]
        status = (root / "link").stat()
        for attempt in (
            lambda: nas.stat("link"),
            lambda: read(nas, Artifact("link", status.st_size, status.st_mtime)),
            lambda: nas.metadata(Artifact("link", status.st_size, status.st_mtime)),
        ):
            with pytest.raises(CouldNotVerify, match="leads out of the store") as failure:
                attempt()
            assert "url" in failure.value.remedy

    def test_a_directory_that_leads_outside_is_not_an_empty_one(
        self, root: Path, tmp_path: Path, nas: LocalStore
    ) -> None:
        (root / "db").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(CouldNotVerify, match="leads out of the store"):
            keys(nas, "db/")
        with pytest.raises(CouldNotVerify, match="leads out of the store"):
            nas.stat("db/one")

    def test_a_linked_directory_is_followed_where_it_is_named(self, root: Path, nas: LocalStore) -> None:
        (root / "current").symlink_to("pool/gen")
        assert keys(nas) == ["pool/gen/one"]
        assert keys(nas, "current/") == keys(nas, "current/o") == ["current/one"]
        artifact = nas.stat("current/one")
        assert artifact is not None
        assert read(nas, artifact) == b"inside"

    def test_loops_end(self, root: Path, nas: LocalStore) -> None:
        (root / "loop").symlink_to("loop")
        (root / "pool/up").symlink_to("..")
        (root / "broken").symlink_to("nowhere")
        assert keys(nas) == ["pool/gen/one"]
        assert nas.stat("broken") is None
        assert nas.stat("pool/up/pool/up/pool/gen/one") is not None
        with pytest.raises(CouldNotVerify, match="symbolic links"):
            nas.stat("loop")

    def test_a_directory_exchanged_for_a_link_while_it_is_listed(
        self, root: Path, tmp_path: Path, nas: LocalStore
    ) -> None:
        (root / "a").mkdir()
        (root / "a/one").write_bytes(b"x")
        listing = nas.list("")
        assert next(listing).key == "a/one"
        (root / "pool").rename(root / "moved")
        (root / "pool").symlink_to(tmp_path)
        with pytest.raises(CouldNotVerify, match="leads out of the store"):
            list(listing)

    def test_a_file_exchanged_for_a_link_before_it_is_read(self, root: Path, tmp_path: Path, nas: LocalStore) -> None:
        artifact = found(nas, "pool/gen/one")
        (root / "pool/gen/one").unlink()
        (root / "pool/gen/one").symlink_to(tmp_path / "secret")
        with pytest.raises(CouldNotVerify, match="leads out of the store"):
            read(nas, artifact)


@pytest.fixture
def special(root: Path) -> Iterator[str]:
    os.mkfifo(root / "fifo")
    (root / "device").symlink_to("fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        with contextlib.chdir(root):  # the path of a socket may not be long
            listener.bind("socket")
        yield "fifo device socket directory"


def test_special_files_are_never_opened(root: Path, nas: LocalStore, special: str) -> None:
    (root / "directory").mkdir()
    (root / "regular").write_bytes(b"x")
    assert keys(nas) == ["regular"]
    for name in special.split():
        assert nas.stat(name) is None
        with pytest.raises(BackupFailed, match="not a regular file") as failure:
            read(nas, Artifact(name, 0, (root / name).stat().st_mtime))
        assert failure.value.stage is Stage.FETCH
    assert read(nas, found(nas, "regular")) == b"x"


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", "a/../../secret", "a//b", "./a", ""])
def test_a_key_is_never_a_path(root: Path, tmp_path: Path, nas: LocalStore, key: str) -> None:
    (tmp_path / "secret").write_bytes(b"outside")
    (root / "a").mkdir()
    (root / "a/b").write_bytes(b"inside")
    assert nas.stat(key) is None
    with pytest.raises(CouldNotVerify, match="not a name inside the store"):
        read(nas, Artifact(key, 7, 0.0))
    assert nas.stat("a/b") is not None


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(lambda path: os.truncate(path, 2 * CHUNK), id="truncated"),
        pytest.param(lambda path: path.open("ab").write(b"more"), id="grown"),
        pytest.param(lambda path: os.utime(path, ns=(0, path.stat().st_mtime_ns + 1)), id="touched"),
    ],
)
def test_changed_while_it_is_read(root: Path, nas: LocalStore, change: Callable[[Path], object]) -> None:
    (root / "file").write_bytes(content(8 * CHUNK))
    assert read(nas, found(nas, "file")) == content(8 * CHUNK)
    reader = nas.open(found(nas, "file"))
    next(reader)
    change(root / "file")
    with pytest.raises(BackupFailed, match="while it was read") as failure:
        for _ in reader:
            pass
    assert failure.value.stage is Stage.FETCH


def test_read_access_alone_changes_nothing(root: Path, nas: LocalStore) -> None:
    (root / "file").write_bytes(b"x")
    os.utime(root / "file", ns=(1, (root / "file").stat().st_mtime_ns))  # long not read: relatime would update it
    before = (root / "file").stat()
    assert read(nas, found(nas, "file")) == b"x"
    after = (root / "file").stat()
    assert (after.st_atime_ns, after.st_mtime_ns, after.st_ctime_ns) == (1, before.st_mtime_ns, before.st_ctime_ns)


def test_a_failing_disk_says_nothing_about_the_backup() -> None:
    """Address 0 of a process cannot be read: the kernel answers EIO, as it does for a bad sector."""
    if not Path("/proc/self/mem").exists():
        pytest.fail("this test needs Linux's /proc")
    store = local(Path("/proc/self"))
    artifact = store.stat("mem")
    assert artifact is not None
    with pytest.raises(CouldNotVerify, match="disk or file server fails") as failure:
        read(store, artifact)
    assert failure.value.stage is Stage.FETCH and "dmesg" in failure.value.remedy
    status = store.stat("status")
    assert status is not None


def test_a_file_system_that_does_not_answer(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "file").write_bytes(content(3 * CHUNK))
    monkeypatch.setattr("restore_drill.stores.local.is_own_disk", lambda mounts, directory: False)
    store = local(root, read_deadline=2.0)
    artifact = found(store, "file")
    dead = threading.Event()
    original = os.read

    def read_of_a_dead_server(descriptor: int, length: int) -> bytes:
        dead.wait()
        return original(descriptor, length)

    reader = store.open(artifact)
    next(reader)
    monkeypatch.setattr("restore_drill.stores.local.os.read", read_of_a_dead_server)
    with pytest.raises(DeadlineExceeded, match="no answer within 2 s") as failure:
        next(reader)
    assert "file server" in failure.value.remedy and failure.value.stage is Stage.FETCH
    monkeypatch.undo()
    dead.set()
    assert read(store, artifact) == content(3 * CHUNK)
    store.close()


_MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/root rw
30 22 0:25 / /mnt/nas rw - nfs4 server:/export rw
31 22 0:26 / /srv/with\\040space rw - fuse.sshfs host:/ rw
32 22 0:27 / /data rw - xfs /dev/sdb1 rw
33 32 0:28 / /data/cloud rw - fuse.rclone remote rw
34 22 0:29 / /twice rw - nfs server:/a rw
35 34 0:30 / /twice rw - ext4 /dev/sdc1 rw
"""


@pytest.mark.parametrize(
    ("root", "own"),
    [
        ("/var/backups", True),
        ("/mnt", False),
        ("/mnt/nas", False),
        ("/mnt/nas/db", False),
        ("/mnt/nas2", True),
        ("/srv/with space/x", False),
        ("/data", False),
        ("/data/local", True),
        ("/data/cloud/x", False),
        ("/twice/x", True),
        ("/", False),
    ],
)
def test_only_disks_of_this_machine_need_no_watching(root: str, own: bool) -> None:
    assert is_own_disk(_MOUNTS, root) is own
    assert not is_own_disk("", root)


def test_a_watched_call_hands_results_and_exceptions_on() -> None:
    watched = Watched(5)
    assert watched.call(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        watched.call(divmod, 7, 0)
    names = {watched.call(threading.current_thread).name for _ in range(3)}
    assert names == {"restore-drill-store"}
    watched.close()


def test_metadata_comes_from_user_attributes(root: Path, nas: LocalStore) -> None:
    (root / "one").write_bytes(b"x")
    (root / "two").write_bytes(b"x")
    try:
        os.setxattr(root / "one", "user.Taken-At", b"2026-11-20T02:00:00Z")
        os.setxattr(root / "one", "user.latin", b"\xe9")
    except OSError as problem:
        pytest.fail(f"the temporary directory needs a file system with user attributes: {problem}")
    assert nas.metadata(found(nas, "one")) == {"taken-at": "2026-11-20T02:00:00Z", "latin": "\ufffd"}
    assert nas.metadata(found(nas, "two")) == {}


def test_metadata_of_a_file_replaced_meanwhile(root: Path, nas: LocalStore) -> None:
    (root / "one").write_bytes(b"x")
    artifact = found(nas, "one")
    (root / "one").write_bytes(b"yy")
    with pytest.raises(BackupFailed, match="changed after it was listed"):
        nas.metadata(artifact)
    assert nas.metadata(found(nas, "one")) == {}


def test_local_path(root: Path, nas: LocalStore) -> None:
    assert nas.local_path("") == root
    assert nas.local_path("a/b") == root / "a/b"
    assert nas.local_path("a/") == root / "a"
    for key in ("../a", "/etc", "a/../../b"):
        with pytest.raises(CouldNotVerify, match="not a name inside"):
            nas.local_path(key)


def test_failure_domain_is_the_device(root: Path, nas: LocalStore) -> None:
    device = root.stat().st_dev
    assert nas.failure_domain() == f"device {os.major(device)}:{os.minor(device)}"
    assert local(root / "not there").failure_domain() is None
    assert local(Path("/proc")).failure_domain() != nas.failure_domain()


MOUNTINFO = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro
40 22 0:35 / /mnt/with\\040space rw,nosuid shared:20 master:2 - fuse.sshfs backup@host:/ rw,user_id=0
41 22 0:36 / /mnt/nas rw - cifs //nas/backups rw,vers=3.1.1
"""


@pytest.mark.parametrize(
    ("device", "expected"), [((8, 1), {"ext4"}), ((0, 35), {"fuse"}), ((0, 36), {"cifs"}), ((0, 3), set())]
)
def test_the_type_of_a_file_system(device: tuple[int, int], expected: set[str]) -> None:
    assert file_systems(MOUNTINFO, os.makedev(*device)) == expected


@pytest.mark.parametrize("keeps", [True, False])
def test_a_file_numbered_anew_is_the_same_file_only_where_that_happens(
    root: Path, nas: LocalStore, monkeypatch: pytest.MonkeyPatch, keeps: bool
) -> None:
    monkeypatch.setattr("restore_drill.stores.local._keeps_inodes", lambda _: keeps)
    (root / "one").write_bytes(b"x")
    artifact = found(nas, "one")
    status = (root / "one").stat()
    (root / "copy").write_bytes(b"x")
    os.utime(root / "copy", ns=(status.st_atime_ns, status.st_mtime_ns))
    (root / "copy").rename(root / "one")
    if keeps:
        with pytest.raises(BackupFailed, match="changed after it was listed"):
            read(nas, artifact)
    else:
        assert read(nas, artifact) == b"x"


def test_descriptors_are_not_leaked(root: Path, nas: LocalStore) -> None:
    (root / "deep/er").mkdir(parents=True)
    (root / "deep/er/one").write_bytes(content(2 * CHUNK))
    (root / "deep/link").symlink_to("er/one")

    def use() -> int:
        for artifact in list(nas.list("")):
            read(nas, artifact)
            next(nas.open(artifact))
            nas.metadata(artifact)
        nas.stat("deep/missing/below")
        next(nas.list("")), next(nas.list("deep/"))
        return len(list(Path("/proc/self/fd").iterdir()))

    first = use()
    assert [use() for _ in range(5)] == [first] * 5


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(size=st.integers(0, 4 * CHUNK), chunk=st.integers(1, CHUNK), seed=st.integers(0, 9))
def test_any_size_in_any_chunks_gives_the_same_bytes(
    tmp_path_factory: pytest.TempPathFactory, size: int, chunk: int, seed: int
) -> None:
    chunk = max(chunk, size // 200)
    root = tmp_path_factory.mktemp("any")
    (root / "file").write_bytes(content(size, seed))
    store = local(root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("restore_drill.stores.local.CHUNK", chunk)
        chunks = list(store.open(found(store, "file")))
    assert b"".join(chunks) == content(size, seed)
    assert all(0 < len(some) <= chunk for some in chunks)
