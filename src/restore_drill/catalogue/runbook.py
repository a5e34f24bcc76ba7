"""The team's own recovery procedure that a target's drill follows: ``runbook``."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from restore_drill.catalogue.fields import Duration, Many, Part, Slug, Text, Worded, contradiction

#: Where a path of production may lead to: a variable that every step finds set, and what follows it.
_PLACE = re.compile(
    r"\$(BACKUP_DIR|RESTORE_DIR|RESTORED|WORK_DIR|SNAPSHOT|SNAPSHOT_DIR|KEY_[A-Z0-9_]+)(/[A-Za-z0-9_.@%+=:,/-]*)?"
)
_PROGRAM = re.compile(r"[A-Za-z0-9_.@%+/-]+")


def _place(value: str) -> str:
    if not _PLACE.fullmatch(value) or ".." in value.split("/"):
        raise ValueError(
            f"{value!r} is no place in the sandbox: write $RESTORE_DIR, $BACKUP_DIR, $SNAPSHOT, $SNAPSHOT_DIR, "
            "$WORK_DIR, $RESTORED or a $KEY_…, and what follows behind a slash"
        )
    return value


def _production(value: str) -> str:
    if not value.startswith(("/", "~/")) or value.strip("/~ ") == "" or not value.isprintable():
        raise ValueError(f"{value!r} is no path of production: write it from its first slash, as the document does")
    return value.rstrip("/")


def _program(value: str) -> str:
    if not _PROGRAM.fullmatch(value):
        raise ValueError(f"{value!r} is no name of a program: write it alone, without its arguments")
    return value


def _below(value: str) -> str:
    if value.startswith("/") or ".." in value.split("/") or not _PROGRAM.fullmatch(value):
        raise ValueError(f"{value!r} must be a name below $RESTORE_DIR, or the name of a database")
    return value


class Stub(Worded):
    """A program that only production has."""

    in_a_word = "command"
    command: Annotated[str, Field(min_length=1), AfterValidator(_program)] = Field(
        description="The program; sudo and its like run what follows them instead.", examples=["systemctl"]
    )
    only_for: Text | None = Field(
        None, description="Stood in for only where its arguments hold this text; else it runs.", examples=["localhost"]
    )
    says: Text | None = Field(None, description="What it writes, where a step reads it.", examples=["active"])


class RunbookModel(Part):
    """A document in Markdown whose steps are executed on the fetched snapshot; its result is judged like a restore."""

    document: Text | None = Field(
        None, description="The file, relative to this one; CommonMark.", examples=["../runbooks/orders.md"]
    )
    generated: bool = Field(
        False, description="In place of a document the runbook that restore-drill itself writes for this target.",
        examples=[True],
    )  # fmt: skip
    section: Text | None = Field(
        None, description="The heading whose part counts, where a document speaks of several systems.",
        examples=["Orders database"],
    )  # fmt: skip
    copy_: Slug | None = Field(
        None, alias="copy", description="The copy that it recovers from; the first one when left out.", examples=["nas"]
    )
    paths: dict[
        Annotated[str, AfterValidator(_production)], Annotated[str, AfterValidator(_place)]
    ] = Field(
        default_factory=dict,
        description="Where paths of production lie in the sandbox; everything below moves with them, the longest wins.",
        examples=[{"/srv/orders": "$RESTORE_DIR", "/backups/orders": "$BACKUP_DIR/orders"}],
    )  # fmt: skip
    stubs: Many[Stub] = Field(
        (), description="Programs that only production has: they do nothing, and are listed as steps left to people.",
        examples=[["systemctl", {"command": "curl", "only_for": "localhost", "says": "ok"}]],
    )  # fmt: skip
    restored: Annotated[str, Field(min_length=1), AfterValidator(_below)] | None = Field(
        None,
        description="What the steps leave: a file or tree below $RESTORE_DIR (the target's name when left out), or the "
        "name of a database in a server (every one that was made when left out).",
        examples=["orders.db"],
    )
    rollback: bool = Field(
        True, description="Whether the way back is drilled where the document has one.", examples=[False]
    )
    within: Duration | None = Field(
        None, description="How long one step may take (default: the target's restore deadline).", examples=["30m"]
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> RunbookModel:
        if self.generated is (self.document is not None):
            raise contradiction("give either document, a file, or generated: true")
        if self.generated and (self.section or self.paths or self.stubs or self.restored):
            raise contradiction("a generated runbook has no section, paths, stubs or restored to be told of")
        known: dict[str, Stub] = {}
        for stub in self.stubs:  # by its path and by its name a program is the same one
            name = stub.command.rpartition("/")[2]
            other = known.setdefault(name, stub)
            if (other.only_for, other.says) != (stub.only_for, stub.says):
                raise contradiction(f"two stubs are called {name!r}, and say different things of it: remove one")
        return self
