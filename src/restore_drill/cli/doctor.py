"""``restore-drill doctor``: one line a thing that drills rest on, each with its remedy when it is not good."""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from restore_drill import __version__, disk
from restore_drill.catalogue.load import load
from restore_drill.choosing import Choice, unavailable
from restore_drill.cli import add_catalogue, find_catalogue
from restore_drill.engines.base import Engine
from restore_drill.errors import CouldNotVerify, RestoreDrillError
from restore_drill.lifecycle import fit_demo, start_demo
from restore_drill.locate import locate
from restore_drill.plan import Plan, PlannedCopy, PlannedTarget
from restore_drill.printable import printable
from restore_drill.process import find
from restore_drill.quantities import format_duration, format_size
from restore_drill.registry import load as load_plug
from restore_drill.registry import require
from restore_drill.run import Run, RunOptions
from restore_drill.sandboxes.base import Limits, SandboxOptions
from restore_drill.secrets import SecretReference, redact
from restore_drill.signatures.base import PinnedKey

_PACKAGES = ("pytest", "pytest-xdist", "boto3", "isal", "pyrage", "cryptography", "pydantic", "PyYAML")
#: SQLite before this reports some corruption as ``ok`` (quick_check of WITHOUT ROWID tables).
_OLD_SQLITE = (3, 37, 0)
#: Bytes below which most backups would not fit.
_LITTLE = 1 << 30

Line = tuple[bool, str, str]


def configure(parser: argparse.ArgumentParser) -> None:
    """Its options."""
    add_catalogue(parser)
    parser.add_argument("--work-dir", metavar="DIR", default="", help="where drills restore to (default: TMPDIR)")


def run(arguments: argparse.Namespace) -> int:
    """Check everything; 0 when all is good, 1 otherwise."""
    good = _print(_machine(arguments.work_dir))
    plan = fit_demo(load(find_catalogue(arguments)))
    print(f"ok      catalogue {plan.catalogue}: {len(plan.targets)} targets")
    estate = start_demo(plan)
    try:
        good &= _print(_estate(plan, RunOptions(work_dir=arguments.work_dir)))
    finally:
        if estate is not None:
            estate.close()
    return 0 if good else 1


def _print(lines: Iterator[Line]) -> bool:
    good = True
    for fine, text, remedy in lines:
        good &= fine
        print(printable(redact(f"{'ok' if fine else 'PROBLEM':<7} {text}")))
        if not fine and remedy:
            print(printable(redact(f"        -> {remedy}")))
    return good


def _machine(work_dir: str) -> Iterator[Line]:
    yield True, f"restore-drill {__version__}, Python {platform.python_version()}, {_cores()} cores", ""
    yield True, ", ".join(f"{name} {_version(name)}" for name in _PACKAGES), ""
    fine = sqlite3.sqlite_version_info >= _OLD_SQLITE
    yield fine, f"SQLite {sqlite3.sqlite_version}", "Use a Python that is linked with SQLite 3.37 or newer."
    tools = ", ".join(f"{name} {'found' if find(name) else 'not found'}" for name in ("rsync", "sqlite3", "age"))
    yield True, f"optional programs (no drill needs them): {tools}", ""
    yield _guarded("sandbox", lambda: _sandbox(Path(work_dir or tempfile.gettempdir())))
    yield _guarded("disk", lambda: _disk(Path(work_dir or tempfile.gettempdir())))


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "missing"


def _disk(work: Path) -> str:
    free = max(disk.free_space(work) - disk.reserve(work), 0)
    if free <= _LITTLE:
        raise CouldNotVerify(
            f"only {format_size(free)} usable", looked_at=str(work), remedy="Free space, or give --work-dir another."
        )
    return f"{format_size(free)} usable in {work}"


def _sandbox(base: Path) -> str:
    kind = load_plug("sandboxes", "directory")
    with kind(base, run="doctor", name="doctor", limits=Limits()) as sandbox:
        sandbox.call("restore_drill.cli.doctor:answer", {}, deadline=30.0)
        facts = sandbox.facts()
    return f"works in {base}, network: {facts.get('network')}"


def answer(call: object) -> str:  # noqa: ARG001 - called inside the sandbox, with what every call gets
    """Prove that a call reaches the sandbox and comes back."""
    return "here"


def _estate(plan: Plan, options: RunOptions) -> Iterator[Line]:
    run = Run("doctor", Path(plan.reports), plan, options)
    yield _guarded(f"state {plan.state.url}", lambda: _state(run))
    yield _guarded("ledger", lambda: _ledger(plan))
    yield _guarded(f"reports {plan.reports}", lambda: _writable(Path(plan.reports)))
    yield from _sandboxes(run)
    yield from _applications(plan)
    for program, users in sorted(_programs(plan, run).items()):
        yield _program(program, ", ".join(sorted(users)))
    for name in sorted({target.model.engine for target in plan.targets}):
        if libraries := (engine := load_plug("engines", name)).libraries:
            yield _guarded(f"library {', '.join(libraries)} (for {name})", lambda engine=engine: _libraries(engine))  # type: ignore[misc]
    if plan.alerts:
        yield _guarded("library apprise (for alerts)", _sender)
    for reference in sorted(_secrets(plan), key=str):
        yield _guarded(f"secret {reference}", lambda reference=reference: _resolves(reference))  # type: ignore[misc]
    for key in sorted(_public_keys(plan), key=str):
        yield _guarded(f"public key {key}", lambda key=key: f"{len(key.read())} bytes")  # type: ignore[misc]
    for target in plan.targets:
        for copy in target.copies:
            yield _guarded(f"{target.name}/{copy.name}", lambda t=target, c=copy: _newest(run, t, c))  # type: ignore[misc]
    run.close()


