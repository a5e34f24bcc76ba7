"""The bytes of one drill: read and verified in one pass, held against their pins, and linked to a whole."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from restore_drill import disk, sampled
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Kind, Payload, Stage
from restore_drill.repositories.base import Staging, Transfer
from restore_drill.sampling import split

if TYPE_CHECKING:
    from restore_drill.drill import Drill
    from restore_drill.history import CopyHistory
    from restore_drill.sandboxes.base import Sandbox

#: The stages that one pass over the stored bytes covers, earliest first.
STAGES = (Stage.FETCH, Stage.VERIFY, Stage.UNPACK, Stage.CHAIN)


class Transferring:
    """Brings the bytes of a drill's snapshot from its store into its sandbox.

    Args:
        drill: The drill; what is known of its copy and its target is asked of it.

    Attributes:
        linked: What the engine restores, as soon as it was fetched and nothing broke.
        unlinked: Why the links of a chain do not fit together, where the restore bears that.
    """

    def __init__(self, drill: Drill) -> None:
        self._drill = drill
        self.linked: tuple[Payload, ...] = ()
        self.unlinked: RestoreDrillError | None = None

    def fetch(self) -> Transfer:
        """Read, verify and unpack the snapshot in one pass, compare its pins, and link its chain."""
        drill = self._drill
        snapshot = drill.located().snapshot
        sandbox = drill.sandboxes.enter()
        expected = self._expected_bytes()
        disk.require(sandbox.work, expected, "what it unpacks to")
        drill.run.progress.begin(drill.target.name, drill.copy.name, "fetch", snapshot.size)
        try:
            transfer = drill.repository.fetch(snapshot, self._staging(sandbox))
        finally:
            drill.run.progress.end()
        if not transfer.broken:
            self._compare_pins(transfer)
        if not transfer.broken:
            self._link(transfer, sandbox)
        return transfer

    def compare(self, taken_at: datetime) -> Transfer:
        """Read and hash another snapshot of the copy without restoring it, to compare copies by it.

        Raises:
            CouldNotVerify: It is not there any more.
        """
        survey = self._drill.repository.survey(f"{taken_at.astimezone(UTC):%Y%m%dT%H%M%SZ}")
        known = [*survey.newest, *([survey.wanted] if survey.wanted else [])]
        snapshot = next((each for each in known if each.taken_at == taken_at), None)
        if snapshot is None:
            raise CouldNotVerify("the snapshot to compare with vanished since it was listed", stage=Stage.FETCH)
        sandbox = self._drill.sandboxes.enter()
        return self._drill.repository.fetch(snapshot, self._staging(sandbox, discard=True))

    def read_again(self, sandbox: Sandbox) -> Transfer:
        """Read and verify the snapshot once more, in another sandbox."""
        return self._drill.repository.fetch(self._drill.located().snapshot, self._staging(sandbox))

    def _link(self, transfer: Transfer, sandbox: Sandbox) -> None:
        """Let the engine put the links of a chain together, now that all of them are known to be what they were."""
        drill, clock = self._drill, time.monotonic()
        try:
            linked = drill.engine().link(transfer.payloads, sandbox, drill.options)
        except RestoreDrillError as problem:
            stage = problem.stage or Stage.CHAIN
            if stage is Stage.CHAIN and not drill.copy.pattern.kinds - {Kind.FULL}:
                stage = Stage.RESTORE  # no case of this copy asks for a chain: its restore tells that there is one
            if stage in STAGES:
                transfer.broken[stage] = problem
            else:
                self.unlinked = problem
        else:
            self.linked = linked.payloads
            transfer.notes += linked.notes
        transfer.seconds += time.monotonic() - clock

    def _expected_bytes(self) -> int:
        """What the snapshot will take on disk: what it took last time and a quarter, at least its stored size."""
        stored = max(self._drill.located().snapshot.size, 0)
        history = self._drill.history_or_none
        passed = history.last_passed if history else None
        return max(stored, int(1.25 * passed["content_bytes"])) if passed else stored

    def _staging(self, sandbox: Sandbox, *, discard: bool = False) -> Staging:
        drill = self._drill
        quarantine = sandbox.work / ("compared" if discard else "quarantine")
        quarantine.mkdir(mode=0o700)
        # A directory for a runbook is read again before anything is executed on it, and must be the same.
        again = "runbook" in drill.selected and drill.copy.pattern.is_directory
        return Staging(
            sandbox=sandbox,
            quarantine=quarantine,
            engine=drill.engine,
            until=time.monotonic() + drill.target.deadline("fetch"),
            reserve=disk.reserve(sandbox.work),
            threads=drill.run.threads,
            tree_digest=discard or again or len(drill.target.copies) > 1,
            discard=discard,
            files_judged="files" in drill.selected,
            advance=drill.run.progress.advance,
        )

    def _compare_pins(self, transfer: Transfer) -> None:
        """Pinned and frozen artifacts must be the bytes that they were when they were first drilled."""
        drill = self._drill
        if not (drill.target.model.frozen or drill.copy.checksum.mode == "pinned"):
            return
        try:
            history = drill.history
        except CouldNotVerify as problem:
            transfer.broken[Stage.VERIFY] = problem
            return
        for artifact in transfer.artifacts:
            name, actual = artifact.get("pin", artifact["key"]), artifact.get("sha256", "")
            pinned = self._pin(history, name)
            if pinned is None:
                transfer.notes.append(f"the digest of {Path(artifact['key']).name} was pinned now")
            elif pinned != actual:
                transfer.broken[Stage.VERIFY] = BackupFailed(
                    f"sha256 is {actual}, pinned at the first drill was {pinned}",
                    looked_at=name,
                    remedy="It changed since then. If that is right: restore-drill baseline accept TARGET --pin KEY "
                    "--reason ...",
                    stage=Stage.VERIFY,
                )

    def _pin(self, history: CopyHistory, name: str) -> str | None:
        """The digest that an artifact had; of those that are no longer among the newest, a sampled drill knows it."""
        if name in history.pinned:
            return history.pin(name)
        drill = self._drill
        copy = split(drill.copy.name)[0]
        return sampled.pin(drill.run.history, drill.target.name, copy, name, since=history.pin_accepted_at(name))
