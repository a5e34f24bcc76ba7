"""Google Cloud Storage, read by obstore (the XML API)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from restore_drill.stores.base import Credential
from restore_drill.stores.cloud import CloudStore


class GcsStore(CloudStore):
    """A bucket, or the part of it below a prefix: ``gs://bucket/prefix``."""

    schemes = ("gs",)
    credentials: ClassVar[Mapping[str, Credential]] = {
        "service_account_key": Credential("The text of a service account's JSON key file."),
        "token": Credential("An OAuth access token; it is not renewed."),
    }
    extra, kind = "gcs", "GCSStore"
    container = ("bucket", r"[a-z0-9][a-z0-9._-]*[a-z0-9]")

    def configuration(self, secrets: Mapping[str, str]) -> dict[str, Any]:
        """A key or a token; or the library's own chain (Application Default Credentials)."""
        given: dict[str, Any] = {"base_url": self.endpoint(secrets, "https://storage.googleapis.com")}
        given["skip_signature"] = bool(self.settings.options.get("anonymous"))
        if "service_account_key" in secrets:
            given["service_account_key"] = secrets["service_account_key"]
        elif "token" in secrets:
            given["bearer_token"] = secrets["token"]
        return given
