"""Who is told what, and what is told that all is well: ``alerts`` and ``pings`` of the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from pydantic import Field, GetJsonSchemaHandler, TypeAdapter, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from restore_drill.catalogue.fields import Duration, Many, Part, Secret, Slug, Text, contradiction, with_short_form

#: Everything that somebody may want to be told, in the order of a message.
KINDS = ("failure", "could-not-verify", "overdue", "recovery")
#: How long a run waits at most for whoever does not answer.
_LONGEST = timedelta(minutes=10)
#: A secret as text.
_REFERENCE: JsonSchemaValue = TypeAdapter(Secret).json_schema()["anyOf"][0]


class _Addressed(Part):
    """Something that is reached by a secret URL. That alone is enough."""

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        """A secret alone is the url; so is whatever else is no mapping, since it must not be repeated."""
        return value if isinstance(value, Mapping) else {"url": value}

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The url alone is enough."""
        return with_short_form(schema, handler, _REFERENCE)


class AlertChannel(_Addressed):
    """Where alerts go: an Apprise URL, and what is sent there. A secret alone is its url."""

    url: Secret = Field(
        description="Where the Apprise URL of the channel is kept (mailto://, slack://, json://, …); never the URL "
        "itself, since it holds the key to the channel.",
        examples=["env:ONCALL_URL"],
    )
    tell: Many[Literal["failure", "could-not-verify", "overdue", "recovery"]] = Field(
        ("failure", "could-not-verify", "overdue", "recovery"),
        description="What is told there; a recovery only where the trouble was told.",
        examples=[["failure", "recovery"]],
    )
    tiers: Many[Slug] = Field((), description="Only targets of these tiers (default: all).", examples=[["critical"]])
    targets: Many[Text] = Field(
        (), description="Only targets whose name matches one of these globs (default: all).", examples=[["orders-*"]]
    )
    remind: Duration | None = Field(
        None, description="After how long what is still broken is told again (default: never).", examples=["7d"]
    )
    deadline: Duration = Field(
        timedelta(seconds=60), description="How long delivery is tried, with growing pauses; at most 10m.",
        examples=["60s"],
    )  # fmt: skip

    @model_validator(mode="after")
    def _says_something(self) -> AlertChannel:
        if not set(self.tell) - {"recovery"}:
            raise contradiction("a recovery is told where the trouble was told: name failure, could-not-verify or "
                                "overdue under tell as well")  # fmt: skip
        _check_wait("deadline", self.deadline)
        return self


class Ping(_Addressed):
    """What is requested when everything of a tier was drilled and is good. A secret alone is its url."""

    url: Secret = Field(
        description="Where the http or https URL of the dead-man's switch is kept; never the URL itself.",
        examples=["env:PING_CRITICAL"],
    )
    method: Literal["GET", "HEAD", "POST"] = Field("GET", description="How it is requested.", examples=["POST"])
    timeout: Duration = Field(
        timedelta(seconds=10), description="How long one request may take; at most 10m.", examples=["10s"]
    )
    fail_url: Secret | None = Field(
        None, description="Where the URL is kept that is requested when something of the tier failed or could not be "
        "verified.", examples=["env:PING_CRITICAL_FAIL"],
    )  # fmt: skip

    @model_validator(mode="after")
    def _tells_apart(self) -> Ping:
        if self.fail_url == self.url:
            raise contradiction("url and fail_url are the same: good and bad could not be told apart")
        _check_wait("timeout", self.timeout)
        return self


def _check_wait(name: str, value: timedelta) -> None:
    if value > _LONGEST:
        raise contradiction(f"{name} may be at most 10m: every run would wait that long")
