"""Copies of a target: where their snapshots lie, what is recorded of them, how long they are kept."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from restore_drill.catalogue.decrypting import Decrypt
from restore_drill.catalogue.fields import (
    Duration,
    Many,
    Part,
    Pattern,
    Percentage,
    RelativeName,
    Slug,
    Template,
    Text,
    TimeZone,
    contradiction,
    with_short_form,
)
from restore_drill.catalogue.keeping import ExpiryRule
from restore_drill.catalogue.signatures import SignatureRule
from restore_drill.digests import ALGORITHMS, canonical


class ChecksumRule(Part):
    """Where the digest is recorded. ``required`` looks beside the artifact; ``pinned`` remembers the first drill's."""

    mode: Literal["required", "pinned"] = Field(
        "required", description="required: a recorded digest must exist. pinned: recorded at the first drill.",
        examples=["pinned"],
    )  # fmt: skip
    sidecar: Template | None = Field(
        None, description="Key of the digest file; {name} is the artifact's name, {stem} without its codecs' endings.",
        examples=["{name}.sha256"],
    )  # fmt: skip
    manifest: RelativeName | None = Field(
        None,
        description="Key of a manifest that lists the artifact, relative to the store; for a directory generation the "
        "name inside it.",
        examples=["legacy/SHA256SUMS"],
    )
    sha256: str | None = Field(
        None, pattern="^[0-9a-fA-F]{64}$", description="The digest of the stored bytes itself.", examples=["ab" * 32]
    )
    sha512: str | None = Field(
        None, pattern="^[0-9a-fA-F]{128}$", description="The digest of the stored bytes itself.", examples=["ab" * 64]
    )
    provider: Literal["metadata", "any"] | None = Field(
        None,
        description="Take the digest that the store keeps of the object. metadata: what the backup job wrote there "
        "itself; any: also what the store computed or checked at the upload, which says nothing of what was before.",
        examples=["metadata"],
    )
    algorithm: Text | None = Field(
        None,
        description="By which algorithm the digest is, where neither its line nor the name of its file says.",
        examples=["blake3"],
    )
    weak: Literal["fail", "accept"] = Field(
        "fail",
        description="Whether a digest is enough that can be forged (MD5, SHA-1) or was never meant to withstand that "
        "(CRC, xxHash).",
        examples=["accept"],
    )
    signature: SignatureRule | None = Field(
        None,
        description="A detached signature that must be there, too, and the keys that may have made it.",
        examples=[{"kind": "gpg", "keys": ["file:keys/backup.asc"]}],
    )

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if isinstance(value, str) and value.lower() == "etag":
            raise ValueError("an ETag is not a digest (a multipart one is not even a hash of the object)")
        return {"mode": value} if isinstance(value, str) else value

    @model_validator(mode="after")
    def _one_place(self) -> ChecksumRule:
        places = [name for name in ("sidecar", "manifest", "sha256", "sha512", "provider") if getattr(self, name)]
        if len(places) > 1:
            raise contradiction(
                f"the digest can be recorded in one place: keep one of {', '.join(places)} "
                "(null takes back what comes from defaults)"
            )
        if places and self.mode == "pinned":
            raise contradiction(f"pinned means that no digest was recorded: remove pinned or {places[0]}")
        is_file = self.mode == "required" and not {"sha256", "sha512", "provider"} & set(places)
        if self.algorithm and not is_file:
            raise contradiction("algorithm is for a digest in a file, and none is looked for: remove algorithm")
        if self.algorithm and not canonical(self.algorithm):
            raise contradiction(f"{self.algorithm!r} is no known algorithm: {', '.join(ALGORITHMS)}")
        if self.signature and self.signature.of == "digest" and not is_file:
            raise contradiction("no file with the digest is looked for that could be signed: sign the artifact")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The mode alone is enough."""
        return with_short_form(schema, handler, {"enum": ["required", "pinned"]})


class SizeRule(Part):
    """When a snapshot counts as collapsed, compared with its predecessors of the same kind."""

    max_drop: Percentage = Field(
        0.5, description="How far below the median of its predecessors it may lie.", examples=["50%"],
        json_schema_extra={"default": "50%"},
    )  # fmt: skip
    predecessors: int = Field(3, ge=1, le=60, description="How many predecessors the comparison needs.", examples=[3])


class RetentionRule(Part):
    """Recovery points that the policy promises: the newest of each of the last N hours, days, and so on."""

    hourly: int = Field(0, ge=0, description="One for each of this many hours.", examples=[24])
    daily: int = Field(0, ge=0, description="One for each of this many days.", examples=[7])
    weekly: int = Field(0, ge=0, description="One for each of this many weeks.", examples=[4])
    monthly: int = Field(0, ge=0, description="One for each of this many months.", examples=[12])
    yearly: int = Field(0, ge=0, description="One for each of this many years.", examples=[7])
    at_least: int = Field(0, ge=0, description="Never fewer recovery points than this.", examples=[3])

    @model_validator(mode="after")
    def _promises_something(self) -> RetentionRule:
        if not any(getattr(self, name) for name in type(self).model_fields):
            raise contradiction("the retention promises nothing: give hourly, daily, … or at_least, or remove it")
        return self


class CopyModel(Part):
    """A target's backups in one store."""

    path: Pattern = Field(
        description="Where its snapshots lie, relative to the store's url, and how their names carry the time. A "
        "trailing slash means one directory (or prefix) a snapshot; {part} stands for the parts of one that was split, "
        "{rotation} for a number that grows with age.",
        examples=["sqlite/{time:%Y%m%d_%H%M%S}_orders.db.gz.age"],
    )
    store: Slug | None = Field(None, description="The store; left out, the copy's own name.", examples=["nas"])
    parts: Many[Template] = Field(
        (),
        description="Further artifacts of the same state, named after the first: {name}-wal.",
        examples=[["{name}-wal"]],
    )
    complete_when: Template | None = Field(
        None,
        description="An object that appears when a snapshot is complete, beside it: {name} is the snapshot's name; "
        "{name}/_SUCCESS lies inside a directory, DONE in the folder that many share.",
        examples=["{name}.done"],
    )  # fmt: skip
    latest: RelativeName | None = Field(
        None,
        description="What points to the newest complete snapshot: a symbolic link, an object that holds its name, or a "
        "copy of it.",
        examples=["app/latest"],
    )
    shared_folder: bool = Field(
        False,
        description="The dated folder in the path holds the backups of other targets, too, all made by one run: the "
        "newest folder is the newest recovery point, and this target must be in it.",
        examples=[True],
    )
    time_metadata: Text | None = Field(
        None, description="User metadata (S3) or user.* attribute (local) that holds the time, instead of the name.",
        examples=["taken-at"],
    )  # fmt: skip
    checksum: ChecksumRule | None = Field(None, description="Where the digest is recorded.", examples=["required"])
    decrypt: Decrypt | None = Field(
        None, description="Keys (and what else must be known) by format; added to the target's.",
        examples=[{"age": {"identity": "env:ORDERS_AGE_KEY"}}],
    )  # fmt: skip
    codecs: Many[Slug] | None = Field(
        None, description="The layers from the outside in, where recognising them is not wanted.", examples=[["gzip"]]
    )
    lag: Duration | None = Field(
        None,
        description="How long replication to this store may take (default: copy_lag for offsite stores, else none).",
        examples=["30m"],
    )
    timezone: TimeZone | None = Field(None, description="Zone of the times in its names.", examples=["Europe/Berlin"])
    retention: RetentionRule | None = Field(None, description="This copy's own policy.", examples=[{"daily": 30}])
    expiry: ExpiryRule | None = Field(
        None, description="How backups are removed from this store by somebody else.", examples=[{"after": "30d"}]
    )
