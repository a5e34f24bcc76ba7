"""How-to documents, followed literally: their files are written, their commands run, their output is compared.

* A line that holds nothing but a path in backticks names the file that the next fenced block is.
* A ``console`` block is a session of bash: lines that begin with ``$`` are typed (a backslash at the end goes on in the
  next line), the others must be printed, in this order. ``…`` stands for anything in a line, ``...`` for any lines.
* A command must succeed, unless the document asks for its exit status next (``echo $?``).
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_NAMED = re.compile(r"(?:^|\n)`([^`\n]+)`\n\n?\Z")
_LIMIT = 300


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the file that it is (or ""), and its line."""

    language: str
    text: str
    path: str
    line: int


@dataclass
class Command:
    """What is typed, and what must be printed then."""

    text: str
    line: int
    output: list[str] = field(default_factory=list)


def blocks(document: Path) -> Iterator[Block]:
    """The fenced blocks of a document, in order."""
    text = document.read_text("utf-8")
    for match in _FENCE.finditer(text):
        named = _NAMED.search(text, 0, match.start())
        yield Block(match[1], match[2], named[1] if named else "", text.count("\n", 0, match.start()) + 1)


def commands(block: Block) -> Iterator[Command]:
    """The commands of a console block."""
    current: Command | None = None
    continued = False
    for number, line in enumerate(block.text.splitlines(), block.line + 1):
        if continued and current:
            current.text += f"\n{line}"
        elif line.startswith("$ "):
            if current:
                yield current
            current = Command(line[2:], number)
        elif current:
            current.output.append(line)
        continued = current is not None and not current.output and line.endswith("\\")
    if current:
        yield current


def follow(document: Path, directory: Path, environment: Mapping[str, str]) -> list[str]:
    """Do what a document says, in a directory; the commands that were run are returned.

    Raises:
        AssertionError: A command failed, or printed something else; the message says on which line.
    """
    session = _Session(directory, environment)
    done: list[str] = []
    for block in blocks(document):
        if block.path:
            path = directory / block.path
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text, "utf-8")
        elif block.language == "console":
            asked = list(commands(block))
            for command, following in zip(asked, [*asked[1:], None], strict=True):
                forgiven = following is not None and following.text == "echo $?"
                session.run(command, f"{document.name}:{command.line}", may_fail=forgiven)
                done.append(command.text)
    return done


class _Session:
    """A shell that keeps its directory, its variables and its last exit status from command to command."""

    def __init__(self, directory: Path, environment: Mapping[str, str]) -> None:
        self._environment = dict(environment)
        self._keep = directory / ".session"
        self._directory = directory

    def run(self, command: Command, where: str, *, may_fail: bool) -> None:
        keep = f'"{self._keep}"'
        script = (
            f"[ ! -e {keep} ] || . {keep}\n{command.text}\n__status=$?\n"
            f'{{ export -p; echo "cd \\"$PWD\\""; echo "(exit $__status)"; }} >{keep}\nexit $__status\n'
        )
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self._directory, env=self._environment, capture_output=True, text=True, timeout=_LIMIT, check=False,
        )  # fmt: skip
        printed = done.stdout + done.stderr
        assert done.returncode == 0 or may_fail, f"{where}: exit status {done.returncode}\n$ {command.text}\n{printed}"
        missing = first_missing(command.output, printed.splitlines())
        assert missing is None, f"{where}: not printed: {missing}\n$ {command.text}\n{printed}"


def first_missing(expected: list[str], printed: list[str]) -> str | None:
    """The first expected line that is not there, or ``None``; without ``...`` lines follow each other."""
    position, anywhere = 0, False
    for line in expected:
        if line.strip() == "...":
            anywhere = True
            continue
        pattern = re.compile(".*".join(re.escape(part.rstrip()) for part in line.split("…")) + r"\s*")
        while position < len(printed) and not pattern.fullmatch(printed[position]):
            if not anywhere and printed[position].strip():
                return line
            position += 1
        if position == len(printed):
            return line
        position, anywhere = position + 1, False
    return None
