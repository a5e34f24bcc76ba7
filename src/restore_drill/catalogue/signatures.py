"""Detached signatures, as the catalogue asks for them: their kind, the keys that are pinned, what is signed."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainSerializer, PlainValidator, ValidationInfo, WithJsonSchema, model_validator

from restore_drill.catalogue.fields import Many, Part, Slug, Template, contradiction
from restore_drill.errors import RestoreDrillError
from restore_drill.registry import load
from restore_drill.signatures.base import PinnedKey


def _key(value: Any, info: ValidationInfo) -> PinnedKey:
    if isinstance(value, PinnedKey):
        return value
    if not isinstance(value, str) or not value.strip():
        raise ValueError("needs a public key: file:PATH, or the text of the key itself")
    if value.startswith(("env:", "sops:")):
        raise ValueError("needs a public key, which is no secret: file:PATH, or the text of the key itself")
    if not value.startswith("file:"):
        return PinnedKey(value)
    base: Path = (info.context or {}).get("base", Path.cwd())
    return PinnedKey(path=str(base / value.removeprefix("file:")))


_KEY_SCHEMA = {"type": "string", "minLength": 1, "examples": ["file:keys/backup.asc"]}
PublicKey = Annotated[PinnedKey, PlainValidator(_key), PlainSerializer(str), WithJsonSchema(_KEY_SCHEMA)]


class SignatureRule(Part):
    """A detached signature that must be there, made by one of the keys named here and by no other."""

    kind: Slug = Field(description="What made it: gpg, minisign or cosign (with a key).", examples=["minisign"])
    keys: Many[PublicKey] = Field(
        description="The public keys that are trusted, and nothing else is: file:PATH (relative to the catalogue), or "
        "the key itself as its program exports it.",
        examples=[["file:keys/backup.asc"], ["RWTiLpM2S61mhAEe/O/9H2MVIyRL/5UwvAQK47kYr5ET/hodWFgZXLs/"]],
    )
    of: Literal["artifact", "digest"] = Field(
        "artifact",
        description="What is signed: the artifact itself (as it is stored or decoded), or the sidecar or manifest that "
        "holds its digest. Of a directory generation it is always the manifest.",
        examples=["digest"],
    )
    name: Template | None = Field(
        None,
        description="Key of the signature, beside what is signed; {name} is that file's name, {stem} without its "
        "codecs' endings (default: the name with the usual ending of the kind).",
        examples=["{name}.sig"],
    )

    @model_validator(mode="after")
    def _fits(self) -> SignatureRule:
        if not self.keys:
            raise contradiction("a signature needs a key that may have made it: keys is empty")
        try:
            kind = load("signatures", self.kind)
        except RestoreDrillError as problem:
            raise contradiction(f"{problem.cause}: {problem.remedy}") from problem
        for key in self.keys:
            if not key.path:
                try:
                    kind.check_key(key.text)
                except ValueError as problem:
                    raise contradiction(f"a key of {self.kind} {problem}") from problem
        return self
