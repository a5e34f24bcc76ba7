"""Steps of a runbook, typed one after another into what behaves like one shell inside a sandbox.

Each step is a bash of its own (``-e -o pipefail``, with nothing to read), so that it has its own deadline, its own exit
status and cannot swallow the next one; variables, functions, options and the directory go from step to step, as where a
person types them. A step's file has its lines where the document has them: what bash says of a line is right.
"""

from __future__ import annotations

import re
import secrets
import shlex
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.model import Stage
from restore_drill.sandboxes.base import Sandbox
from restore_drill.secrets import redact

if TYPE_CHECKING:
    from restore_drill.catalogue.runbook import Stub
    from restore_drill.runbooks import Step

#: Programs that run what follows them as somebody else: in a sandbox there is only one account.
_CHANGE_USER: Final = ("sudo", "doas", "runuser", "su")
#: Of these, what takes a command as text, unless its first option names a user.
_TAKE_TEXT: Final = ("runuser", "su")
_PASS_TEXT: Final = (
    "case $1 in -u|--user|--user=*) ;; *)",
    "text=; while [ $# -gt 0 ]; do case $1 in",
    "  -c|-[a-z]*c|--command|--session-command) text=$2; shift ;;",
    "  --command=*|--session-command=*) text=${1#*=} ;;",
    "  -[sgGw]|--shell|--group|--supp-group) shift ;;",
    "esac; [ $# -eq 0 ] || shift; done",
    '[ -z "$text" ] || exec bash -c "$text"',
    "exit 0 ;; esac",
)
#: Steps over their options, and runs what follows.
_PASS_ON: Final = (
    "while [ $# -gt 0 ]; do case $1 in",
    "  -[ugUGCDRTprth]|--user|--group) shift; [ $# -gt 0 ] && shift ;;",
    "  --) shift; break ;;",
    "  -*) shift ;;",
    "  *) break ;;",
    "esac; done",
    '[ $# -eq 0 ] || exec env "$@"',
    "",
)
#: What keeps its place in the text of a command.
_SAFE: Final = re.compile(r"[A-Za-z0-9_./-]+")
_COMMAND_NOT_FOUND: Final = 127
_LAST_LINES: Final = 30
_SETUP_WITHIN: Final = 60.0
#: Runs one step: the state, the step's file, a token, where stubs leave their names, the step. Its own programs are
#: found whatever a step makes of PATH. Bash only warns of a here-document without an end, which swallows what follows.
_DRIVER: Final = r"""
__drill_state=$1 __drill_token=$3 __drill_stubbed=$4 __drill_at=0
printf '%s\n' "$5" >"$2" && : >"$4" && set -- "$2" || exit 1
__drill_save() {
  { compgen -v | while IFS= read -r __drill_name; do
      case $__drill_name in
        __drill_*|_|BASH*|COMP_*|DIRSTACK|EPOCH*|EUID|FUNCNAME|GROUPS|HOSTNAME|HOSTTYPE|LINENO|MACHTYPE|OLDPWD) ;;
        OPTERR|OPTIND|OSTYPE|PIPESTATUS|PPID|PWD|RANDOM|SECONDS|SHELLOPTS|SHLVL|SRANDOM|UID) ;;
        *) declare -p "$__drill_name" ;;
      esac
    done
    declare -f; set +o; shopt -p; printf 'umask %s\n' "$(umask)"; printf 'cd %q\n' "$PWD"
  } >"$__drill_state.new" 2>/dev/null
  command -p mv "$__drill_state.new" "$__drill_state"
}
__drill_end() {
  if [ "$1" = 0 ]; then __drill_save; fi
  __drill_called=$(command -p sort -u "$__drill_stubbed" | command -p tr '\n' ' ')
  printf '\n%s %s %s\n' "$__drill_token" "$__drill_at" "$__drill_called" >&2
}
__drill_file=$1; set --
__drill_read=$(LC_ALL=C command -p bash -n "$__drill_file" 2>&1)
if [[ $__drill_read =~ here-document\ at\ line\ ([0-9]+)\ delimited\ by\ end-of-file ]]; then
  __drill_at=${BASH_REMATCH[1]}; printf '%s\n' "$__drill_read" >&2; __drill_end 2; exit 2
fi
. "$__drill_state" >/dev/null 2>&1
trap '__drill_status=$?; trap - ERR; set +e; __drill_end "$__drill_status"; exit "$__drill_status"' EXIT
trap '__drill_at=$LINENO' ERR
set -eE -o pipefail
. "$__drill_file" </dev/null
__drill_status=$?; trap - ERR EXIT; set +e; __drill_end "$__drill_status"; exit "$__drill_status"
"""


