"""A runbook rehearsed: its steps executed on the drilled snapshot, what they left judged like any other restore.

The steps run in a sandbox of their own, on what lies in the store; what they leave is handed to the target's engine in
another one (a server's stays where it is), and every content case of the target is asked of it. Then the way back.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from restore_drill import disk, runbooks
from restore_drill.cases import CASES
from restore_drill.engines.base import EmptyServer, Restored
from restore_drill.errors import BackupFailed, Blocked, CouldNotVerify, RestoreDrillError
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.plan import PlannedCase
from restore_drill.recovery import artifacts, before
from restore_drill.recovery.shell import Ran, Shell, is_missing_program
from restore_drill.registry import load
from restore_drill.runbooks import PlannedRunbook, Procedure, Step
from restore_drill.sandboxes.base import Need, Sandbox
from restore_drill.secrets import SecretReference

if TYPE_CHECKING:
    from restore_drill.drill import Drill

#: Bytes of what was left that tell what it is.
_HEAD: Final = 1 << 16
_COPIED_WITHIN: Final = 3600.0
#: The version of Landlock from which on it closes TCP.
_CLOSES_TCP: Final = 4
#: How files end that belong to a database beside them: its write-ahead log, and what an unfinished transaction left.
_BESIDE: Final = ("-wal", "-journal")
#: What can stand in a command without quotation marks: the names of what lies in a store are anybody's.
_PLAIN: Final = re.compile(r"[\w./:@%+=,-]+", re.ASCII)


@dataclass(slots=True)
class _Record:
    """What is known so far; see :func:`rehearse`."""

    facts: dict[str, Any]
    details: list[str] = field(default_factory=list)
    #: Clients of stores that are stood in for.
    clients: frozenset[str] = frozenset()

    def ran(self, step: Step, ran: Ran, part: str) -> bool:
        """Note how a step went, and say whether it went well."""
        status = "late" if ran.status is None else ran.status
        done = {"heading": step.heading, "line": step.line, "seconds": round(ran.seconds, 3), "status": status}
        self.facts["steps"].append({**done, **({} if part == "steps" else {"part": part})})
        for name in ran.stubbed:
            where = {"command": name, "heading": step.heading, "line": step.line}
            self.facts["fetched" if name in self.clients else "stubbed"].append(where)
        if ran.status == 0:
            return True
        self.facts["failed"] = {"part": part, "heading": step.heading, "line": ran.line, "status": status}
        self.details += [f"{step}: {line}" for line in step.code.splitlines() if line.strip()]
        self.details += ran.said
        return False


def rehearse(drill: Drill, runbook: PlannedRunbook) -> dict[str, Any]:
    """Execute a runbook on the snapshot of a drill that has come as far as its restore.

    Returns:
        ``steps`` (each executed one: heading, line, seconds, status), ``planned`` (how many there are), ``failed``
        (part, heading, line and status of the one that went wrong, or ``None``), ``restored`` (what the engine says
        came back), ``checks`` (case, detail, verdict, message and remedy of each content case, and whether the drill
        asked it of its own restore), ``unjudged`` (those that an exception excuses the backup from), ``rollback`` (how
        far the way back was tried), ``stubbed``, ``unexecuted``, ``document``, ``section``, ``sha256``, ``details``.

    Raises:
        CouldNotVerify: It could not be executed, or nothing of it can be judged.
    """
    if runbook.rule.generated and not runbook.text:
        runbook = _written_now(drill, runbook)
    rule = runbook.rule
    try:
        procedure = runbooks.parse(runbook.text, rule.section, [stub.command for stub in rule.stubs])
    except ValueError as problem:
        raise CouldNotVerify(f"{runbook.path}: {problem}", remedy="Mend runbook: in the catalogue.") from problem
    if not procedure.steps:
        raise CouldNotVerify(
            f"{runbook.path} has no step that could be executed",
            remedy="Steps are fenced blocks of a shell (```sh), and commands in the items of numbered lists.",
        )
    record = _Record(
        {
            "document": runbook.path, "section": rule.section or "", "sha256": runbook.sha256,
            "planned": len(procedure.steps), "sandbox": {}, "steps": [], "failed": None, "stubbed": [], "fetched": [],
            "checks": [], "unjudged": [],
            "unexecuted": [{"line": each.line, "why": each.why} for each in procedure.unexecuted],
            "rollback": "none" if not procedure.has_rollback else "" if rule.rollback else "not asked for",
        }
    )  # fmt: skip
    with contextlib.ExitStack() as stack:
        _Rehearsal(drill, runbook, procedure, record, stack).go()
    _blame_the_backup(drill, record.facts)
    return {**record.facts, "details": record.details}


def require_confined(facts: Mapping[str, Any]) -> None:
    """Commands meant for production run only where they reach neither what is stored nor who answers there.

    Args:
        facts: What a sandbox says of itself.

    Raises:
        CouldNotVerify: This kernel, or a container around the drill, keeps them from neither.
    """
    if facts["kind"] != "directory":
        return  # a container has no network and nothing of this machine
    reached = []
    if facts["network"] != "none" and facts["landlock"] < _CLOSES_TCP:
        reached.append("the network")
    if facts["writes"] != "sandbox directory" and not (facts["user"] == 0 and facts["accounts"]):
        reached.append("this user's files")
    if reached:
        raise CouldNotVerify(
            f"a runbook's commands are meant for production, and could reach {' and '.join(reached)} from this sandbox",
            looked_at="; ".join(facts["refused"]),
            remedy="Drill where the kernel has Landlock and lets this user make namespaces; restore-drill doctor tells "
            "what is in force.",
            stage=Stage.CONTENT,
        )


def _content_cases(drill: Drill) -> list[PlannedCase]:
    """What a restore of this copy is judged by."""
    return [
        case
        for case in drill.target.cases()
        if case.copy == drill.copy.name and CASES[case.case].needs is Stage.CONTENT and case.case != "runbook"
    ]


def _blame_the_backup(drill: Drill, facts: dict[str, Any]) -> None:
    """A bad backup fails in the case that says so: a step that looks at it fails over the same cause.

    Raises:
        Blocked: The drill's own restore does not pass a case, and nothing but that may be wrong with the runbook.
    """
    today = datetime.fromtimestamp(drill.run.clock(), drill.target.model.timezone or UTC).date()
    for case in _content_cases(drill):
        known = drill.broken_content(case)
        # What an approved exception excuses holds nothing up: all the other cases have judged what the runbook left.
        if known and facts["failed"] is None and facts["checks"] and drill.target.exception_for(case, today):
            facts["unjudged"].append({"case": case.case, "detail": case.detail})
        elif known and all(each["verdict"] == "passed" for each in facts["checks"]):
            raise Blocked(case.case, known)


def _written_now(drill: Drill, runbook: PlannedRunbook) -> PlannedRunbook:
    from restore_drill.recovery.generated import document_of

    text, restored = document_of(drill)
    rule = runbook.rule.model_copy(update={"restored": restored})
    return PlannedRunbook(rule, runbook.path, text, hashlib.sha256(text.encode()).hexdigest())


class _Rehearsal:
    """One execution of one document."""

    def __init__(
        self, drill: Drill, runbook: PlannedRunbook, procedure: Procedure, record: _Record, stack: contextlib.ExitStack
    ) -> None:
        self._drill = drill
        self._runbook = runbook
        self._rule = runbook.rule
        self._procedure = procedure
        self._record = record
        self._stack = stack
        self._engine = drill.engine()
        self._seconds = self._rule.within.total_seconds() if self._rule.within else drill.target.deadline("restore")
        self._name = self._rule.restored or drill.target.name
        self._mark = f"before-{secrets.token_hex(16)}"
        self._server: EmptyServer | None = None

    def go(self) -> None:
        """All of it, as far as it goes well."""
        restored = self._drill.restore_facts().facts
        serves = self._engine.offers_server(restored)
        sandbox = self._sandbox("runbook", "" if serves else "directory")
        disk.require(sandbox.work, 3 * self._drill.transfer().content_bytes, "what the runbook restores")
        root = sandbox.work / "stored"
        main = artifacts.lay_out(self._drill, sandbox, root)
        if serves:
            self._server = self._engine.empty_server(sandbox, self._drill.options, restored)
            data, environment = self._server.data, dict(self._server.environment)
        else:
            data, environment = sandbox.equip(Need("bash", programs=("bash",))).data, {}
        self._record.facts["sandbox"] = sandbox.facts()
        require_confined(sandbox.facts())
        shell = Shell(sandbox, data, self._runbook.path)
        self._prepare(shell, sandbox.admit(root), main, environment)
        kept = self._goes_back and self._server is None
        if kept:
            tree = self._drill.transfer().payloads[-1].form is PayloadForm.TREE
            database = self._engine.name == "sqlite"
            before.put(sandbox, shell, self._restored(shell), self._mark, tree=tree, database=database)
        for step in self._procedure.steps:
            if not self._run(shell, step, "steps"):
                return
        self._judge(sandbox, shell)
        facts = self._record.facts
        if facts["failed"] is None and self._goes_back:
            self._go_back(sandbox, shell)
        if facts["failed"] is None and self._rule.generated and self._rule.rollback and facts["rollback"] != "drilled":
            message = "a generated runbook has a way back, and this one has none"
            facts["failed"] = {"part": "rollback", "line": 0, "message": message}

    @property
    def _goes_back(self) -> bool:
        return self._rule.rollback and self._procedure.has_rollback

    def _restored(self, shell: Shell) -> str:
        return f"{shell.restore}/{self._name}"

    def _sandbox(self, purpose: str, kind: str = "") -> Sandbox:
        return self._stack.enter_context(self._drill.sandboxes.beside(purpose, kind))

    def _prepare(self, shell: Shell, stored: str, main: str, environment: dict[str, str]) -> None:
        keys = {
            f"KEY_{codec}_{name}".upper().replace("-", "_"): value.resolve_bytes()
            for codec, given in self._drill.copy.decrypt.items()
            for name, value in given.items()
            if isinstance(value, SecretReference)
        }
        snapshot = f"{stored}/{main}"
        variables = {
            **environment,
            "BACKUP_DIR": stored,
            "BACKUP_URL": self._drill.copy.settings.url,
            "SNAPSHOT": snapshot,
            "SNAPSHOT_DIR": snapshot.rpartition("/")[0],
            "SNAPSHOT_ID": self._drill.located().snapshot.id,
            "WORK_DIR": shell.work,
            "RESTORE_DIR": shell.restore,
            **({} if self._server else {"RESTORED": self._restored(shell)}),
            **{name: shell.key_place(name) for name in keys},
        }
        stand_ins: Mapping[str, str] = {}
        if not self._drill.copy.settings.url.startswith("file:"):
            from restore_drill.recovery.stand_ins import STAND_INS

            stand_ins = STAND_INS
            own = {stub.command.rpartition("/")[2] for stub in self._rule.stubs}
            self._record.clients = frozenset(stand_ins) - own
        shell.prepare(variables, keys, self._rule.stubs, stand_ins)
        shell.move({path: _expanded(place, variables) for path, place in self._rule.paths.items()})
        shell.move(shell.stubs_by_path(self._rule.stubs))

    def _run(self, shell: Shell, step: Step, part: str) -> bool:
        drill = self._drill
        drill.run.progress.begin(drill.target.name, drill.copy.name, f"runbook line {step.line}", -1)
        try:
            ran = shell.run(step, self._seconds)
        finally:
            drill.run.progress.end()
        went_well = self._record.ran(step, ran, part)
        if is_missing_program(ran):
            raise CouldNotVerify(
                f"{step} of {self._runbook.path} needs a program that the sandbox does not have",
                looked_at="exit status 127",
                remedy="Install it where drills run, declare it under runbook.stubs if only production has it, or "
                "correct its name. What was said is in the details on the terminal.",
                stage=Stage.CONTENT,
                details=tuple(self._record.details),
            )
        return went_well

    # --- what it left -----------------------------------------------------------------------------------------------

    def _judge(self, sandbox: Sandbox, shell: Shell) -> None:
        facts = self._record.facts
        try:
            restored = self._server.examine(self._rule.restored) if self._server else self._brought_back(sandbox, shell)
        except BackupFailed as problem:
            facts["failed"] = {"part": "restored", "message": problem.cause}
            self._record.details += problem.details
            return
        facts["restored"] = str(restored.facts.get("summary", "it came back"))
        try:
            self._check(restored)
        finally:
            restored.close()

    def _brought_back(self, sandbox: Sandbox, shell: Shell) -> Restored:
        """What the steps left, restored by the engine in a sandbox that they never saw."""
        path = self._restored(shell)
        if self._goes_back and before.is_there(sandbox, path, self._mark, self._seconds):
            raise BackupFailed(
                f"its steps ended well, and what was at $RESTORE_DIR/{self._name} before is still there, or part of it"
            )
        if self._procedure.rollback and self._goes_back:
            path = f"{shell.work}/.restored"
            if not self._copied(shell, path):
                raise BackupFailed(f"its steps ended well, and left nothing at $RESTORE_DIR/{self._name}")
        left = before.found(sandbox.outside(path), sandbox.outside(shell.restore).parent, self._name)
        examining = self._sandbox("examined")
        place = examining.work / "quarantine"
        place.mkdir(mode=0o700)
        parts = []
        for ending in _BESIDE:
            beside = left.with_name(left.name + ending)
            if beside.is_file() and not beside.is_symlink():
                parts.append(beside.rename(place / f"payload{ending}"))
        payload = left.rename(place / "payload")
        options = replace(self._drill.options, owned=False)
        return self._engine.restore([_payload(payload, tuple(parts), self._engine)], examining, options)

    def _copied(self, shell: Shell, path: str) -> bool:
        """Whether what the steps left, with its log or journal where it has one, could be copied for the judges."""
        copy = (
            'from=$0 to=$1; shift; cp -a --reflink=auto -- "$from" "$to" || exit 1; for ending; do '
            '[ ! -f "$from$ending" ] || cp -a --reflink=auto -- "$from$ending" "$to$ending" || exit 1; done'
        )
        return shell.do(["sh", "-c", copy, self._restored(shell), path, *_BESIDE], _COPIED_WITHIN)

    def _check(self, restored: Restored) -> None:
        """Every content case that is planned, and what those of the drill itself say already."""
        drill, facts = self._drill, self._record.facts
        cases = _content_cases(drill)
        restored.prepare(frozenset(case.case for case in cases))
        # What the drill's own restore does not pass is told there, and is no fault of the runbook.
        facts["checks"] += [self._one(case, restored) for case in cases if not drill.broken_content(case)]

    def _one(self, case: PlannedCase, restored: Restored) -> dict[str, Any]:
        context = self._drill.context(case)
        check = load("checks", case.detail if case.case == "check" else case.case)()
        measured = case in self._drill.content_facts()
        found: dict[str, Any] = {"case": case.case, "detail": case.detail, "drilled": measured}
        try:
            finding = check.judge(check.measure(restored, context), context)
        except RestoreDrillError as problem:
            self._record.details += problem.details
            return {**found, "verdict": str(problem.verdict), "message": problem.cause, "remedy": problem.remedy}
        if not finding.passed:
            self._record.details += finding.details
        return {**found, "verdict": str(finding.verdict), "message": finding.message, "remedy": finding.remedy}

    # --- the way back -----------------------------------------------------------------------------------------------

    def _go_back(self, sandbox: Sandbox, shell: Shell) -> None:
        facts, line = self._record.facts, self._procedure.rollback_line
        if not self._procedure.rollback:
            facts["rollback"] = self._look_for_kept(sandbox, shell, line)
            return
        for step in self._procedure.rollback:
            if not self._run(shell, step, "rollback"):
                return
        if self._server is not None:
            if left := self._server.left(self._rule.restored):
                message = f"what was restored is still there: {left}"
                facts["failed"] = {"part": "rollback", "line": line, "message": message}
        elif not before.is_there(sandbox, self._restored(shell), self._mark, self._seconds):
            message = f"what was at $RESTORE_DIR/{self._name} before the restore is not there again"
            facts["failed"] = {"part": "rollback", "line": line, "message": message}
        facts["rollback"] = "executed, and it does not lead back" if facts["failed"] else "drilled"

    def _look_for_kept(self, sandbox: Sandbox, shell: Shell, line: int) -> str:
        """Of a way back in prose: whether one of the files it names is what was there before."""
        if self._server is not None:
            return "in prose only: not drilled"
        named = {word for _, code in self._procedure.named for word in shell.moved(code).split()}
        kept = sorted(word for word in named if word.startswith((f"{shell.restore}/", f"{shell.work}/")))
        if not kept:
            return "in prose that names no file below a mapped path: not drilled"
        if any(before.is_there(sandbox, path, self._mark, self._seconds) for path in kept):
            return "in prose: the file that it names is what was there before the restore"
        message = "none of the files that it names is what was there before the restore"
        self._record.facts["failed"] = {"part": "rollback", "line": line, "message": message}
        return "in prose: the file that it names was looked for"


def _payload(path: Path, parts: tuple[Path, ...], engine: Any) -> Payload:
    """What the steps left as an engine takes it.

    Raises:
        BackupFailed: It is of another kind than the engine restores.
    """
    if path.is_dir():
        if PayloadForm.TREE not in engine.forms:
            raise BackupFailed(f"its steps left a directory, and {engine.name} is restored from a file")
        return Payload(PayloadForm.TREE, path, "directory", -1)
    with path.open("rb") as file:
        head = file.read(_HEAD)
    kind = engine.recognises(head)
    if kind is None or PayloadForm.FILE not in engine.forms:
        raise BackupFailed(f"its steps left a file that is none of {engine.name}")
    return Payload(PayloadForm.FILE, path, kind, path.stat().st_size, parts=parts)


def _expanded(place: str, variables: Mapping[str, str]) -> str:
    name, slash, rest = place.removeprefix("$").partition("/")
    if name not in variables:
        raise CouldNotVerify(
            f"runbook.paths names ${name}, which this copy does not have",
            remedy=f"It has {', '.join(f'${each}' for each in sorted(variables))}.",
            stage=Stage.CONTENT,
        )
    if not _PLAIN.fullmatch(variables[name]):
        raise CouldNotVerify(
            f"runbook.paths names ${name}, and a shell would read something else than its name",
            remedy="Have the document say it as a variable, in quotation marks.",
            stage=Stage.CONTENT,
            details=(variables[name],),
        )
    return f"{variables[name]}{slash}{rest}"
