"""What every sandbox must do: subclass :class:`SandboxConformance` and give it a ``sandbox_factory`` fixture.

The functions that it has run inside are in :mod:`restore_drill.sandboxes.trials`.
"""

# ruff: noqa: S101, D102, RUF043

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from restore_drill.errors import BackupFailed, CouldNotVerify, DeadlineExceeded, SandboxDied, UsageProblem
from restore_drill.model import Stage, Verdict
from restore_drill.process import BARE_ENVIRONMENT, ProgramMissing
from restore_drill.sandboxes.base import Disposal, Limits, Sandbox

#: Makes a sandbox that was not entered yet.
SandboxFactory = Callable[[Limits], Sandbox]

TRIALS = "restore_drill.sandboxes.trials"
#: Seconds that nothing here should need.
LONG = 60.0
_MEBIBYTE = 1 << 20


def processes_marked(marker: str) -> list[int]:
    """Processes of this machine that have an argument with a mark in it."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if marker.encode() in line:
                found.append(int(entry.name))
    return found


class SandboxConformance:
    """The contract of :class:`restore_drill.sandboxes.base.Sandbox` as tests."""

    #: Variables that a sandbox may set besides the bare ones.
    own_variables = frozenset({"HOME", "TMPDIR"})

    @pytest.fixture
    def sandbox_factory(self) -> SandboxFactory:
        """How a sandbox is made; to be overridden."""
        raise NotImplementedError

    @pytest.fixture
    def sandbox(self, sandbox_factory: SandboxFactory) -> Iterator[Sandbox]:
        """A sandbox in use, with small limits."""
        limits = Limits(memory=512 * _MEBIBYTE, file_size=8 * _MEBIBYTE, open_files=64)
        with sandbox_factory(limits) as sandbox:
            yield sandbox

    @pytest.fixture
    def marker(self) -> str:
        """A word that is in no other process's arguments."""
        return f"marked-{secrets.token_hex(8)}"

    # Calls

    def test_call_answers_with_json_values(self, sandbox: Sandbox) -> None:
        value = {"text": "ä\ud800", "list": [1, 2.5, None, True], "nested": {"": []}}
        assert sandbox.call(f"{TRIALS}:echo", {"value": value}, deadline=LONG) == value

    def test_calls_share_a_process(self, sandbox: Sandbox) -> None:
        first = sandbox.call(f"{TRIALS}:process", {}, deadline=LONG)
        assert sandbox.call(f"{TRIALS}:process", {}, deadline=LONG) == first

    def test_result_may_be_asked_for_later_and_again(self, sandbox: Sandbox) -> None:
        first = sandbox.submit(f"{TRIALS}:echo", {"value": 1}, deadline=LONG)
        second = sandbox.submit(f"{TRIALS}:echo", {"value": 2}, deadline=LONG)
        assert [second.result(), first.result(), first.result()] == [2, 1, 1]

    @pytest.mark.parametrize(
        "name", ["os", "os:", ":system", "os:path.join", "os.path:join()", "../os:getpid", "a b:c"]
    )
    def test_only_a_function_of_a_module_is_called(self, sandbox: Sandbox, name: str) -> None:
        with pytest.raises(UsageProblem):
            sandbox.call(name, {}, deadline=LONG)

    def test_missing_module_is_named(self, sandbox: Sandbox) -> None:
        with pytest.raises(CouldNotVerify, match="no_such_module"):
            sandbox.call("no_such_module.at_all:function", {}, deadline=LONG)

    # What the function finds

    def test_environment_is_emptied(self, sandbox_factory: SandboxFactory, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
        with sandbox_factory(Limits()) as sandbox:
            environment = sandbox.call(f"{TRIALS}:look_around", {}, deadline=LONG)["environment"]
        assert set(environment) - self.own_variables <= set(BARE_ENVIRONMENT)

    def test_no_descriptor_is_inherited(self, sandbox_factory: SandboxFactory, tmp_path: Path) -> None:
        with (tmp_path / "canary").open("wb") as canary:
            os.set_inheritable(canary.fileno(), True)
            with sandbox_factory(Limits()) as sandbox:
                found = sandbox.call(f"{TRIALS}:look_around", {}, deadline=LONG)["descriptors"]
        # Standard streams, and the line to the host.
        assert len(found) == 4 and set(found) >= {0, 1, 2}

    def test_function_works_in_the_work_directory(self, sandbox: Sandbox) -> None:
        found = sandbox.call(f"{TRIALS}:look_around", {}, deadline=LONG)
        assert found["directory"] == found["work"]
        assert 0 < found["left"] <= LONG

    def test_sandboxes_have_processes_of_their_own(self, sandbox_factory: SandboxFactory, marker: str) -> None:
        with sandbox_factory(Limits()) as first, sandbox_factory(Limits()) as second:
            assert first.work != second.work
            first.call(f"{TRIALS}:leave_daemon", {"marker": marker}, deadline=LONG)
            with pytest.raises(SandboxDied):
                second.call(f"{TRIALS}:crash", {}, deadline=LONG)
            second.dispose()
            assert len(processes_marked(marker)) == 1
            assert first.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1

    # Limits

    def test_memory_is_limited(self, sandbox: Sandbox) -> None:
        size = 64 * _MEBIBYTE
        assert sandbox.call(f"{TRIALS}:allocate", {"size": size}, deadline=LONG) == size
        with pytest.raises(CouldNotVerify, match="more memory was needed than the sandbox's limit of 537 MB"):
            sandbox.call(f"{TRIALS}:allocate", {"size": 1024 * _MEBIBYTE}, deadline=LONG)
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1

    def test_file_size_is_limited(self, sandbox: Sandbox) -> None:
        fits, too_much = {"path": "a", "size": 4 * _MEBIBYTE}, {"path": "b", "size": 16 * _MEBIBYTE}
        assert sandbox.call(f"{TRIALS}:write", fits, deadline=LONG) == 4 * _MEBIBYTE
        with pytest.raises(CouldNotVerify, match="a file grew beyond the sandbox's limit of 8.39 MB"):
            sandbox.call(f"{TRIALS}:write", too_much, deadline=LONG)

    def test_open_files_are_limited(self, sandbox: Sandbox) -> None:
        assert sandbox.call(f"{TRIALS}:open_many", {"count": 16}, deadline=LONG) == 16
        with pytest.raises(CouldNotVerify, match="limit of 64"):
            sandbox.call(f"{TRIALS}:open_many", {"count": 128}, deadline=LONG)

    # Functions that misbehave: each with an error of its own, and the next call works

    @pytest.mark.parametrize(
        ("function", "arguments", "signal", "cause"),
        [
            ("crash", {}, 11, "was ended by SIGSEGV while it ran restore_drill.sandboxes.trials:crash"),
            ("abort", {}, 6, "was ended by SIGABRT"),
            ("leave", {"status": 3}, 0, "exited with status 3"),
            ("leave", {"status": 0}, 0, "exited with status 0"),
        ],
    )
    def test_process_that_ends_is_replaced(
        self, sandbox: Sandbox, function: str, arguments: dict[str, Any], signal: int, cause: str
    ) -> None:
        with pytest.raises(SandboxDied, match=cause) as caught:
            sandbox.call(f"{TRIALS}:{function}", arguments, deadline=LONG)
        assert caught.value.signal == signal
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1

    def test_defect_is_no_verdict_and_tells_no_content(self, sandbox: Sandbox) -> None:
        with pytest.raises(CouldNotVerify, match="trials:fail raised TypeError") as caught:
            sandbox.call(f"{TRIALS}:fail", {}, deadline=LONG)
        assert "secret words" not in str(caught.value)
        assert any("secret words" in line for line in caught.value.details)

    def test_error_arrives_with_all_its_parts(self, sandbox: Sandbox) -> None:
        with pytest.raises(BackupFailed) as caught:
            sandbox.call(f"{TRIALS}:condemn", {}, deadline=LONG)
        error = caught.value
        assert type(error) is BackupFailed and error.verdict is Verdict.FAILED
        assert (error.cause, error.looked_at, error.remedy) == (
            "the header is damaged",
            "the first page",
            "Take another backup.",
        )
        assert error.stage is Stage.RESTORE and error.details == ("a file name", "another")

    @pytest.mark.parametrize("condemn", [False, True])
    def test_full_disk_says_nothing_about_the_backup(self, sandbox: Sandbox, condemn: bool) -> None:
        with pytest.raises(CouldNotVerify, match="disk .* is full"):
            sandbox.call(f"{TRIALS}:run_out_of_space", {"condemn": condemn}, deadline=LONG)

    def test_function_that_hangs_is_ended(self, sandbox: Sandbox) -> None:
        with pytest.raises(DeadlineExceeded, match="trials:hang did not end within"):
            sandbox.call(f"{TRIALS}:hang", {}, deadline=0.2)
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1

    def test_what_a_function_prints_is_in_nobodys_way(self, sandbox: Sandbox) -> None:
        assert sandbox.call(f"{TRIALS}:chatter", {"size": 4 * _MEBIBYTE}, deadline=LONG) == 4 * _MEBIBYTE

    def test_answer_must_be_json(self, sandbox: Sandbox) -> None:
        with pytest.raises(CouldNotVerify, match="what is no JSON value"):
            sandbox.call(f"{TRIALS}:answer_nonsense", {}, deadline=LONG)
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1

    # Feeds

    @pytest.mark.parametrize("sizes", [[], [0], [1] * 100, [5_000_000], [1 << 20, 0, 3, (1 << 20) + 1, 70_000]])
    def test_feed_arrives_whole_in_any_cut(self, sandbox: Sandbox, sizes: list[int]) -> None:
        chunks = [os.urandom(size) for size in sizes]
        expected = {"size": sum(sizes), "sha256": hashlib.sha256(b"".join(chunks)).hexdigest()}
        assert sandbox.call(f"{TRIALS}:digest", {}, deadline=LONG, feed=iter(chunks)) == expected

    def test_feed_may_be_other_bytes(self, sandbox: Sandbox) -> None:
        chunks = [bytearray(b"abc"), memoryview(b"defg")[1:3]]
        found = sandbox.call(f"{TRIALS}:digest", {}, deadline=LONG, feed=chunks)
        assert found["sha256"] == hashlib.sha256(b"abcef").hexdigest()

    def test_without_a_feed_there_are_no_chunks(self, sandbox: Sandbox) -> None:
        assert sandbox.call(f"{TRIALS}:digest", {}, deadline=LONG)["size"] == 0

    def test_feed_is_consumed_before_submit_returns(self, sandbox: Sandbox) -> None:
        passed: list[int] = []
        pending = sandbox.submit(f"{TRIALS}:digest", {}, deadline=LONG, feed=_counted(passed, 8))
        assert len(passed) == 8
        assert pending.result()["size"] == 8 * _MEBIBYTE

    @pytest.mark.parametrize(("how", "error"), [("answer", None), ("condemn", BackupFailed), ("crash", SandboxDied)])
    def test_feed_passes_to_its_end_whatever_the_function_does(
        self, sandbox: Sandbox, how: str, error: type[Exception] | None
    ) -> None:
        passed: list[int] = []
        pending = sandbox.submit(f"{TRIALS}:stop_feeding", {"how": how}, deadline=LONG, feed=_counted(passed, 16))
        assert len(passed) == 16
        if error is None:
            assert pending.result() is None
        else:
            with pytest.raises(error):
                pending.result()
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1

    def test_function_that_reads_no_more_meets_the_deadline(self, sandbox: Sandbox) -> None:
        passed: list[int] = []
        with pytest.raises(DeadlineExceeded):
            sandbox.submit(f"{TRIALS}:stop_feeding", {"how": "hang"}, deadline=0.5, feed=_counted(passed, 1 << 20))
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1

    def test_feed_that_breaks_off_is_told_to_the_function(self, sandbox: Sandbox) -> None:
        def broken() -> Iterator[bytes]:
            yield b"begin"
            raise ConnectionError("the store is gone")

        with pytest.raises(ConnectionError, match="the store is gone"):
            sandbox.submit(f"{TRIALS}:note_end", {}, deadline=LONG, feed=broken())
        assert (sandbox.work / "note").read_bytes() == b"over"
        assert sandbox.call(f"{TRIALS}:note_end", {}, deadline=LONG, feed=[b"whole"]) == 5

    def test_interrupt_while_feeding_leaves_it_disposable(self, sandbox: Sandbox) -> None:
        def interrupted() -> Iterator[bytes]:
            yield b"begin"
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            sandbox.submit(f"{TRIALS}:digest", {}, deadline=LONG, feed=interrupted())
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1
        assert sandbox.dispose().left == ()

    def test_progress_is_passed_on(self, sandbox: Sandbox) -> None:
        seen: list[int] = []
        answer = sandbox.call(
            f"{TRIALS}:count", {"until": 20}, deadline=LONG, progress=lambda report: seen.append(report["number"])
        )
        assert answer == 20
        assert seen == list(range(20))

    def test_interrupt_while_waiting_leaves_it_disposable(self, sandbox: Sandbox) -> None:
        def interrupt(_report: object) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            sandbox.call(f"{TRIALS}:count", {"until": 20}, deadline=LONG, progress=interrupt)
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1
        assert sandbox.dispose().left == ()

    # Disposal

    def test_disposal_leaves_no_file(self, sandbox_factory: SandboxFactory) -> None:
        with sandbox_factory(Limits()) as sandbox:
            work = sandbox.work
            (work / "a" / "b").mkdir(parents=True)
            (work / "a" / "b" / "c").write_text("x")
            (work / "a" / "root").symlink_to("/")
            (work / "a" / "b").chmod(0)
            assert work.exists()
            disposal = sandbox.dispose()
        assert (disposal.left, disposal.kept) == ((), "")
        assert not work.exists()
        assert sandbox.dispose() == disposal

    def test_what_another_may_use_is_empty(self, sandbox_factory: SandboxFactory) -> None:
        with sandbox_factory(Limits()) as first:
            first.call(f"{TRIALS}:write", {"path": "restored", "size": 3}, deadline=LONG)
            assert (first.work / "restored").exists()
            assert first.dispose(reuse=True) == first.dispose() == Disposal()
            assert not (first.work / "restored").exists()
        with sandbox_factory(Limits()) as second:
            assert list(second.work.iterdir()) == []
            assert second.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1

    def test_disposal_leaves_no_process(self, sandbox_factory: SandboxFactory, marker: str) -> None:
        with sandbox_factory(Limits()) as sandbox:
            assert sandbox.call(f"{TRIALS}:leave_daemon", {"marker": marker}, deadline=LONG)
            assert len(processes_marked(marker)) == 1
            disposal = sandbox.dispose()
        assert processes_marked(marker) == []
        assert disposal.left == ()

    def test_disposal_may_keep_what_was_restored(self, sandbox_factory: SandboxFactory, marker: str) -> None:
        with sandbox_factory(Limits()) as sandbox:
            sandbox.call(f"{TRIALS}:write", {"path": "file", "size": 3}, deadline=LONG)
            sandbox.call(f"{TRIALS}:leave_daemon", {"marker": marker}, deadline=LONG)
            disposal = sandbox.dispose(keep=True)
        assert disposal.left == ()
        assert (Path(disposal.kept) / "file").stat().st_size == 3
        assert processes_marked(marker) == []

    def test_facts_are_json_and_name_the_network(self, sandbox: Sandbox) -> None:
        facts = json.loads(json.dumps(sandbox.facts()))
        assert facts["kind"] == sandbox.name
        assert facts["network"] in ("none", "host")


class UnequippedConformance(SandboxConformance):
    """More of it, for a sandbox that runs this machine's programs in its work directory before it is equipped."""

    # Programs

    def test_environment_of_programs_is_emptied(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
        listed = sandbox.exec(["env"], deadline=LONG).stdout.decode()
        assert {line.partition("=")[0] for line in listed.splitlines()} - self.own_variables <= set(BARE_ENVIRONMENT)

    def test_file_size_is_limited_for_programs(self, sandbox: Sandbox) -> None:
        argv = ["dd", "if=/dev/zero", "of=c", "bs=1M", "count=4"]
        assert sandbox.exec(argv, deadline=LONG).returncode == 0
        with pytest.raises(CouldNotVerify, match="dd wrote a file beyond the sandbox's limit"):
            sandbox.exec([*argv[:-1], "count=16"], deadline=LONG)

    def test_program_runs_in_the_work_directory(self, sandbox: Sandbox) -> None:
        sandbox.call(f"{TRIALS}:write", {"path": "here", "size": 3}, deadline=LONG)
        completed = sandbox.exec(["sh", "-c", "ls; cat; echo no >&2; exit 7"], deadline=LONG, stdin=b"in\xff")
        assert (completed.returncode, completed.stdout, completed.stderr) == (7, b"here\nin\xff", b"no\n")

    def test_missing_program_is_named(self, sandbox: Sandbox) -> None:
        with pytest.raises(ProgramMissing, match="no-such-program"):
            sandbox.exec(["no-such-program"], deadline=LONG)

    def test_program_that_hangs_is_ended_with_all_it_started(self, sandbox: Sandbox, marker: str) -> None:
        script = f"setsid sh -c 'sleep 3600; : {marker}' & echo begun; sleep 3600"
        with pytest.raises(DeadlineExceeded, match="did not end"):
            sandbox.exec(["sh", "-c", script], deadline=0.5)
        assert processes_marked(marker) == []
        assert sandbox.call(f"{TRIALS}:echo", {"value": 1}, deadline=LONG) == 1

    # Servers

    def test_server_runs_beside_calls_until_it_is_stopped(self, sandbox: Sandbox, marker: str) -> None:
        script = f"trap 'echo stopped; exit 0' TERM; echo started; : > up; while :; do sleep 0.05; done # {marker}"
        server = sandbox.start(["sh", "-c", script], ready=lambda: _there(sandbox, "up"), deadline=LONG)
        with pytest.raises(SandboxDied):
            sandbox.call(f"{TRIALS}:crash", {}, deadline=LONG)
        assert processes_marked(marker) != []
        completed = server.stop()
        assert (completed.returncode, completed.stdout) == (0, b"started\nstopped\n")
        assert server.stop() == completed
        assert processes_marked(marker) == []

    def test_server_that_ends_early_is_reported(self, sandbox: Sandbox) -> None:
        with pytest.raises(CouldNotVerify, match="ended with status 5 before it was ready") as caught:
            sandbox.start(["sh", "-c", "echo why >&2; exit 5"], ready=lambda: False, deadline=LONG)
        assert caught.value.details == ("why",)

    def test_server_that_is_never_ready_is_ended(self, sandbox: Sandbox, marker: str) -> None:
        seen: list[int] = []

        def never_ready() -> bool:
            seen.extend(processes_marked(marker))
            return False

        with pytest.raises(DeadlineExceeded, match="was not ready within"):
            sandbox.start(["sh", "-c", f"sleep 3600; : {marker}"], ready=never_ready, deadline=0.5)
        assert seen != []
        assert processes_marked(marker) == []

    def test_missing_server_is_named(self, sandbox: Sandbox) -> None:
        with pytest.raises(ProgramMissing, match="no-such-server"):
            sandbox.start(["no-such-server"], ready=lambda: False, deadline=LONG)

    # Disposal

    def test_disposal_ends_a_call_and_a_server(self, sandbox_factory: SandboxFactory, marker: str) -> None:
        with sandbox_factory(Limits()) as sandbox:
            script = f"sleep 3600; : {marker}"
            sandbox.start(["sh", "-c", script], ready=lambda: processes_marked(marker) != [], deadline=LONG)
            pending = sandbox.submit(f"{TRIALS}:hang", {}, deadline=LONG)
            assert sandbox.dispose().left == ()
        assert processes_marked(marker) == []
        with pytest.raises(CouldNotVerify):
            pending.result()


def _counted(passed: list[int], count: int) -> Iterator[bytes]:
    chunk = bytes(_MEBIBYTE)
    for number in range(count):
        yield chunk
        passed.append(number)


def _there(sandbox: Sandbox, name: str) -> bool:
    return sandbox.exec(["test", "-e", name], deadline=LONG).returncode == 0
