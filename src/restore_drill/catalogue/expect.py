"""What a restored system must look like: the ``expect:`` part of a target."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, GetJsonSchemaHandler, Tag, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from restore_drill.catalogue.fields import (
    Answer,
    CaseName,
    Day,
    Duration,
    Many,
    Number,
    OffIsAWord,
    Options,
    Part,
    Percentage,
    RelativeName,
    Size,
    Slug,
    Template,
    Text,
    contradiction,
    with_short_form,
)
from restore_drill.catalogue.smoke import SmokeRule

#: Option names under ``rows``; a table of such a name stands under ``rows.tables``.
RESERVED_ROWS = ("default", "ignore", "recorded", "tables")


class RowRule(Part):
    """How many rows a table may have. A bare number means exactly that many."""

    exact: int | None = Field(None, ge=0, description="Exactly this many rows.", examples=[59])
    min: int | None = Field(None, ge=0, description="At least this many rows.", examples=[1000])
    max: int | None = Field(None, ge=0, description="At most this many rows.", examples=[5000000])
    max_drop: Percentage | None = Field(
        None,
        description="How far the count may lie below the last passed drill, and below the highest of 30 days.",
        examples=["5%"],
    )
    recorded: bool = Field(
        False, description="Equal to the count recorded beside the snapshot (rows.recorded).", examples=[True]
    )

    @model_validator(mode="before")
    @classmethod
    def _from_number(cls, value: Any) -> Any:
        return {"exact": value} if isinstance(value, int) and not isinstance(value, bool) else value

    @model_validator(mode="after")
    def _consistent(self) -> RowRule:
        if self.exact is not None and (self.min is not None or self.max is not None or self.max_drop is not None):
            raise contradiction("exact allows nothing beside it: remove min, max and max_drop, or exact")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise contradiction(f"min ({self.min}) is above max ({self.max}): no count can satisfy both")
        if (self.exact, self.min, self.max, self.max_drop) == (None,) * 4 and not self.recorded:
            raise contradiction("the rule asks for nothing: give a number, min, max, max_drop or recorded: true")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """A bare number is enough."""
        return with_short_form(schema, handler, {"type": "integer", "minimum": 0})


class RowRules(Part):
    """Row counts: one rule a table, beside the options ``default``, ``ignore`` and ``recorded``."""

    tables: dict[str, RowRule] = Field(
        default_factory=dict,
        description="Rules by table. A table may also stand directly under rows unless it has one of the option names.",
        examples=[{"customers": 59, "orders": {"min": 1000, "max_drop": "5%"}}],
    )
    default: RowRule | None = Field(
        None, description="The rule for tables that are not named.", examples=[{"max_drop": "50%"}]
    )
    ignore: Many[Text] = Field(
        (), description="Globs of tables that may vanish, empty or shrink.", examples=[["tmp_*", "sessions"]]
    )
    recorded: Template | None = Field(
        None,
        description="Name of a JSON object {table: count} beside the snapshot; {name} stands for the artifact's name, "
        "{stem} for it without the endings of its codecs.",
        examples=["{stem}.counts.json"],
    )

    @model_validator(mode="before")
    @classmethod
    def _gather_tables(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        gathered = {key: rule for key, rule in value.items() if key in RESERVED_ROWS}
        loose = {key: rule for key, rule in value.items() if key not in RESERVED_ROWS}
        named = gathered.get("tables", {})
        if not loose or not isinstance(named, dict):
            return gathered
        if twice := sorted(str(name) for name in named.keys() & loose.keys()):
            raise contradiction(f"{', '.join(twice)} has a rule under rows and another one under rows.tables: keep one")
        gathered["tables"] = {**named, **loose}
        return gathered

    @model_validator(mode="after")
    def _needs_recorded(self) -> RowRules:
        rules = [*self.tables.values(), *([self.default] if self.default else [])]
        if any(rule.recorded for rule in rules) and not self.recorded:
            raise contradiction("recorded: true needs rows.recorded, the name of the file with the counts")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Tables may stand beside the options."""
        reference = handler(schema)
        written = handler.resolve_ref_schema(reference)
        written["additionalProperties"] = written["properties"]["tables"]["additionalProperties"]
        return reference