@dataclass(frozen=True, slots=True)
class Ran:
    """How one step went.

    Attributes:
        status: Its exit status; ``None`` when it did not end in time.
        line: The document's line at which it went wrong, as far as bash tells; else the step's first.
        stubbed: The stubs that it called.
        said: The end of what it wrote, redacted; not to be published.
    """

    status: int | None
    line: int
    seconds: float
    stubbed: tuple[str, ...]
    said: tuple[str, ...]


class Shell:
    """What behaves like one shell.

    Args:
        sandbox: Equipped already.
        data: The directory of programs' own, as they see it.
        document: Name of the document, for what bash says.
    """

    def __init__(self, sandbox: Sandbox, data: str, document: str) -> None:
        if not _SAFE.fullmatch(data):
            raise CouldNotVerify(
                "a runbook cannot be executed in a directory whose name holds more than letters, digits, . _ and -",
                looked_at=data,
                remedy="Name another directory for restores.",
                stage=Stage.RESTORE,
            )
        self._sandbox = sandbox
        self._places: list[tuple[re.Pattern[str], str]] = []
        self._stood_in: frozenset[str] = frozenset()
        self.work, self.restore = f"{data}/work", f"{data}/restore"
        self._keys, self._own, self._bin = f"{data}/keys", f"{data}/.drill", f"{data}/.drill/bin"
        self._file = f"{self._own}/{re.sub(r'[^A-Za-z0-9_.-]', '-', document.rpartition('/')[2]) or 'runbook'}"

    def key_place(self, name: str) -> str:
        """Where a key will lie."""
        return f"{self._keys}/{name}"

    def prepare(
        self, variables: Mapping[str, str], keys: Mapping[str, bytes], stubs: Sequence[Stub],
        stand_ins: Mapping[str, str],
    ) -> None:  # fmt: skip
        """Make the directories, the keys' files, the stubs and the variables.

        Raises:
            CouldNotVerify: They cannot be made; there is no bash.
        """
        self._stood_in = frozenset((*(stub.command.rpartition("/")[2] for stub in stubs), *stand_ins))
        state = [f"declare -x {name}={shlex.quote(value)}" for name, value in variables.items()]
        state += [f'PATH={self._bin}:{self._bin}.behind:"$PATH"', "umask 022", f"cd {self.work}"]
        made = (self.work, self.restore, self._keys, self._bin, f"{self._bin}.behind", self._clients)
        lines = ["set -e", "umask 077", f"mkdir -p {' '.join(made)}"]
        for stub in stubs:
            name = stub.command.rpartition("/")[2]
            lines.append(_write(f"{self._bin}/{name}", _script(stub, self._bin, self._stubbed)))
        for name, script in stand_ins.items():
            told = (
                f"#!/bin/sh\nprintf '%s\\n' {shlex.quote(name)} >>{self._stubbed}\nexec {self._clients}/{name} \"$@\"\n"
            )
            lines += [_write(f"{self._bin}.behind/{name}", told), _write(f"{self._clients}/{name}", script)]
        lines += [f"chmod -R u+x {self._own}", _write(self._state, "\n".join(state) + "\n")]
        done = self._sandbox.exec(["bash", "-c", "\n".join(lines)], deadline=_SETUP_WITHIN)
        if done.returncode:
            raise CouldNotVerify(
                "the directories of a runbook cannot be made inside the sandbox",
                stage=Stage.RESTORE,
                details=_last(done.stderr),
            )
        for name, content in keys.items():
            argv = ["sh", "-c", 'umask 077; cat >"$0"', self.key_place(name)]
            if self._sandbox.exec(argv, deadline=_SETUP_WITHIN, stdin=content).returncode:
                raise CouldNotVerify("a key cannot be written inside the sandbox", stage=Stage.CONTENT)

    def move(self, places: Mapping[str, str]) -> None:
        """Have paths of production stand for places of the sandbox, from now on; the longest path wins."""
        for path in sorted(places, key=len, reverse=True):
            # What goes before may end another path, what follows may make it another name.
            self._places.append((re.compile(rf"(?<![\w./~}}-]){re.escape(path)}(?![\w.-])"), places[path]))

    def stubs_by_path(self, stubs: Sequence[Stub]) -> dict[str, str]:
        """Where the stubs of programs lie that the document calls by their paths."""
        return {stub.command: f"{self._bin}/{stub.command.rpartition('/')[2]}" for stub in stubs if "/" in stub.command}

    def moved(self, text: str) -> str:
        """A text with every path of production where it lies in the sandbox."""
        taken: list[str] = []

        def take(place: str) -> str:
            taken.append(place)
            return f"\0{len(taken) - 1}\0"  # so that no later path is looked for in it

        for path, place in self._places:
            text = path.sub(lambda _, place=place: take(place), text)  # type: ignore[misc]
        return re.sub("\0(\\d+)\0", lambda found: taken[int(found[1])], text)

    def run(self, step: Step, seconds: float) -> Ran:
        """Type one step.

        Raises:
            CouldNotVerify: It could not even be tried.
        """
        token = secrets.token_hex(8)
        typed = "\n" * (step.line - 1) + self.moved(step.code.replace("\0", ""))
        argv = ["bash", "-c", _DRIVER, "bash", self._state, self._file, token, self._stubbed, typed]
        clock = time.monotonic()
        try:
            done = self._sandbox.exec(argv, deadline=seconds)
        except DeadlineExceeded as problem:
            return Ran(None, step.line, time.monotonic() - clock, (), problem.details)
        said, ended, trailer = done.stderr.rpartition(token.encode())
        told = trailer.decode(errors="replace").split() if ended else []
        line = int(told[0]) if told and told[0].isdecimal() else 0
        last = step.line + step.code.count("\n")
        return Ran(
            done.returncode, line if step.line <= line <= last else step.line, time.monotonic() - clock,
            self._called(told[1:]) if ended else self._recorded(),
            (*_last(done.stdout), *_last(said if ended else done.stderr)),
        )  # fmt: skip

    def _recorded(self) -> tuple[str, ...]:
        """The stubs that a step called which did not say so: it ended the shell in a way of its own, or hushed it."""
        done = self._sandbox.exec(["sort", "-u", self._stubbed], deadline=_SETUP_WITHIN)
        return self._called(done.stdout.decode(errors="replace").split())

    def _called(self, names: Sequence[str]) -> tuple[str, ...]:
        """Names of stubs and nothing else: they are published, and a step may write where they are noted."""
        return tuple(name for name in names if name in self._stood_in)

    def do(self, argv: Sequence[str], seconds: float) -> bool:
        """Run a program of the sandbox's own, and say whether it ended well."""
        return self._sandbox.exec(argv, deadline=seconds).returncode == 0

    @property
    def _clients(self) -> str:
        return f"{self._own}/clients"

    @property
    def _state(self) -> str:
        return f"{self._own}/state"

    @property
    def _stubbed(self) -> str:
        return f"{self._own}/stubbed"


