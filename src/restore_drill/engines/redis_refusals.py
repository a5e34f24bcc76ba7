"""Why a Redis refuses a file: what its programs write, in words, and whether the backup is to blame."""

from __future__ import annotations

import re
from typing import Final

from restore_drill.engines.streamed import last_lines, shortage
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage

_MODULE: Final = re.compile(r"no matching module(?: type)? '([\w.-]{1,40})'", re.ASCII)
_FORMAT: Final = re.compile(r"Can't handle RDB format version (-?\d+)")
_COMMAND: Final = re.compile(r"Unknown command '([\w.|-]{1,40})' reading the append only file", re.ASCII)
#: What the programs write, and what it means; the first that is found counts.
_REASONS: Final = (
    ("RDB CRC error", "its checksum does not fit its content"),
    ("Wrong RDB checksum", "its checksum does not fit its content"),
    ("Unexpected EOF reading RDB file", "the dump ends too early"),
    ("Short read or OOM loading DB", "the dump ends too early, or a length in it is wrong"),
    ("Wrong signature", "it does not begin as a dump does"),
    ("integrity check failed", "a value in it is damaged"),
    ("Internal error in RDB", "a value in it is damaged"),
    ("RDB ERROR DETECTED", "it cannot be read to its end"),
    ("Unexpected end of file reading the append only file", "the append-only file ends within a command"),
    ("Bad file format reading the append only file", "the append-only file holds something that is no command"),
    ("Unexpected EOF", "the append-only file ends within a command"),
    ("Expected to read", "the append-only file ends within a command"),
    ("got: 0000", "the append-only file ends within a command"),
    ("is not valid", "the append-only file is damaged"),
    ("Cannot open file", "a part of the append-only file is missing"),
    ("doesn't exist", "a part of the append-only file is missing"),
    ("configured to handle more than", "it names a database that no server has"),
)  # fmt: skip


def refusal(problem: CouldNotVerify, server: str) -> RestoreDrillError:
    """What the end of a server means that was loading; ``problem`` itself where it says nothing of the backup."""
    text = "\n".join(problem.details)
    if "CONFIG FILE ERROR" in text or not text.strip():
        return problem
    if "Can't load module from" in text:
        return CouldNotVerify(
            f"{server} cannot load a module of engine_options.modules",
            remedy="Correct its path, which is one of the image or of this machine; see the details.",
            stage=Stage.RESTORE,
            details=problem.details,
        )
    return explained(text, server) or problem


def explained(text: str, program: str) -> RestoreDrillError | None:
    """What a program's output means, or ``None`` where nothing in it is known."""
    details = last_lines(text.encode())
    if short := shortage(0, text, program):
        return short
    if found := _MODULE.search(text):
        return _needs(f"needs the module that has {found[1]}", program, details)
    if (found := _COMMAND.search(text)) and "." in found[1]:
        return _needs(f"needs the module that has the command {found[1]}", program, details)
    if found:
        return BackupFailed(
            f"the append-only file holds the command {found[1]}, which no server of this kind writes there",
            remedy="Somebody edited it, or it is of a newer server: look at it before anybody loads it anywhere.",
            stage=Stage.RESTORE,
            details=details,
        )
    if found := _FORMAT.search(text):
        return too_new(found[1], program, "", details)
    reason = next((words for sign, words in _REASONS if sign in text), "")
    return _refused(program, reason, details) if reason else None


def refused(text: str, program: str) -> RestoreDrillError:
    """A checker that did not end well, whatever it wrote."""
    details = last_lines(text.encode())
    return explained(text, program) or _refused(program, "it does not say why", details)


def too_new(version: str, program: str, release: str, details: tuple[str, ...] = ()) -> CouldNotVerify:
    """A dump of a server that is newer than the one here: it may well be good."""
    writer = f", written by {release}" if release else ""
    return CouldNotVerify(
        f"the dump is of RDB version {version}{writer}, which {program} does not read",
        remedy="Restore it with a server as new as the one that wrote it: name its image in the target's sandbox, or "
        "install it here.",
        stage=Stage.RESTORE,
        details=details,
    )


def _refused(program: str, reason: str, details: tuple[str, ...]) -> BackupFailed:
    return BackupFailed(
        f"{program} refuses it: {reason}",
        remedy="Use another copy or an older snapshot, and check how it was made (BGSAVE to its end, then copied).",
        stage=Stage.RESTORE,
        details=details,
    )


def _needs(what: str, program: str, details: tuple[str, ...]) -> BackupFailed:
    return BackupFailed(
        f"it {what}: {program} alone does not bring it back",
        remedy="Restore it where the module is: name an image that has it in the target's sandbox, and the module's "
        "file in engine_options: {modules: [/path/of/module.so]}.",
        stage=Stage.RESTORE,
        details=details,
    )
