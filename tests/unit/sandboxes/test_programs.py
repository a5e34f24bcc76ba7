"""The directory sandbox keeps the contract for programs, with this machine's own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.support.unprivileged import open_directory

from restore_drill.sandboxes import accounts, launcher, workspace
from restore_drill.sandboxes.base import Limits, Need
from restore_drill.sandboxes.directory import DirectorySandbox
from restore_drill.testing.programs import ProgramsConformance
from restore_drill.testing.sandbox import SandboxFactory

#: Starts so many processes that stay until it ends, and does something then.
_STARTS = "for n in $(seq {0}); do sleep 60 >/dev/null 2>&1 & done; {1}"


class TestDirectoryPrograms(ProgramsConformance):
    @pytest.fixture(autouse=True)
    def programs(self, require_program: Callable[[str], str]) -> None:
        require_program("perl")

    @pytest.fixture
    def base(self) -> Iterator[Path]:
        # Where a view of the file system cannot be had, the programs' account must be able to pass through.
        with open_directory() as path:
            path.chmod(0o711)
            yield path
            workspace.close_all()

    @pytest.fixture
    def sandbox_factory(self, base: Path) -> SandboxFactory:
        def make(limits: Limits) -> DirectorySandbox:
            return DirectorySandbox(base, run="test", name="target.copy", limits=limits)

        return make

    def test_what_one_of_roots_sandboxes_starts_is_not_counted_in_another(
        self, sandbox_factory: SandboxFactory
    ) -> None:
        """They run the programs of a system as one account; whoever is an ordinary user has one count for all."""
        isolation = launcher.current().isolation()
        apart = isolation.accounts and isolation.processes == "own" and accounts.counts_apart()
        with sandbox_factory(Limits(tasks=24)) as one, sandbox_factory(Limits(tasks=24)) as other:
            ground, _ = (each.equip(Need("shell", programs=("sh",), user="root")) for each in (one, other))
            assert ground.reachable
            up = ground.reachable / "up"
            busy = ["sh", "-c", _STARTS.format(16, f": > {ground.sockets}/up; wait")]
            server = one.start(busy, ready=up.exists, deadline=30)
            assert (other.exec(["sh", "-c", _STARTS.format(16, "")], deadline=30).returncode == 0) is apart
            server.stop()
            assert other.exec(["sh", "-c", _STARTS.format(40, "")], deadline=30).returncode, "there is no bound at all"
