"""What is left when everything else is lost: the keys in escrow, and the few variables that a recovery may count on."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from restore_drill.catalogue.decrypting import Decrypt
from restore_drill.catalogue.fields import Many, Part, Slug

Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]


class EscrowModel(Part):
    """The escrowed keys of one target."""

    decrypt: Decrypt = Field(
        description="Its keys, by format; before those of all targets.",
        examples=[{"age": {"identity": "file:/media/escrow/orders.key"}}],
    )


class BreakGlassModel(Part):
    """What ``--break-glass`` leaves a run: nothing opens a backup but the keys that are named here."""

    environment: Many[Variable] = Field(
        (), description="Variables that stay; others are removed, but for those that find programs or describe the "
        "terminal.",
        examples=[["ESCROW_PASSPHRASE", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]],
    )  # fmt: skip
    decrypt: Decrypt = Field(
        default_factory=dict, description="The escrowed keys by format, for every target.",
        examples=[{"age": {"identity": "file:/media/escrow/age.key"}}],
    )  # fmt: skip
    targets: dict[Slug, EscrowModel] = Field(
        default_factory=dict, description="Targets whose backups other escrowed keys open.",
        examples=[{"orders-db": {"decrypt": {"age": {"identity": "file:/media/escrow/orders.key"}}}}],
    )  # fmt: skip