def _guarded(label: str, check: Callable[[], str]) -> Line:
    try:
        return True, f"{label}: {check()}", ""
    except RestoreDrillError as problem:
        looked_at = f" ({problem.looked_at})" if problem.looked_at else ""
        return False, f"{label}: {problem.cause}{looked_at}", problem.remedy
    except OSError as problem:
        return False, f"{label}: {problem.strerror}", "Check its permissions and whether the disk is mounted."


def _state(run: Run) -> str:
    run.history.target("any")  # raises, with the remedy, when there is no state
    return "initialised"


def _ledger(plan: Plan) -> str:
    from restore_drill.ledger.opening import open_ledger
    from restore_drill.ledger.signing import signer_of

    head, signer = open_ledger(plan.state).head(), signer_of(plan.ledger)
    entries = f"{head.sequence} entries" if head else "no entry yet"
    return f"{entries}; {f'signed by {signer.key_id[:16]}' if signer else 'NOT SIGNED: no key (ledger.key)'}"


def _writable(directory: Path) -> str:
    directory.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=directory):
        return "can be written"


def _applications(plan: Plan) -> Iterator[Line]:
    """The images of sets' applications."""
    for planned in (each for target in plan.targets for each in target.sets):
        rule = planned.model.application
        if rule is not None:
            options = SandboxOptions(image=rule.image, pull=rule.pull)
            container = load_plug("sandboxes", "container")
            yield _guarded(f"application of the set {planned.name}", partial(container.inspect, options))


def _sandboxes(run: Run) -> Iterator[Line]:
    """Where targets are restored that do not simply take the directory of every machine, and whether they can be."""
    found: dict[tuple[Choice, SandboxOptions], list[str]] = {}
    for target in run.plan.targets:
        try:
            choice = run.sandbox_of(target)
        except CouldNotVerify as problem:
            yield False, f"sandbox (for {target.name}): {problem.cause}", problem.remedy
            continue
        if choice.kind != "directory" or load_plug("engines", target.model.engine).sandboxes[0] != "directory":
            found.setdefault((choice, target.model.sandbox.options), []).append(target.name)
    for (choice, options), targets in found.items():
        label = f"sandbox {choice.kind} (for {', '.join(targets)})"
        yield _guarded(label, lambda choice=choice, options=options: _usable(run, choice, options))  # type: ignore[misc]


def _usable(run: Run, choice: Choice, options: SandboxOptions) -> str:
    if why := unavailable(choice.kind, options, run.sandboxes):
        raise CouldNotVerify(why, remedy="Have that mended, or write another kind under sandbox.")
    said = load_plug("sandboxes", choice.kind).inspect(options)
    return f"{choice.reason}; {said}" if said else choice.reason


def _programs(plan: Plan, run: Run) -> dict[str, set[str]]:
    """The programs without which something of the catalogue cannot be read, and what needs them."""
    found: dict[str, set[str]] = {}
    for target in plan.targets:
        plugs = {("engines", target.model.engine)} if _uses_own_programs(run, target) else set()
        for copy in target.copies:
            plugs |= {("codecs", name) for name in (*copy.decrypt, *(copy.model.codecs or ()))}
            plugs |= {("signatures", rule.kind)} if (rule := copy.checksum.signature) else set()
        for plug, name in plugs:
            with contextlib.suppress(CouldNotVerify):  # what it needs is told where its copies are looked at
                for program in getattr(load_plug(plug, name), "programs", ()):
                    found.setdefault(program, set()).add(name)
    return found


def _uses_own_programs(run: Run, target: PlannedTarget) -> bool:
    """Whether a target is restored with this machine's programs, and not with those of an image."""
    try:
        return run.sandbox_of(target).kind == "directory"
    except CouldNotVerify:
        return False


def _program(program: str, users: str) -> Line:
    place = find(program)
    remedy = f"Install it: {users} cannot be read without it."
    return place is not None, f"program {program} (for {users}): {place or 'not found'}", remedy


def _libraries(engine: type[Engine]) -> str:
    require("engines", engine)
    return "installed"


def _sender() -> str:
    from restore_drill.registry import library

    return str(library("apprise", "what is told of changes", "alerts").__version__)


def _secrets(plan: Plan) -> set[SecretReference]:
    """Every secret of the catalogue: its reference, never its value; twice, where it is to be found in two ways."""
    found = dict.fromkeys(plan.state.secrets.values())
    if plan.ledger.key is not None:
        found[plan.ledger.key] = None
    told = [each.url for each in plan.alerts.values()]
    found |= dict.fromkeys([*told, *(url for each in plan.pings.values() for url in (each.url, each.fail_url) if url)])
    for target in plan.targets:
        for copy in target.copies:
            found |= dict.fromkeys(copy.settings.secrets.values())
            for keys in copy.decrypt.values():
                found |= dict.fromkeys(each for each in keys.values() if isinstance(each, SecretReference))
    return set(found)


def _public_keys(plan: Plan) -> set[PinnedKey]:
    """The files of public keys that signatures are verified with."""
    rules = [copy.checksum.signature for target in plan.targets for copy in target.copies]
    return {key for rule in rules if rule for key in rule.keys if key.path}


def _resolves(reference: SecretReference) -> str:
    reference.resolve_bytes()
    return "can be read"


def _newest(run: Run, target: PlannedTarget, copy: PlannedCopy) -> str:
    kind = load_plug("repositories", copy.layout)
    located = locate(kind(run.store(copy), copy, target.model), target, run, None)
    age = format_duration(round(time.time() - located.taken))
    return f"{located.points} recovery points, the newest {located.snapshot.id} ({age} old)"
