"""What every engine must do: subclass :class:`EngineConformance` in a test module, and pytest runs it.

::

    class TestMyEngine(EngineConformance):
        engine = MyEngine
        expect = {"rows": {"customers": 40}}    # what a catalogue would say of the engine's samples

Each sample that the engine ships is built, staged as a drill stages a payload, restored in a real sandbox and judged by
the project's own checks. The good ones are clean in every case; a damaged one is caught by the case that it names.
"""

# ruff: noqa: S101 - assertions are what this is for

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest

from restore_drill.catalogue.expect import Expect
from restore_drill.checks.base import Baseline, Check, CheckContext
from restore_drill.depth import DEPTHS, FULL
from restore_drill.engines.base import Engine, Restored, RestoreOptions, Sample
from restore_drill.errors import BackupFailed, CouldNotVerify, RestoreDrillError
from restore_drill.model import Artifact, Finding, Payload, PayloadForm, Snapshot, Stage, Verdict
from restore_drill.plan import OTHER_TABLES
from restore_drill.registry import load, names
from restore_drill.sandboxes.base import Limits, Sandbox

#: First bytes of what backup jobs store by mistake; no engine may take them for its own.
MISTAKES: Mapping[str, bytes] = {
    "nothing": b"",
    "spaces": b" \r\n" * 300,
    "an HTML page": b"<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head><body></body></html>\n",
    "an XML error": b'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>AccessDenied</Code></Error>',
    "a JSON error": b'{"error": {"code": 403, "message": "insert into failed; select * from nothing"}}',
    "a client's complaint": b"mysqldump: Got error: 1045: Access denied for user 'backup'@'localhost'\n",
    "a shell's complaint": b"sh: 1: sqlite3: not found\n",
    "prose": b"Create a backup of the table before you drop it. Select one, insert the tape; begin.\n",
    "noise": bytes((number * 167 + number // 7) % 251 for number in range(1024)),
}


@dataclass(slots=True)
class Judgement:
    """What became of one sample: the first case that failed, and all findings."""

    caught_by: str = ""
    error: RestoreDrillError | None = None
    findings: dict[str, Finding] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)


class EngineConformance:
    """The contract of :class:`restore_drill.engines.base.Engine`."""

    engine: ClassVar[type[Engine]]
    #: The ``expect:`` part of a catalogue that the good samples satisfy.
    expect: ClassVar[Mapping[str, Any]] = {}
    #: The target's ``engine_options`` for the samples.
    settings: ClassVar[Mapping[str, Any]] = {}
    #: When a snapshot of the good samples was taken (seconds since the epoch); ``newest`` is relative to it.
    taken: ClassVar[float] = 1_700_000_000.0
    #: What to pack a sample's directory with when the engine restores trees.
    threads: ClassVar[int] = 2

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """One test for each sample."""
        for name, wanted in (("good", True), ("damaged", False)):
            if name in metafunc.fixturenames:
                samples = [sample for sample in self.engine.samples() if (sample.caught_by == "") is wanted]
                metafunc.parametrize(name, samples, ids=[sample.name for sample in samples])

    @pytest.fixture
    def sandbox(self, tmp_path: Path) -> Iterator[Sandbox]:
        """A fresh sandbox of the kind that the engine names first."""
        with self.new_sandbox(tmp_path, "sample") as sandbox:
            yield sandbox

    def new_sandbox(self, base: Path, name: str) -> Sandbox:
        """A sandbox that is not entered yet."""
        kind: type[Sandbox] = load("sandboxes", self.engine.sandboxes[0])
        return kind(_made(base / "sandboxes"), run="conformance", name=name, limits=Limits())

    # --- what an engine says of itself ----------------------------------------------------------------------------

    def test_declares_what_it_can(self) -> None:
        """Names that exist, and at least one form and check."""
        assert self.engine.name == self.engine.name.lower()
        assert self.engine.forms
        assert self.engine.checks <= set(names("checks"))
        assert self.engine.checks
        assert set(self.engine.sandboxes) <= set(names("sandboxes"))
        assert FULL in self.engine.depths
        assert set(self.engine.depths) <= set(DEPTHS)
        assert all(name.isidentifier() and words for name, words in self.engine.strictness.items())

    def test_samples_prove_every_check(self) -> None:
        """At least one good sample, and for every check one that it must catch; names are told apart."""
        samples = list(self.engine.samples())
        assert len({sample.name for sample in samples}) == len(samples)
        caught_by = {sample.caught_by for sample in samples}
        assert "" in caught_by
        assert self.engine.checks | {"restores"} <= caught_by

    @pytest.mark.parametrize("mistake", MISTAKES)
    def test_recognises_no_mistake(self, mistake: str) -> None:
        """An error message stored instead of data is never restored."""
        assert self.engine.recognises(MISTAKES[mistake]) is None

    def test_recognises_its_samples(self, good: Sample, tmp_path: Path) -> None:
        """By their first bytes, however few of them: no error. A tree is recognised by its archive."""
        head = self.head(good.build(tmp_path))
        assert self.engine.recognises(head) or (PayloadForm.TREE in self.engine.forms and _archive(head))
        for length in range(0, len(head), 37):
            assert self.engine.recognises(head[:length]) in (None, self.engine.recognises(head))

    # --- samples ---------------------------------------------------------------------------------------------------

    def test_a_good_sample_is_clean(self, good: Sample, tmp_path: Path) -> None:
        """No case fails, prepared or not, and nothing is left behind."""
        for prepare in (True, False):
            directory = tmp_path / f"prepared-{prepare}"
            judgement = self.judge(good, directory, prepare=prepare)
            assert (judgement.caught_by, judgement.error) == ("", None)
            assert judgement.findings
            assert not list((directory / "sandboxes").rglob("restored*"))

    def test_a_damaged_sample_is_caught(self, damaged: Sample, tmp_path: Path) -> None:
        """By the case that it names, with a cause and a remedy in words."""
        judgement = self.judge(damaged, tmp_path)
        assert judgement.caught_by == damaged.caught_by
        if judgement.error is not None:
            assert isinstance(judgement.error, BackupFailed)
            assert judgement.error.cause
            assert judgement.error.remedy
            assert judgement.error.stage is not None

    def test_evidence_holds_json_values(self, good: Sample, tmp_path: Path) -> None:
        """Facts survive JSON, whatever they hold, and name no path of this machine; remarks can be strict."""
        facts = self.judge(good, tmp_path).facts
        remarks = facts.get("integrity", {}).get("remarks", [])
        assert {remark["rule"] for remark in remarks} <= self.engine.strictness.keys()
        assert json.loads(json.dumps(facts)) == facts
        assert str(tmp_path) not in json.dumps(facts)

    # --- what is no sample ------------------------------------------------------------------------------------------

    def test_an_empty_payload_does_not_come_back(self, sandbox: Sandbox) -> None:
        """An empty file, and a tree without a file: nothing came back."""
        for form in self.engine.forms:
            path = sandbox.work / f"empty-{form}"
            if form is PayloadForm.TREE:
                path.mkdir()
            else:
                path.touch()
            with pytest.raises(BackupFailed) as caught:
                self.restore([Payload(form, path, self.some_format(form), 0)], sandbox)
            assert caught.value.stage is Stage.RESTORE

    def test_restoring_touches_nothing_outside(self, good: Sample, tmp_path: Path) -> None:
        """The sample itself stays as it was, and nothing appears beside the sandbox."""
        directory = tmp_path / "sample"
        directory.mkdir()
        path = good.build(directory)
        before = _snapshot(tmp_path)
        with self.new_sandbox(tmp_path, "touches") as sandbox:
            restored = self.restore([self.stage(path, sandbox)], sandbox)
            restored.prepare(self.engine.checks)
            for check, ask in _questions(restored).items():
                if check in self.engine.checks:
                    ask()
            _check_beside_others(self.engine, restored)
            after = {name: value for name, value in _snapshot(tmp_path).items() if not name.startswith("sandboxes")}
            assert after == before

    def test_a_restored_system_can_be_closed_and_disposed_of(self, good: Sample, tmp_path: Path) -> None:
        """Also while measurements are under way; twice does no harm."""
        with self.new_sandbox(tmp_path, "closed") as sandbox:
            restored = self.restore([self.stage(good.build(_made(tmp_path / "built")), sandbox)], sandbox)
            assert restored.path.exists()
            restored.prepare(self.engine.checks)
            restored.close()
            assert sandbox.dispose().left == ()
            assert not restored.path.exists()
            restored.close()

    def test_what_it_does_not_check_cannot_be_verified(self, good: Sample, tmp_path: Path) -> None:
        """A question that is not the engine's is no pass."""
        with self.new_sandbox(tmp_path, "other") as sandbox:
            restored = self.restore([self.stage(good.build(_made(tmp_path / "built")), sandbox)], sandbox)
            for check, ask in _questions(restored).items():
                if check not in self.engine.checks:
                    with pytest.raises(CouldNotVerify):
                        ask()
            if not self.engine.port and not self.engine.offers_server({}):
                with pytest.raises(CouldNotVerify):
                    restored.serve("", "")
            if "files" not in self.engine.checks:
                with pytest.raises(CouldNotVerify):
                    list(restored.entries({"glob": "**", "give": ["path"]}, 60.0))

    # --- how it is done ---------------------------------------------------------------------------------------------

    def judge(self, sample: Sample, directory: Path, *, prepare: bool = True, built: Path | None = None) -> Judgement:
        """Build, stage, restore and check a sample, in the order in which a drill does."""
        built = built or sample.build(_made(directory / "built"))
        judgement = Judgement()
        try:
            with self.new_sandbox(directory, sample.name) as sandbox:
                payload = self.stage(built, sandbox)
                restored = self.restore([payload], sandbox)
                judgement.facts["restored"] = restored.facts
                if prepare:
                    restored.prepare(self.engine.checks)
                self._check(restored, judgement, directory)
                restored.close()
        except RestoreDrillError as problem:
            judgement.error = problem
            judgement.caught_by = judgement.caught_by or _owner(problem)
        return judgement

    def stage(self, built: Path, sandbox: Sandbox) -> Payload:
        """Bring a sample into the sandbox as a drill does: recognised, unpacked, under names of its own.

        Raises:
            BackupFailed: It is not recognised (stage ``fetch``), or does not unpack.
        """
        head = self.head(built)
        archive = _archive(head)
        if PayloadForm.TREE in self.engine.forms and archive and self.engine.recognises(head) in (None, archive):
            return self._unpack(built, archive, sandbox)
        known = self.engine.recognises(head)
        if known is None:
            raise BackupFailed("it is not recognised", remedy="Look at it.", stage=Stage.FETCH)
        path = sandbox.work / "payload-0"
        shutil.copyfile(built, path)
        parts = []
        for number, part in enumerate(sorted(built.parent.glob(f"{built.name}-*")), 1):
            parts.append(sandbox.work / f"part-{number}")
            shutil.copyfile(part, parts[-1])
        return Payload(PayloadForm.FILE, path, known, path.stat().st_size, parts=tuple(parts))

    def restore(self, payloads: list[Payload], sandbox: Sandbox, **changes: Any) -> Restored:
        """Link and restore with the options of the samples."""
        options = RestoreOptions(
            deadline=120.0, settings=self.settings, wanted=self.engine.checks, threads=self.threads
        )
        options, engine = replace(options, **changes), self.engine()
        return engine.restore(engine.link(payloads, sandbox, options).payloads, sandbox, options)

    def head(self, built: Path) -> bytes:
        """The first bytes of a sample, as many as a drill looks at."""
        with built.open("rb") as file:
            return file.read(1024)

    def some_format(self, form: PayloadForm) -> str:
        """A format that the engine restores in this form."""
        good = next(sample for sample in self.engine.samples() if not sample.caught_by)
        if form is PayloadForm.TREE:
            return names("archives")[0]
        import tempfile

        with tempfile.TemporaryDirectory() as directory:
            return str(self.engine.recognises(self.head(good.build(Path(directory)))))

    def _unpack(self, built: Path, archive: str, sandbox: Sandbox) -> Payload:
        root = sandbox.work / "payload-0"
        facts = sandbox.call(
            "restore_drill.archives.unpack:unpack_tree",
            {"archive": archive, "root": str(root), "limits": {}},
            deadline=120.0,
            feed=[built.read_bytes()],
        )
        return Payload(PayloadForm.TREE, root, archive, int(facts["bytes"]))

    def _check(self, restored: Restored, judgement: Judgement, directory: Path) -> None:
        rule = Expect(**self.expect)
        context = CheckContext("", rule, _snapshot_of(self.taken), self._baseline(directory), deadline=120.0)
        for short, detail in _cases(self.engine, rule):
            check: Check = load("checks", short)()
            asked = replace(context, detail=detail)
            try:
                facts = check.measure(restored, asked)
                finding = check.judge(facts, asked)
            except BackupFailed:
                judgement.caught_by = judgement.caught_by or short
                continue
            judgement.facts[f"{short} {detail}".strip()] = facts
            judgement.findings[f"{short} {detail}".strip()] = finding
            if finding.verdict is Verdict.FAILED:
                judgement.caught_by = judgement.caught_by or short
            assert finding.verdict in (Verdict.PASSED, Verdict.FAILED)

    def _baseline(self, directory: Path) -> Baseline:
        """What a drill of the first good sample measured."""
        if not {"structure", "rows"} & self.engine.checks:
            return Baseline(initialised=True)
        good = next(sample for sample in self.engine.samples() if not sample.caught_by)
        with self.new_sandbox(directory, "baseline") as sandbox:
            restored = self.restore([self.stage(good.build(_made(directory / "baseline")), sandbox)], sandbox)
            structure = restored.structure() if "structure" in self.engine.checks else {}
            return Baseline(True, "yesterday", restored.row_counts(), {}, structure)


def _archive(head: bytes) -> str | None:
    """The archive format that content with these first bytes has."""
    return next((name for name in names("archives") if load("archives", name).recognises(head)), None)


def _cases(engine: type[Engine], rule: Expect) -> Iterator[tuple[str, str]]:
    """The content cases that a catalogue with this rule would plan, in order."""
    details = {
        "rows": [
            *(rule.rows.tables if rule.rows else ()),
            *([OTHER_TABLES] if rule.rows and rule.rows.default else []),
        ],
        "query": [query.name for query in rule.queries],
        "newest": [""] if rule.newest_record or rule.newest_file else [],
        "files": [""],
        "smoke": [each.name for each in rule.smoke],
        "integrity": [""],
        "structure": [""],
    }
    for short in ("integrity", "structure", "rows", "query", "files", "newest", "smoke"):
        if short in engine.checks:
            yield from ((short, detail) for detail in details[short])


def _questions(restored: Restored) -> dict[str, Any]:
    return {
        "integrity": restored.integrity,
        "structure": restored.structure,
        "rows": restored.row_counts,
        "query": lambda: restored.scalar("SELECT 1"),
        "files": lambda: restored.files({}),
        "smoke": lambda: restored.smoke({"run": ["true"]}, 60.0),
    }


def _check_beside_others(engine: type[Engine], restored: Restored) -> None:
    """What a set asks of it: its server can be reached, its files listed, each once."""
    if engine.port:
        assert restored.serve("", "").socket.is_socket()
    if "files" in engine.checks:
        rows = list(restored.entries({"glob": "**", "give": ["path", "bytes", "sha256"]}, 60.0))
        found = restored.files({})
        assert len({row[0] for row in rows}) == len(rows) == found["files"]
        assert sum(row[1] for row in rows) == found["bytes"]
        assert all(len(row[2]) == 64 for row in rows)


def _owner(problem: RestoreDrillError) -> str:
    """The case that bears an error."""
    owners = {Stage.FETCH: "fetched", Stage.UNPACK: "unpacks", Stage.CHAIN: "chain", Stage.RESTORE: "restores"}
    return owners.get(problem.stage, "nobody") if problem.stage else "nobody"


def _snapshot_of(taken: float) -> Snapshot:
    return Snapshot(datetime.fromtimestamp(taken, UTC), (Artifact("sample", 1, taken),))


def _snapshot(directory: Path) -> dict[str, tuple[int, int]]:
    found = {}
    for path in sorted(directory.rglob("*")):
        status = os.lstat(path)
        found[str(path.relative_to(directory))] = (status.st_size, status.st_mtime_ns if path.is_file() else 0)
    return found


def _made(directory: Path) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    return directory
