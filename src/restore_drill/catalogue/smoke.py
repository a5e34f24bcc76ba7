"""What a restored application is tried with: ``expect.smoke``."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from restore_drill.catalogue.fields import CaseName, Duration, Many, Part, Text, contradiction


def _path(value: str) -> str:
    if not value.startswith("/") or not value.isprintable() or any(character.isspace() for character in value):
        raise ValueError("needs a path that begins with a slash, without blanks: /health")
    return value


class HttpProbe(Part):
    """A request to the application, from within its isolated network."""

    port: int = Field(80, ge=1, le=65535, description="The port it listens on.", examples=[8080])
    path: Annotated[str, AfterValidator(_path)] = Field("/", description="Path of the request.", examples=["/health"])
    status: int = Field(200, ge=100, le=599, description="The status that it answers with.", examples=[200])
    contains: Text | None = Field(None, description="A text that its answer contains.", examples=["ok"])


class SmokeRule(Part):
    """A command that ends well, or an endpoint that answers, in the restored application."""

    name: CaseName = Field(examples=["it is healthy"])
    run: Many[Text] = Field(
        (), description="A program of the application's image and its arguments.", examples=[["app", "check"]]
    )
    exit_status: int = Field(0, ge=0, le=255, description="The status that it ends with.", examples=[0])
    http: HttpProbe | None = Field(
        None,
        description="An endpoint, asked again and again until it answers so or the time is over.",
        examples=[{"port": 8080, "path": "/health"}],
    )
    within: Duration = Field(
        timedelta(seconds=30), description="How long it may take, the application's start included.", examples=["30s"]
    )

    @model_validator(mode="after")
    def _one_of_two(self) -> SmokeRule:
        if bool(self.run) == (self.http is not None):
            raise contradiction("give either run, a command, or http, an endpoint")
        if self.http is not None and "exit_status" in self.model_fields_set:
            raise contradiction("exit_status is of a command; of an endpoint say http.status")
        if len(self.run) == 1 and any(character.isspace() for character in self.run[0]):
            raise contradiction("run is a list of words: [app, check]; for a shell's line: [sh, -c, 'app check']")
        return self