def is_missing_program(ran: Ran) -> bool:
    """Whether a step ended because a program is not there: nothing is known of the runbook then."""
    return ran.status == _COMMAND_NOT_FOUND


def _script(stub: Stub, place: str, stubbed: str) -> str:
    """What stands in for a program that only production has."""
    name = stub.command.rpartition("/")[2]
    lines = ["#!/bin/sh"]
    if stub.only_for:
        lines += [f'case "$*" in *{shlex.quote(stub.only_for)}*) ;;']
        lines += [f'*) PATH=${{PATH#*{place}:}} exec {name} "$@" ;; esac']
    if stub.says is None and name in _CHANGE_USER:
        return "\n".join([*lines, *(_PASS_TEXT if name in _TAKE_TEXT else ()), *_PASS_ON])
    lines += [f"printf '%s\\n' {shlex.quote(name)} >>{stubbed}"]
    lines += [f"printf '%s\\n' {shlex.quote(stub.says)}"] if stub.says is not None else []
    return "\n".join(lines) + "\n"


def _write(path: str, text: str) -> str:
    return f"printf %s {shlex.quote(text)} >{path}"


def _last(said: bytes) -> tuple[str, ...]:
    return tuple(redact(line) for line in said.decode(errors="replace").rstrip().splitlines()[-_LAST_LINES:])
