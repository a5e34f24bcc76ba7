"""A team's own recovery procedure, a document in Markdown, read as steps: what a person would type, and in which order.

CommonMark decides what is a heading, a list and a block of code; prose stays prose. Steps are

* fenced blocks whose language is a shell's (``sh``, ``bash``, ``shell``, ``zsh``), or a transcript's (``console``,
  ``shell-session``), of which only the lines behind a prompt are typed;
* code within the items of numbered lists that is a command: a program and its arguments, or an assignment.

Whatever else looks like something to type is listed as not executed, never guessed at. What stands behind a heading or
paragraph that begins with "Rollback" is how to go back, and no part of the way forward.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from restore_drill.documents import read_document

if TYPE_CHECKING:
    from restore_drill.catalogue.runbook import RunbookModel

#: Bytes that a document may have, and a step: it travels as one argument, of which Linux allows 128 KiB.
MOST: Final = 4 << 20
_LONGEST: Final = 100 << 10
#: What a runbook is called that restore-drill writes itself, from the drill that is under way.
GENERATED: Final = "the generated runbook"
_SHELLS: Final = ("sh", "bash", "shell", "zsh", "ksh")
_TRANSCRIPTS: Final = ("console", "shell-session", "shellsession", "terminal")
#: Languages of blocks in which nobody expects commands: what a program says, what a file holds.
_TEXTS: Final = ("text", "txt", "plain", "plaintext", "output", "log", "json", "yaml", "yml", "toml", "ini", "diff")
#: What is run without arguments, by its name: ``./restore.sh``.
_SCRIPT: Final = re.compile(r"\./\S+|\S+\.(?:sh|bash|py|pl|rb)")
_HTML_CODE: Final = re.compile(r"<(?:pre|code)\b", re.IGNORECASE)
_PROMPT: Final = re.compile(r"\s*[$#%] (.*)")
_CONTINUED: Final = re.compile(r"\s*> (.*)")
_ROLLBACK: Final = re.compile(r"[\W\d_]*(?:roll(?:ing)?[ -]?back|back(?:ing)?[ -]?out)\b", re.IGNORECASE)
#: With its value, in quotation marks or not; of what another command says only the beginning need be found.
_ASSIGNMENT: Final = re.compile(
    r"[A-Za-z_]\w*\+?=((?:'[^']*'|\"(?:\\.|[^\"\\])*\"|`[^`]*`|\$\([^)]*\)|\\.|[^\s'\"`\\])*)(?:\s+|\Z)", re.DOTALL
)
#: Programs are written in small letters: ``PRAGMA integrity_check`` is none.
_PROGRAM: Final = re.compile(r"[a-z_.~/$\[][\w.+/~{}:\"$-]*|\"\$[\w./{}-]+\"[\w./-]*")
#: What may stand before a program: a group, a subshell, a denial.
_OPENED: Final = re.compile(r"(?:\(\s*|[{!]\s+)+")
_COMMENT: Final = re.compile(r"\s*(?:#|\Z)")


@dataclass(frozen=True, slots=True)
class PlannedRunbook:
    """A document and what the catalogue says of it.

    Attributes:
        rule: The target's ``runbook:``.
        path: The file, as the catalogue names it; :data:`GENERATED` where there is none.
        text: All of it; ``""`` of one that is yet to be written.
        sha256: Of its bytes.
    """

    rule: RunbookModel
    path: str
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Step:
    """Something to type.

    Attributes:
        heading: The heading that it stands under.
        line: Its first line in the document, from 1.
        code: What is typed; its lines are those of the document from ``line`` on.
    """

    heading: str
    line: int
    code: str

    def __str__(self) -> str:
        """Where it stands, for messages: ``"Restore", line 12``."""
        return f'"{self.heading}", line {self.line}' if self.heading else f"line {self.line}"


@dataclass(frozen=True, slots=True)
class Unexecuted:
    """Something that looks as if it were to be typed, and is not: where, and why."""

    line: int
    why: str


@dataclass(frozen=True, slots=True)
class Procedure:
    """What a document, or a section of it, tells to do.

    Attributes:
        steps: The way forward, in the document's order.
        rollback: The way back.
        has_rollback: Whether the document speaks of a way back at all.
        rollback_line: Where it begins to, 0 where it does not.
        named: Code in the prose of the way back (the file that was kept from before), with its lines.
        unexecuted: What was left out.
    """

    steps: tuple[Step, ...]
    rollback: tuple[Step, ...] = ()
    has_rollback: bool = False
    rollback_line: int = 0
    named: tuple[tuple[int, str], ...] = ()
    unexecuted: tuple[Unexecuted, ...] = ()


def read(path: Path, name: str, rule: RunbookModel) -> PlannedRunbook:
    """A document, whole.

    Args:
        path: Where it is.
        name: What the catalogue calls it.
        rule: What the catalogue says of it.

    Raises:
        ValueError: It cannot be read; the message says why.
    """
    text, data = read_document(path, f"the runbook {name!r}", MOST)
    return PlannedRunbook(rule, name, text, hashlib.sha256(data).hexdigest())


def parse(text: str, section: str | None = None, stubs: Collection[str] = ()) -> Procedure:
    """The steps of a document.

    Args:
        text: The document.
        section: The heading whose part of the document counts; all of it when ``None``.
        stubs: Programs that are commands even without an argument.

    Raises:
        ValueError: There is no such heading, or several; a step is too long.
        CouldNotVerify: The library that reads Markdown is not installed.
    """
    from restore_drill.registry import library

    parser = library("markdown_it", "runbooks", "runbooks").MarkdownIt("commonmark")
    tokens = parser.parse(text)
    reader = _Reader(frozenset(stubs))
    for token in _of_section(tokens, section):
        reader.take(token)
    return reader.procedure()


def _of_section(tokens: Sequence[Any], section: str | None) -> Iterator[Any]:
    """The tokens from a heading to the next one of its level or above, or to the end of what it stands in.

    Before them come those that begin what it stands in: a quotation's commands are none, wherever the section begins.
    """
    if section is None:
        yield from tokens
        return
    wanted = _plain(section)
    found = [
        place
        for place, token in enumerate(tokens)
        if token.type == "heading_open" and _plain(_title(tokens[place + 1])) == wanted
    ]
    if len(found) != 1:
        headings = [_title(tokens[at + 1]) for at, token in enumerate(tokens) if token.type == "heading_open"]
        known = f"its headings are {', '.join(map(repr, headings[:12]))}" if headings else "it has no heading at all"
        raise ValueError(f"it has {len(found) or 'no'} headings {section!r}" + ("" if found else f": {known}"))
    start = found[0]
    yield from _around(tokens, start)
    for place, token in enumerate(tokens[start:]):
        if place and token.type == "heading_open" and token.tag <= tokens[start].tag:
            return
        if token.level < tokens[start].level:
            return
        yield token


def _around(tokens: Sequence[Any], place: int) -> list[Any]:
    """What begins the quotations and lists that a place lies in, from the outside in."""
    found: list[Any] = []
    for token in tokens[:place]:
        if token.nesting > 0:
            found.append(token)
        elif token.nesting < 0:
            found.pop()
    return found


class _Reader:
    """Goes through a document's tokens once."""

    def __init__(self, stubs: frozenset[str]) -> None:
        self._stubs = stubs
        self._within: list[str] = []
        self._heading = ""
        self._in_heading = False
        self._rollback = 0
        self._rollback_tag = ""
        self._first_rollback = 0
        self._steps: list[Step] = []
        self._back: list[Step] = []
        self._named: list[tuple[int, str]] = []
        self._unexecuted: list[Unexecuted] = []

    def procedure(self) -> Procedure:
        """What was found."""
        return Procedure(
            tuple(self._steps), tuple(self._back), bool(self._first_rollback), self._first_rollback,
            tuple(self._named), tuple(self._unexecuted),
        )  # fmt: skip

    def take(self, token: Any) -> None:
        """One more token of the document."""
        if token.type in ("fence", "code_block"):
            self._block(token)
        elif token.type == "html_block":
            if not token.content.lstrip().startswith("<!--") and _HTML_CODE.search(token.content):
                self._unexecuted.append(Unexecuted(token.map[0] + 1, "a block of HTML"))
        elif token.type == "heading_open":
            self._in_heading = True
            if not self._rollback or token.tag <= self._rollback_tag:
                self._rollback, self._rollback_tag = 0, token.tag
        elif token.type == "heading_close":
            self._in_heading = False
        elif token.type == "inline":
            self._inline(token)
        elif token.nesting > 0:
            self._within.append(token.type)
        elif token.nesting < 0:
            self._within.pop()

    def _inline(self, token: Any) -> None:
        line = token.map[0] + 1
        text = _title(token)
        if self._in_heading:
            self._heading = text
        begins_back = _ROLLBACK.match(text) and (self._in_heading or not self._in_list)
        if begins_back and not self._rollback:
            self._rollback = line
            self._first_rollback = self._first_rollback or line
            if not self._in_heading:
                self._rollback_tag = "h6"  # it ends with the next heading, whatever its level
        if not self._in_heading:
            for at, code in _code_of(token, line):
                self._code(at, code)

    @property
    def _in_list(self) -> bool:
        return any(each.endswith("list_open") for each in self._within)

    def _code(self, line: int, code: str) -> None:
        """Code within a line of text."""
        if "ordered_list_open" in self._within and "blockquote_open" not in self._within:
            if self._is_command(code):
                self._add(Step(self._heading, line, code))
                return
            if _SCRIPT.fullmatch(code):
                self._unexecuted.append(Unexecuted(line, "a script without an argument"))
            elif len(code.split()) > 1:
                self._unexecuted.append(Unexecuted(line, "code that does not begin with a program"))
        if self._rollback:
            self._named.append((line, code))

    def _is_command(self, code: str) -> bool:
        rest = code[opened.end() :] if (opened := _OPENED.match(code)) else code
        while found := _ASSIGNMENT.match(rest):
            rest = rest[found.end() :]
            if not rest or "$(" in found[1] or "`" in found[1]:
                return True
        words = rest.split()
        if not words or not _PROGRAM.fullmatch(words[0]):
            return False
        return len(words) > 1 or words[0] in self._stubs

    def _block(self, token: Any) -> None:
        language = token.info.split()[0].lower() if token.info.split() else ""
        fenced = token.type == "fence"
        line = token.map[0] + (2 if fenced else 1)
        if "blockquote_open" in self._within:
            self._unexecuted.append(Unexecuted(line, "a block in a quotation"))
        elif not fenced or not language:
            self._unexecuted.append(Unexecuted(line, "a block that names no language"))
        elif language in _TRANSCRIPTS or (language in _SHELLS and _is_transcript(token.content)):
            typed = _typed_in(token.content)
            if token.content.strip() and not typed.strip():
                self._unexecuted.append(Unexecuted(line, "a transcript in which nothing stands behind $"))
            self._typed(line, typed)
        elif language in _SHELLS:
            self._typed(line, token.content)
        elif language not in _TEXTS:
            self._unexecuted.append(Unexecuted(line, "a block of another language than a shell's"))

    def _typed(self, line: int, code: str) -> None:
        lines = code.rstrip("\n").split("\n")
        while lines and not lines[0].strip():
            lines, line = lines[1:], line + 1
        if any(not _COMMENT.match(each) for each in lines):
            self._add(Step(self._heading, line, "\n".join(lines)))

    def _add(self, step: Step) -> None:
        if len(step.code.encode()) > _LONGEST:
            raise ValueError(f"the step at line {step.line} is longer than {_LONGEST >> 10} KiB")
        (self._back if self._rollback else self._steps).append(step)


def _title(token: Any) -> str:
    """The text of a heading or paragraph without its marks."""
    parts = [" " if each.type.endswith("break") else each.content for each in token.children or ()]
    return " ".join("".join(parts).split())


def _plain(text: str) -> str:
    return " ".join(re.sub(r"[`*_]", "", text).split()).casefold()


def _code_of(token: Any, line: int) -> Iterator[tuple[int, str]]:
    """The code in a paragraph, each with its line."""
    for child in token.children or ():
        if child.type.endswith("break"):
            line += 1
        elif child.type == "code_inline":
            yield line, child.content.strip()


def _is_transcript(content: str) -> bool:
    """Whether every command of a block stands behind ``$``, as people copy it from their terminals."""
    lines = [line for line in content.splitlines() if line.strip()]
    return bool(lines) and re.match(r"\s*\$ ", lines[0]) is not None


def _typed_in(content: str) -> str:
    """What was typed in a transcript; lines of output become empty ones, so that lines keep their numbers."""
    typed, going_on = [], False
    for line in content.rstrip("\n").split("\n"):
        found = _PROMPT.match(line) or (_CONTINUED.match(line) if going_on else None)
        typed.append(found[1] if found else "")
        going_on = found is not None
    return "\n".join(typed)
