"""What must be kept although a policy would let it go, and what removes backups by itself."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from restore_drill.catalogue.fields import Day, Duration, Many, Part, Slug, Text, contradiction

#: As reports, ``--snapshot`` and ``restore-drill retention`` write it.
SnapshotId = Annotated[str, Field(pattern=r"^\d{8}T\d{6}Z(-(differential|incremental|log))?$")]


class Hold(Part):
    """Snapshots that nobody may remove, whatever the retention says: a legal hold."""

    id: Slug = Field(description="Reference shown with every snapshot that it holds.", examples=["LH-2026-7"])
    reason: Text = Field(description="Why they are held.", examples=["litigation, matter 4711"])
    by: Text = Field(description="Who ordered it.", examples=["legal"])
    copy_: Slug | None = Field(
        None, alias="copy", description="The copy that it is about; all copies when left out.", examples=["offsite"]
    )
    snapshots: Many[SnapshotId] = Field(
        (), description="Ids of the snapshots; left out, all of the days below.", examples=[["20261101T020000Z"]]
    )
    first: Day | None = Field(
        None, description="First day, by the time of the snapshot; the oldest when left out.", examples=["2026-03-01"]
    )
    last: Day | None = Field(
        None, description="Last day, by the time of the snapshot; no end when left out.", examples=["2026-06-30"]
    )
    released: Day | None = Field(
        None, description="The day from which on it holds nothing any more.", examples=["2027-12-31"]
    )

    @model_validator(mode="after")
    def _fits_together(self) -> Hold:
        if self.snapshots and (self.first or self.last):
            raise contradiction("a hold names snapshots or days: remove snapshots, or first and last")
        if self.first and self.last and self.first > self.last:
            raise contradiction("the first day of the hold is after its last: exchange them")
        return self


class ExpiryRule(Part):
    """How backups are removed: by a lifecycle rule, a prune job, a rotation. Nothing here removes anything."""

    after: Duration | None = Field(
        None, description="What is older than this is removed (find -mtime, a lifecycle rule).", examples=["30d"]
    )
    keep_last: int | None = Field(
        None, ge=1, description="All but this many of the newest are removed (a rotation).", examples=[14]
    )
    warn: Duration | None = Field(
        None,
        description="How long before the last proved snapshot would be removed the case expiry fails (default: the "
        "target's drill_every: the time that another drill takes to come).",
        examples=["7d"],
    )
    by: Text | None = Field(
        None, description="What removes them, for messages.", examples=["lifecycle rule expire-orders"]
    )

    @model_validator(mode="after")
    def _removes_something(self) -> ExpiryRule:
        if self.after is None and self.keep_last is None:
            raise contradiction("the expiry removes nothing: give after or keep_last, or remove it")
        return self
