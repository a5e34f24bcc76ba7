"""SQLite and files where the catalogue asks for isolation: our own functions run in a container."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

import pytest
from tests.integration.sandboxes.conftest import LONG, Make
from tests.unit.engines.test_files_conformance import TestFilesEngine as _OfFiles
from tests.unit.engines.test_sqlite_conformance import TestSqliteEngine as _OfSqlite

from restore_drill.engines.base import Engine, RestoreOptions
from restore_drill.engines.files import FilesEngine
from restore_drill.errors import CouldNotVerify, DeadlineExceeded, SandboxDied
from restore_drill.model import Payload, PayloadForm
from restore_drill.sandboxes.base import Limits, Sandbox
from restore_drill.sandboxes.container import ContainerSandbox
from restore_drill.testing.sandbox import TRIALS


class Enclosed(ContainerSandbox):
    """One whose functions run in the container from the beginning."""

    def __enter__(self) -> Self:
        super().__enter__()
        self.enclose()
        return self


class _InAContainer:
    engine: type[Engine]

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One sample for each case that catches one: what differs here is where they are examined."""
        for name, wanted in (("good", True), ("damaged", False)):
            if name in metafunc.fixturenames:
                of_case = {sample.caught_by: sample for sample in self.engine.samples()}
                samples = [sample for case, sample in of_case.items() if (case == "") is wanted]
                metafunc.parametrize(name, samples, ids=[sample.name for sample in samples])

    @pytest.fixture(autouse=True)
    def image(self, stand_in: Any) -> None:
        stand_in("python")

    def new_sandbox(self, base: Path, name: str) -> Sandbox:
        (base / "sandboxes").mkdir(parents=True, exist_ok=True)
        return Enclosed(base / "sandboxes", run="conformance", name=name, limits=Limits())


class TestSqliteInAContainer(_InAContainer, _OfSqlite):
    pass


class TestFilesInAContainer(_InAContainer, _OfFiles):
    pass


@pytest.fixture
def enclosed(tmp_path: Path, stand_in: Any) -> Any:
    stand_in("python")
    with Enclosed(tmp_path, run="test", name="t.c", limits=Limits(memory=256 << 20)) as sandbox:
        yield sandbox


def test_functions_are_where_the_network_is_not(enclosed: Enclosed) -> None:
    number = enclosed.call(f"{TRIALS}:process", {}, deadline=LONG)
    assert b"containers/serving.py" in enclosed.exec(["cat", f"/proc/{number}/cmdline"], deadline=LONG).stdout
    found = enclosed.call(f"{TRIALS}:look_around", {}, deadline=LONG)
    assert found["directory"] == found["work"] == str(enclosed.work)
    assert set(found["descriptors"]) >= {0, 1, 2} and len(found["descriptors"]) == 4
    facts = enclosed.facts()
    assert (facts["kind"], facts["network"], facts["no_new_privileges"]) == ("container", "none", True)
    enclosed.call(f"{TRIALS}:write", {"path": "here", "size": 3}, deadline=LONG)
    written = enclosed.work / "here"
    assert (written.stat().st_size, written.stat().st_uid) == (3, os.geteuid())


def test_process_that_ends_is_replaced(enclosed: Enclosed) -> None:
    for function, number in (("crash", 11), ("abort", 6)):
        with pytest.raises(SandboxDied, match=f"was ended by .* while it ran {TRIALS}:{function}") as caught:
            enclosed.call(f"{TRIALS}:{function}", {}, deadline=LONG)
        assert caught.value.signal == number
    with pytest.raises(SandboxDied, match="exited with status 3"):
        enclosed.call(f"{TRIALS}:leave", {"status": 3}, deadline=LONG)
    with pytest.raises(DeadlineExceeded, match="did not end within"):
        enclosed.call(f"{TRIALS}:hang", {}, deadline=0.3)
    with pytest.raises(CouldNotVerify, match="more memory was needed"):
        enclosed.call(f"{TRIALS}:allocate", {"size": 1 << 30}, deadline=LONG)
    assert enclosed.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1


def test_feed_arrives_whole(enclosed: Enclosed) -> None:
    chunk = os.urandom(1 << 20)
    assert enclosed.call(f"{TRIALS}:digest", {}, deadline=LONG, feed=[chunk] * 8)["size"] == 8 << 20


def test_engine_elsewhere_cannot_run_them(make: Make) -> None:
    with make(host="tcp://127.0.0.1:1") as sandbox, pytest.raises(CouldNotVerify, match="no container engine answers"):
        sandbox.enclose()


def test_a_tree_that_belongs_to_somebody_else_is_restored(enclosed: Enclosed) -> None:
    """As nearly every volume archive of an application does."""
    tree = enclosed.work / "quarantine" / "payload-0"
    tree.mkdir(parents=True)
    (tree / "a").write_text("x")
    owner = 1000 if os.geteuid() == 0 else os.geteuid()
    os.chown(tree, owner, -1)
    tree.chmod(0o750)
    restored = FilesEngine().restore([Payload(PayloadForm.TREE, tree, "tar", 1)], enclosed, RestoreOptions())
    assert restored.facts["files"] == 1
    assert (restored.path.stat().st_uid, restored.path.stat().st_mode & 0o777) == (owner, 0o750)
