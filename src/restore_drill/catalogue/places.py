"""Tiers, stores and the state: the parts of the catalogue that targets refer to."""

from __future__ import annotations

import os.path
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from pydantic import Field

from restore_drill.catalogue.fields import Duration, Endpoint, Options, Part, Secret, Slug, Text, Worded

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)


class Tier(Part):
    """Criticality, with its objectives."""

    rpo: Duration = Field(description="Most data that may be lost, as time.", examples=["1h"])
    rto: Duration = Field(description="Longest time to be back.", examples=["15m"])
    drill_every: Duration = Field(description="How often every copy must pass a whole drill.", examples=["1d"])


#: The tiers that exist without being declared: the objectives this practice is known by.
DEFAULT_TIERS: Mapping[str, Tier] = {
    "critical": Tier(rpo=_HOUR, rto=timedelta(minutes=15), drill_every=_DAY),
    "important": Tier(rpo=_DAY, rto=4 * _HOUR, drill_every=7 * _DAY),
    "archival": Tier(rpo=7 * _DAY, rto=_DAY, drill_every=31 * _DAY),
}


class Address(Part):
    """Where something is kept, and how to get there."""

    endpoint: Endpoint | None = Field(
        None,
        description="URL of an S3-compatible service, or where to read it.",
        examples=["https://minio.example:9000"],
    )
    region: Text | None = Field(None, description="Region of the bucket.", examples=["eu-central-1"])
    profile: Text | None = Field(
        None, description="Profile of the shared AWS configuration.", examples=["backup-reader"]
    )
    path_style: bool = Field(False, description="Address buckets by path instead of by host name.", examples=[True])
    credentials: dict[Slug, Secret] | None = Field(
        None, description="Secrets by the names that this kind of store has for them (docs/formats.md lists them).",
        examples=[{"access_key_id": "env:BACKUP_KEY_ID", "secret_access_key": "env:BACKUP_SECRET"}],
    )  # fmt: skip


class StoreModel(Address):
    """A place that holds backups."""

    url: Text = Field(
        description="Where it is: file:///path, file:path (relative to the catalogue's directory), s3://bucket/prefix, "
        "or what docs/formats.md lists. What follows file: is a path as it stands, without percent-encoding.",
        examples=["s3://acme-backups/prod"],
    )
    media: Text = Field(
        description="What it is kept on; 3-2-1 counts different media.", examples=["disk", "object-storage", "tape"]
    )
    offsite: bool = Field(False, description="Whether it is away from the site of the original.", examples=[True])
    immutable: bool = Field(False, description="Whether stored objects cannot be changed.", examples=[True])
    failure_domain: Text | None = Field(
        None,
        description="What fails as one (a SAN, an account); stores of one domain count once.",
        examples=["dc1-san"],
    )
    accept_encryption: bool = Field(
        False, description="Accept the store's own server-side encryption for sensitive targets.", examples=[True]
    )
    ranges: int = Field(
        1, ge=1, le=32, description="Parallel ranged reads of one object; pays off where one connection is capped.",
        examples=[8],
    )  # fmt: skip
    connect_deadline: Duration = Field(
        timedelta(seconds=10), description="How long to wait for a connection.", examples=["10s"]
    )
    read_deadline: Duration = Field(
        timedelta(seconds=60), description="How long to wait for the next byte.", examples=["60s"]
    )
    retries: int = Field(4, ge=0, le=20, description="How often a broken read is resumed.", examples=[4])
    options: Options = Field(
        default_factory=dict,
        description="Options that only this kind of store has (docs/formats.md lists them).",
        examples=[{"known_hosts": "ssh/known_hosts"}],
    )


class StateModel(Address, Worded):
    """Where baselines are kept. A string is its url."""

    in_a_word = "url"
    url: Text = Field(description="A directory (file:path) or s3://bucket/prefix.", examples=["s3://acme-drills/state"])


def local_root(url: str, base: Path) -> Path | None:
    """The directory a ``file:`` url means, relative ones from the catalogue's directory; ``None`` for others.

    The disk is not asked: a mount that hangs must not hang the collection. Symbolic links stay as they are.
    """
    if not url.startswith("file:"):
        return None
    path = url.removeprefix("file:")
    path = path.removeprefix("//") if path.startswith("///") else path
    return Path(os.path.normpath(os.path.join(os.path.abspath(base), path)))  # noqa: PTH118, PTH100 - lexical
