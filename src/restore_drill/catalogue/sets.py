"""Targets that must come back to a common moment: ``sets``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from restore_drill.catalogue.fields import (
    CaseName,
    Duration,
    Many,
    Part,
    Size,
    Slug,
    Text,
    Worded,
    contradiction,
)
from restore_drill.catalogue.sandboxing import Image
from restore_drill.catalogue.smoke import HttpProbe

_MOUNT = re.compile(r"(?:/[\w.+-]+)+", re.ASCII)
#: Places of a container that are not an application's.
_TAKEN = ("/drill", "/proc", "/sys", "/dev", "/etc", "/bin", "/lib", "/usr")
#: RFC 1123, section 2.1, and underscores, which engines of containers allow in the names of services.
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
#: RFC 1035, section 2.3.4.
_LONGEST_HOST = 253
_VARIABLE = re.compile(r"[A-Za-z_]\w{0,100}", re.ASCII)


def _mount(value: str) -> str:
    parts = value.split("/")
    if not _MOUNT.fullmatch(value) or "." in parts or ".." in parts:
        raise ValueError("needs an absolute path of the application's container, such as /srv/uploads")
    if any(value == place or value.startswith(f"{place}/") for place in _TAKEN):
        raise ValueError(f"{value} is no place of an application's own")
    return value


def _host(value: str) -> str:
    if len(value) > _LONGEST_HOST or not _HOST.fullmatch(value) or value.lower() == "localhost":
        raise ValueError(f"{value!r} is not usable as the name of a host: letters, digits, '-', '_' and '.'")
    return value


def _variable(value: str) -> str:
    if not _VARIABLE.fullmatch(value):
        raise ValueError(f"{value!r} is not usable as the name of a variable: letters, digits and '_'")
    return value


class Question(Part):
    """What is asked of one target of the set: a statement, or the files of its tree."""

    target: Slug = Field(description="The target that is asked; one of the set's.", examples=["shop-db"])
    sql: Text | None = Field(
        None, description="A statement that only reads, in the language of its engine.",
        examples=["select path from uploads"],
    )  # fmt: skip
    files: Text | None = Field(
        None, description="A glob: one row for each regular file of the tree that it matches.", examples=["uploads/**"]
    )
    below: Text | None = Field(
        None, description="A directory of the tree that paths are told below of.", examples=["uploads"]
    )
    give: Many[Literal["path", "bytes", "sha256"]] = Field(
        ("path",), description="What a file's row has, in this order.", examples=[["path", "bytes"]]
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> Question:
        if (self.sql is None) == (self.files is None):
            raise contradiction("give either sql, a statement, or files, a glob")
        if self.sql is not None and {"below", "give"} & self.model_fields_set:
            raise contradiction("below and give are of files; a statement says itself what its rows have")
        if not self.give or len(set(self.give)) < len(self.give):
            raise contradiction("give names what a row has, each once: [path, bytes]")
        if self.below is not None and (".." in self.below.split("/") or not self.below.strip("/.")):
            raise contradiction("below is a directory inside the tree: uploads")
        return self


class SetQuery(Part):
    """One answer held against another: every row of the first is in the second, or both have the same rows."""

    name: CaseName = Field(examples=["every upload is a file"])
    ask: Question = Field(
        description="The answer whose rows are looked for.",
        examples=[{"target": "shop-db", "sql": "select path from uploads"}],
    )
    is_in: Question | None = Field(
        None, description="The answer that must have every row of the first.",
        examples=[{"target": "shop-files", "files": "**"}],
    )  # fmt: skip
    equals: Question | None = Field(
        None, description="The answer that must have the same rows as the first, in whatever order.",
        examples=[{"target": "shop-files", "files": "uploads/**"}],
    )  # fmt: skip
    tolerate: int = Field(
        0, ge=0, description="How many rows may be missing, for what is deleted while the backups are taken.",
        examples=[5],
    )  # fmt: skip
    allow_empty: bool = Field(
        False, description="Accept an answer without a single row, which proves nothing.", examples=[True]
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> SetQuery:
        if (self.is_in is None) == (self.equals is None):
            raise contradiction("give either is_in or equals: the answer that the first is held against")
        return self

    @property
    def other(self) -> Question:
        """The second answer."""
        found = self.is_in or self.equals
        assert found is not None  # noqa: S101 - validated
        return found


class Login(Worded):
    """Whom the application logs in as. A bare word is the user."""

    in_a_word = "user"
    user: Text = Field(description="The user, or role, in the application's configuration.", examples=["shop"])
    password: str = Field(
        "",
        description="The password in that configuration, made up for the drill: no secret, since nothing but the "
        "restored copy knows it. Only servers that cannot do without ask for one (mariadb).",
        examples=["drill"],
    )


class SetApplication(Part):
    """An application that is started over what came back, cut off from everything else, and asked how it is."""

    image: Image = Field(
        description="Its image; may be pinned by its digest.", examples=["registry.example.net/shop:4.2"]
    )
    pull: Literal["missing", "never", "always"] = Field(
        "missing", description="When the image is fetched from its registry.", examples=["never"]
    )
    command: Many[Text] | None = Field(
        None, description="What is started (default: what the image starts).", examples=[["shop", "serve"]]
    )
    environment: dict[Annotated[str, AfterValidator(_variable)], str] = Field(
        default_factory=dict,
        description="Variables besides the image's. A restored server is reached under its target's name.",
        examples=[{"DATABASE_URL": "postgresql://shop@shop-db:5432/shop"}],
    )
    user: Text | None = Field(
        None, description="The account it runs as (default: the image's own, nobody where that is root).",
        examples=["app"],
    )  # fmt: skip
    hosts: dict[Annotated[str, AfterValidator(_host)], Slug] = Field(
        default_factory=dict,
        description="Further names under which it looks for servers, and the targets they are.",
        examples=[{"db.internal": "shop-db"}],
    )
    logins: dict[Slug, Login] = Field(
        default_factory=dict,
        description="Whom it logs in as, by target: a dump has no accounts, or speaks of them only.",
        examples=[{"shop-db": "shop"}, {"shop-db": {"user": "shop", "password": "drill"}}],
    )
    mounts: dict[Slug, Annotated[str, AfterValidator(_mount)]] = Field(
        default_factory=dict,
        description="Where it finds trees (and databases that are a file), by target: a copy that it may write to.",
        examples=[{"shop-files": "/srv/uploads"}],
    )
    health: HttpProbe = Field(
        HttpProbe(), description="The endpoint that must answer, asked from within.",
        examples=[{"port": 8080, "path": "/health"}],
    )  # fmt: skip
    within: Duration = Field(
        timedelta(minutes=1), description="How long it may take until it answers so.", examples=["2m"]
    )
    memory: Size | None = Field(None, description="Memory of its container altogether.", examples=["2 GiB"])
    disk: Size | None = Field(
        None,
        description="What it may write altogether, the copies under mounts included (default: 20 GiB and twice those).",
        examples=["200 GB"],
    )
    relay_image: Image | None = Field(
        None,
        description="The image, with Python in it, that passes connections on to restored servers (default: "
        "python:3.11).",
        examples=["registry.example.net/python:3.11"],
    )


class SetModel(Part):
    """Targets that must be brought back to a common moment, and what must hold of them together."""

    targets: Many[Slug] = Field(
        min_length=2,
        description="Which; the set's cases are reported with the first.",
        examples=[["shop-db", "shop-files"]],
    )
    copies: dict[Slug, Slug] = Field(
        default_factory=dict,
        description="Which copy of a target is restored (default: its first).",
        examples=[{"shop-files": "offsite"}],
    )
    within: Duration = Field(
        timedelta(minutes=15), description="How far apart the moments of the snapshots may lie.", examples=["5m"]
    )
    rpo: Duration | None = Field(
        None, description="How old the common moment may be (default: the longest RPO of its targets).",
        examples=["1d"],
    )  # fmt: skip
    rto: Duration | None = Field(
        None, description="How long it may take until all of them are back, one after the other (default: not judged).",
        examples=["1h"],
    )  # fmt: skip
    queries: Many[SetQuery] = Field(
        (),
        description="Answers of one target held against another's.",
        examples=[[{"name": "every upload is a file", "ask": {"target": "shop-db", "sql": "select path from uploads"},
                    "is_in": {"target": "shop-files", "files": "**"}}]],
    )  # fmt: skip
    application: SetApplication | None = Field(
        None, description="What runs over all of it.",
        examples=[{"image": "registry.example.net/shop:4.2", "health": {"port": 8080, "path": "/health"}}],
    )  # fmt: skip

    @model_validator(mode="after")
    def _asks_something(self) -> SetModel:
        if not self.queries and self.application is None:
            raise contradiction("a set without queries and without an application proves nothing: give it either")
        return self