class QueryRule(Part):
    """A question with a known answer."""

    name: CaseName = Field(examples=["every item has an order"])
    sql: Text = Field(
        description="One read-only statement; the first value of the first row is the answer.",
        examples=["select count(*) from items where order_id not in (select id from orders)"],
    )
    equals: Answer = Field(None, description="The right answer.", examples=[0])
    min: Number | None = Field(None, description="The answer is at least this.", examples=[1])
    max: Number | None = Field(None, description="The answer is at most this.", examples=[100])
    within: Duration | None = Field(None, description="Seconds the statement may take.", examples=["30s"])

    @model_validator(mode="after")
    def _asks_something(self) -> QueryRule:
        if self.equals is None and self.min is None and self.max is None:
            raise contradiction("the query has no expected answer: give equals, min or max")
        if self.equals is not None and (self.min is not None or self.max is not None):
            raise contradiction("equals allows neither min nor max beside it")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise contradiction(f"min ({self.min}) is above max ({self.max}): no answer can satisfy both")
        return self


class NewestRecord(Part):
    """How fresh the data inside the snapshot must be, relative to the snapshot's own time."""

    sql: Text = Field(
        description="A statement whose answer is a time (ISO 8601 or seconds since the epoch).",
        examples=["select max(created_at) from orders"],
    )
    within: Duration = Field(description="How long before the snapshot the newest record may lie.", examples=["26h"])


class NewestFile(Part):
    """How fresh the newest file of a restored tree must be, relative to the snapshot's own time."""

    within: Duration = Field(description="How long before the snapshot it may have been written.", examples=["26h"])


class FileRules(Part):
    """What a restored tree must hold."""

    min: int | None = Field(None, ge=0, description="At least this many files.", examples=[100])
    max: int | None = Field(None, ge=0, description="At most this many files.", examples=[100000])
    min_bytes: Size | None = Field(None, description="At least this many bytes in files.", examples=["10 MB"])
    max_bytes: Size | None = Field(None, description="At most this many bytes in files.", examples=["50 GiB"])
    max_drop: Percentage | None = Field(
        None, description="How far files and bytes may lie below the last passed drill.", examples=["10%"]
    )
    must_exist: Many[Text] = Field(
        (), description="Globs that must each match something (** crosses directories).", examples=[["etc/app.toml"]]
    )
    must_not_exist: Many[Text] = Field(
        (), description="Globs that must match nothing.", examples=[["**/*.lock", "**/*.tmp"]]
    )
    manifest: RelativeName | None = Field(
        None,
        description="A manifest inside the tree, in the format of sha256sum, hashdeep, BagIt (bagit.txt), mtree or "
        "rclone hashsum: every file listed must be there and match, none may be extra.",
        examples=["SHA256SUMS"],
    )
    manifest_ignore: Many[Text] = Field(
        (), description="Globs of files the manifest need not list.", examples=[["lost+found/**"]]
    )
    recorded: Template | None = Field(
        None,
        description="Name of a JSON object beside the snapshot with exact numbers of files, directories, links or "
        "bytes, and, by a name with a slash at its end, of the files below a directory; {name} stands for the "
        "artifact's name, {stem} for it without the endings of its codecs.",
        examples=["{stem}.counts.json"],
    )

    @model_validator(mode="after")
    def _consistent(self) -> FileRules:
        for low, high in (("min", "max"), ("min_bytes", "max_bytes")):
            least, most = getattr(self, low), getattr(self, high)
            if least is not None and most is not None and least > most:
                raise contradiction(f"{low} ({least}) is above {high} ({most}): no tree can satisfy both")
        return self


class StructureRule(Part):
    """A reviewed list of what must be there."""

    reference: RelativeName = Field(
        description="A file beside the catalogue, one object a line, as restore-drill baseline reference prints it: "
        "what it lists and was not restored fails, what it does not list is a note.",
        examples=["orders-db.structure"],
    )


def _structure_form(value: Any) -> str:
    return "reference" if isinstance(value, dict | StructureRule) else "word"


