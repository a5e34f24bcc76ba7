"""Azure Blob Storage, read by obstore (service version 2019-12-12 or newer)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from restore_drill.secrets import register
from restore_drill.stores.base import Address, Credential, Option, Trouble
from restore_drill.stores.cloud import CloudStore


class AzureStore(CloudStore):
    """A container, or the part of it below a prefix: ``az://container/prefix``."""

    schemes = ("az",)
    options: ClassVar[Mapping[str, Option]] = {
        **CloudStore.options,
        "account": Option(str, "Name of the storage account.", "acmebackups", required=True),
    }
    credentials: ClassVar[Mapping[str, Credential]] = {
        "account_key": Credential("Key of the storage account; a SAS token that only reads does, too."),
        "sas_token": Credential("Shared access signature, without its question mark."),
    }
    extra, kind = "azure", "AzureStore"
    container = ("container", r"[a-z0-9$](?:[a-z0-9-]*[a-z0-9])?")

    @classmethod
    def check(cls, address: Address) -> Iterator[Trouble]:
        """As any cloud's, and the name of an account."""
        yield from super().check(address)
        account = address.options.get("account")
        if account is not None and not re.fullmatch(r"[a-z0-9]{3,24}", account):
            yield Trouble("account is no storage account's name", "3 to 24 lower-case letters and digits", at="account")

    def configuration(self, secrets: Mapping[str, str]) -> dict[str, Any]:
        """The account, and a key or a signature; or the library's own chain (environment, workload identity, `az`)."""
        account = str(self.settings.options.get("account", ""))
        endpoint = self.endpoint(secrets, f"https://{account}.blob.core.windows.net")
        given: dict[str, Any] = {"account_name": account, "endpoint": endpoint, "use_emulator": False}
        given["skip_signature"] = bool(self.settings.options.get("anonymous"))
        if "account_key" in secrets:
            given |= {"credential_type": "access_key", "account_key": secrets["account_key"]}
        elif "sas_token" in secrets:
            token = secrets["sas_token"].removeprefix("?")
            register(token)
            given |= {"credential_type": "sas_token", "sas_key": token}
        return given
