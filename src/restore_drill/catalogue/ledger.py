"""The ledger's part of the catalogue: who signs it, and by which public keys it is verified."""

from __future__ import annotations

from pydantic import Field

from restore_drill.catalogue.fields import Many, Part, Secret, Text


class LedgerModel(Part):
    """How the record of runs is signed. Without a key its entries are chained, and unsigned."""

    key: Secret | None = Field(
        None,
        description="The private key that signs entries: PEM of PKCS #8 (Ed25519), or the base64 of its 32 bytes.",
        examples=["env:RESTORE_DRILL_LEDGER_KEY"],
    )
    public_keys: Many[Text] = Field(
        (),
        description="Files with the public keys by which entries are verified, relative to this file: the current one, "
        "older ones, and those of reviewers.",
        examples=[["keys/ledger.pub", "keys/ledger-2025.pub"]],
    )
    required: bool = Field(
        False, description="An entry that is not signed makes the ledger fail, and a run without the key an error.",
        examples=[True],
    )  # fmt: skip