#: A word or a mapping; told apart beforehand, so that a mistake in the mapping is reported once.
_Structure = Annotated[
    Annotated[StructureRule, Tag("reference")]
    | Annotated[Annotated[Literal["baseline", "off"], OffIsAWord], Tag("word")],
    Discriminator(_structure_form),
]


#: Cases that may be wrong of older snapshots although nothing is.
NewestOnly = Literal["rto", "rows", "query", "files", "newest", "smoke", "check"]


class Expect(Part):
    """What must hold of the restored system."""

    integrity: Annotated[Literal["full", "quick", "off"], OffIsAWord] = Field(
        "full", description="How deep the engine's own checks go; anything but full is printed in capitals.",
        examples=["full"],
    )  # fmt: skip
    foreign_keys: Literal["fail", "note"] = Field(
        "fail", description="Whether rows that refer to missing rows fail the integrity case.", examples=["note"]
    )
    structure: _Structure = Field(
        "baseline",
        description="Compare tables, indexes, views and triggers with the last passed drill, and with a reference "
        "where one is named.",
        examples=["baseline", {"reference": "orders-db.structure"}],
    )
    strict: Many[Text] = Field(
        (),
        description="What a faithful backup may contain, which is a note elsewhere, and fails here; by the names "
        "that the engine gives it.",
        examples=[["not_valid", "sequences"]],
    )
    allow_empty: bool = Field(
        False, description="Accept a system that comes back without any row or file.", examples=[True]
    )
    rows: RowRules | None = Field(
        None, description="Row counts by table.", examples=[{"customers": 59, "orders": {"min": 1000}}]
    )
    queries: Many[QueryRule] = Field(
        (),
        description="Questions with known answers.",
        examples=[[{"name": "orphans", "sql": "select 0", "equals": 0}]],
    )
    newest_record: NewestRecord | None = Field(
        None, description="Freshness of the data itself. Never inherited from defaults.",
        examples=[{"sql": "select max(created_at) from orders", "within": "26h"}],
    )  # fmt: skip
    newest_file: NewestFile | None = Field(
        None, description="Freshness of a tree. Never inherited from defaults.", examples=[{"within": "26h"}]
    )
    files: FileRules | None = Field(
        None, description="What a restored tree must hold.", examples=[{"min": 100, "manifest": "SHA256SUMS"}]
    )
    smoke: Many[SmokeRule] = Field(
        (),
        description="Commands and requests that the restored application must pass, in its isolated network.",
        examples=[[{"name": "it is healthy", "http": {"port": 8080, "path": "/health"}}]],
    )
    checks: Options = Field(
        default_factory=dict,
        description="Checks that a plug-in registered, by name, each with its own options.",
        examples=[{"invoices-render": {"sample": 20}}],
    )
    newest_only: Many[NewestOnly] = Field(
        (),
        description="Cases that only the newest snapshot is judged by, and not the older ones that --snapshots drills: "
        "such as questions that an older schema cannot answer.",
        examples=[["query", "smoke"]],
    )

    @property
    def reference(self) -> str | None:
        """The file that lists what must be there."""
        return self.structure.reference if isinstance(self.structure, StructureRule) else None

    @property
    def recorded(self) -> str | None:
        """Name of the file beside a snapshot that records counts of it."""
        return (self.rows.recorded if self.rows else None) or (self.files.recorded if self.files else None)


class ApprovedException(Part):
    """A failing case that somebody answers for, until a date."""

    id: Slug = Field(description="Reference shown in every report.", examples=["EX-12"])
    target: Slug = Field(description="The target it covers.", examples=["orders-db"])
    copy_: Slug | None = Field(
        None, alias="copy", description="The copy it covers; all copies when left out.", examples=["nas"]
    )
    case: Text = Field(description="Short name of the case it covers.", examples=["encrypted"])
    detail: Text | None = Field(
        None, description="The table or query it covers; all when left out.", examples=["orders"]
    )
    reason: str = Field(
        min_length=3, description="Why this is accepted.", examples=["vendor appliance, replaced in Q1"]
    )
    approver: Text = Field(description="Who accepted it.", examples=["ciso"])
    expires: Day = Field(
        description="Last day on which it covers anything; from the next day the case fails again.",
        examples=["2027-03-31"],
    )
