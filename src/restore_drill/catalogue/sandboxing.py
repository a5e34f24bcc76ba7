"""Where a target is restored, as the catalogue says it: the kind of sandbox, and what it may use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from restore_drill.catalogue.fields import SLUG, Number, Part, Size, Slug, with_short_form
from restore_drill.sandboxes.base import SandboxOptions

#: Bytes with which no server starts.
_TOO_LITTLE = 32 << 20
#: What an engine's address begins with.
_SCHEMES = ("unix://", "tcp://", "http://", "https://", "ssh://", "npipe://")


def _image(value: str) -> str:
    from restore_drill.sandboxes.containers import references

    if problem := references.problem(value):
        raise ValueError(f"the image's name {problem}")
    return value


def _host(value: str) -> str:
    if not value.startswith(_SCHEMES) or value.endswith("://"):
        raise ValueError("needs the address of a container engine, such as unix:///run/podman/podman.sock")
    return value


def _enough(value: int) -> int:
    if value < _TOO_LITTLE:
        raise ValueError("is less than any server starts with: give it 32 MiB or more")
    return value


def _some(value: float) -> float:
    if value <= 0:
        raise ValueError("must be above 0")
    return value


#: The name of an image, as engines of containers take it.
Image = Annotated[str, AfterValidator(_image)]


class SandboxModel(Part):
    """Where it is restored. A bare word is the kind."""

    kind: Slug | None = Field(
        None,
        description="container, or directory (a private directory and this machine's own programs). Default: the first "
        "that the engine runs in and this machine has; the evidence says which, and why.",
        examples=["container"],
    )
    image: Image | None = Field(
        None,
        description="The image with the system's programs, for one that needs extensions (default: the official image "
        "of the version that is recorded in the backup). May be pinned by its digest.",
        examples=["registry.example.net/postgis:15-3.4"],
    )
    pull: Literal["missing", "never", "always"] | None = Field(
        None, description="When the image is fetched from its registry (default: missing).", examples=["never"]
    )
    memory: Annotated[Size, AfterValidator(_enough)] | None = Field(
        None, description="Memory: of a container altogether, in a directory of each process.", examples=["4 GiB"]
    )
    cpus: Annotated[Number, AfterValidator(_some)] | None = Field(
        None, description="How many processors' time a container may use.", examples=[1.5]
    )
    processes: int | None = Field(
        None, ge=1, description="Processes and threads that it may have at once.", examples=[512]
    )
    disk: Size | None = Field(
        None, description="What its programs may write altogether, besides the payload.", examples=["200 GB"]
    )
    host: Annotated[str, AfterValidator(_host)] | None = Field(
        None,
        description="The container engine (default: DOCKER_HOST, or this machine's).",
        examples=["unix:///run/podman/podman.sock"],
    )

    @model_validator(mode="before")
    @classmethod
    def _short(cls, value: Any) -> Any:
        if not isinstance(value, str | Mapping | list | cls):
            raise ValueError("needs a name")  # noqa: TRY004 - pydantic collects ValueErrors
        return {"kind": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """The kind alone is enough."""
        return with_short_form(schema, handler, {"type": "string", "pattern": SLUG})

    @property
    def given(self) -> frozenset[str]:
        """The names of the options that are set, the kind aside."""
        return frozenset(name for name, value in self if name != "kind" and value is not None)

    @property
    def options(self) -> SandboxOptions:
        """What the sandbox is told."""
        return SandboxOptions(**{name: getattr(self, name) for name in self.given})
