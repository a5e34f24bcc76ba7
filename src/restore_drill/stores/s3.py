"""Amazon S3, and whatever speaks its protocol (API version 2006-03-01).

Decided here:

* Keys come back exactly as they are stored. A 0-byte key that ends in a slash is a directory marker of some console
  and no object; neither is a key that is the store's own prefix.
* A listing has no version ids: an object that was listed is read by its ETag, one that was looked at by its version.
* Credentials are boto3's business: its own chain, unless the catalogue names keys or a profile.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Generator, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, ClassVar

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Stage
from restore_drill.printable import shorten
from restore_drill.stores import s3_digests
from restore_drill.stores.base import Address, Credential, Option, ProviderDigest, Store, StoreSettings, Trouble
from restore_drill.stores.s3_client import Connection, RequestFailed
from restore_drill.stores.s3_reader import PART, ObjectReader, usable_version
from restore_drill.stores.trying import Nature, could_not_verify

#: How many objects' metadata is remembered between looking at them and being asked for it.
_REMEMBERED = 1024
#: How many keys may begin like an artifact's before each that may lie beside it is looked at by itself.
_BESIDE = 200
#: What every S3 server says of an object.
_LISTED, _LOOKED_AT = frozenset({"Key", "Size", "LastModified"}), frozenset({"ContentLength", "LastModified"})


class S3Store(Store):
    """A bucket, or the part of it below a prefix: ``s3://bucket/prefix``."""

    schemes = ("s3",)
    options: ClassVar[Mapping[str, Option]] = {
        "endpoint": Option(str, "URL of an S3-compatible service.", "https://minio.example:9000"),
        "region": Option(str, "Region of the bucket.", "eu-central-1"),
        "profile": Option(str, "Profile of the shared AWS configuration.", "backup-reader"),
        "path_style": Option(bool, "Address buckets by path instead of by host name.", True),
    }
    credentials: ClassVar[Mapping[str, Credential]] = {
        "access_key_id": Credential("Access key id.", required=True),
        "secret_access_key": Credential("Secret access key.", required=True),
        "session_token": Credential("Session token."),
    }
    reads_ranges = True
    user_in_url = False

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(settings)
        self._bucket, _, prefix = settings.url.removeprefix("s3://").partition("/")
        self._base = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        self._connection = Connection(settings, self.where())
        self._metadata: dict[tuple[str, str], dict[str, str]] = {}
        self._seen = False

    @classmethod
    def check(cls, address: Address) -> Iterator[Trouble]:
        """A bucket and a prefix, taken literally."""
        bucket, _, prefix = address.rest.removeprefix("//").partition("/")
        if not address.rest.startswith("//") or not bucket:
            yield Trouble("an s3: url needs a bucket", "write s3://bucket/prefix")
        elif not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", bucket):
            yield Trouble(f"{shorten(bucket)} is not a bucket's name", "write s3://bucket/prefix")
        elif prefix and {"", ".", ".."} & set(prefix.removesuffix("/").split("/")):
            yield Trouble("the prefix has empty parts, '.' or '..'", "a key is taken literally: write it plainly")
        elif re.search(r"[?#]", prefix):
            yield Trouble("an s3: url has neither ? nor #", "options of the store have keys of their own")
        if address.options.get("profile") and address.credentials:
            yield Trouble("profile and credentials say two things about who asks", "keep one of them", at="profile")

    def list(self, prefix: str) -> Iterator[Artifact]:
        """Every object whose key begins with ``prefix``, page by page, in the server's order.

        Raises:
            CouldNotVerify: The bucket cannot be reached or listed, or the answer is no listing.
        """
        wanted = {"Bucket": self._bucket, "Prefix": self._base + prefix}
        token = ""
        while True:
            page = self._page({**wanted, "ContinuationToken": token} if token else wanted, prefix)
            for found in page.get("Contents", ()):
                self._complete(found, _LISTED, prefix)
                key = found["Key"].removeprefix(self._base)
                if key and not _is_marker(key, found["Size"]):
                    yield Artifact(key, found["Size"], found["LastModified"].timestamp(), etag=_etag(found))
            if not page["IsTruncated"]:
                return
            last, token = token, page.get("NextContinuationToken", "")
            if token in ("", last):
                raise CouldNotVerify(
                    "the S3 server broke its listing off",
                    looked_at=self.where(prefix),
                    remedy="Look at the S3 server: it says that there is more and does not give it.",
                )

    def keys_beginning(self, prefix: str) -> Set[str] | None:
        """By one page of a listing; ``None`` where there is more, or where only other prefixes may be listed.

        Raises:
            CouldNotVerify: The server cannot be reached, or the answer is no listing.
        """
        wanted = {"Bucket": self._bucket, "Prefix": self._base + prefix, "MaxKeys": _BESIDE}
        try:
            page = self._connection.request("list_objects_v2", wanted)
        except RequestFailed as failure:
            if failure.diagnosis.code == "AccessDenied":
                return None
            raise could_not_verify(failure.diagnosis, self.where(prefix)) from failure
        self._complete(page, {"IsTruncated"}, prefix)
        if page["IsTruncated"]:
            return None
        return {str(found["Key"]).removeprefix(self._base) for found in page.get("Contents", ())}

    def stat(self, key: str) -> Artifact | None:
        """One object by HEAD, or ``None``; its user metadata is remembered for :meth:`metadata`.

        Raises:
            CouldNotVerify: The server cannot be reached, denies it, or has no such bucket.
        """
        if not key:
            return None
        try:
            answer = self._head(key)
        except RequestFailed as failure:
            diagnosis = failure.diagnosis
            if diagnosis.nature is Nature.ABSENT:
                return None
            raise could_not_verify(diagnosis, self.where(key)) from failure
        artifact = Artifact(
            key,
            answer["ContentLength"],
            answer["LastModified"].timestamp(),
            version=usable_version(answer),
            etag=_etag(answer),
            encryption=str(answer.get("ServerSideEncryption") or ""),
        )
        return None if _is_marker(key, artifact.size) else artifact

    def open(self, artifact: Artifact) -> Generator[bytes, None, None]:
        """The bytes of an object, in chunks of at most 1 MiB; read by ``settings.ranges`` connections.

        Raises:
            BackupFailed: It vanished or was replaced since it was listed.
            CouldNotVerify: It could not be read to its end.
        """
        if self.settings.ranges > 1 and artifact.size > PART and not artifact.version:
            # The ranges are asked for one after another: only by its version can all of them be had of one object
            # that is overwritten meanwhile.
            artifact = replace(artifact, version=usable_version(self._head_again(artifact)))
        address = {"Bucket": self._bucket, "Key": self._base + artifact.key}
        yield from ObjectReader(self._connection, self.settings, address, artifact, self.where(artifact.key)).chunks()

    def metadata(self, artifact: Artifact) -> Mapping[str, str]:
        """The object's ``x-amz-meta-*``, names in lower case and without that prefix.

        Raises:
            BackupFailed: It vanished or was replaced since it was listed.
            CouldNotVerify: The server cannot be reached or denies it.
        """
        known = (artifact.key, artifact.etag)
        if known not in self._metadata:
            self._remember(artifact.key, self._head_again(artifact))
        return self._metadata.get(known, {})

    def recorded_digests(self, artifact: Artifact) -> Sequence[ProviderDigest]:
        """Additional checksums, whole or of parts, and what the metadata calls a digest; an ETag is none.

        Raises:
            BackupFailed: The object vanished or was replaced (stage ``fetch``); a field is malformed (``verify``).
            CouldNotVerify: The server cannot be reached, denies it, or does not say what a checksum is of.
        """
        where = self.where(artifact.key)
        answer = self._head_again(artifact, ChecksumMode="ENABLED")
        found = list(s3_digests.of_metadata(self._metadata.get((artifact.key, _etag(answer)), {}), where))
        sizes: tuple[int, ...] | None = None
        for checksum in s3_digests.checksums(answer, where):
            if checksum.count and sizes is None:
                sizes = self._part_sizes(artifact, answer, checksum.count)
            found.append(s3_digests.provided(checksum, (sizes or ()) if checksum.count else (), where))
        return found

    def _part_sizes(self, artifact: Artifact, answer: Any, count: int) -> tuple[int, ...]:
        """The sizes of an upload's parts: listed, or asked for one by one where the server or a right does not let."""
        version = {"VersionId": usable_version(answer)} if usable_version(answer) else {}
        address = {"Bucket": self._bucket, "Key": self._base + artifact.key, **version}
        sizes: list[int] = []
        with contextlib.suppress(RequestFailed):
            marker = 0
            while len(sizes) < count:
                wanted = {**address, "ObjectAttributes": ["ETag", "ObjectParts"], "PartNumberMarker": marker}
                page = self._connection.request("get_object_attributes", wanted)
                listed = page.get("ObjectParts", {}).get("Parts", ()) if _etag(page) in ("", _etag(answer)) else ()
                sizes += [int(part["Size"]) for part in listed]
                marker = max((int(part["PartNumber"]) for part in listed), default=0)
                if not listed:
                    break
        if len(sizes) == count:
            return tuple(sizes)
        if not s3_digests.may_be_asked(count):
            raise s3_digests.too_many(count, self.where(artifact.key))
        try:
            return tuple(
                int(self._head(artifact.key, PartNumber=number, **version)["ContentLength"])
                for number in range(1, count + 1)
            )
        except RequestFailed as failure:
            raise could_not_verify(failure.diagnosis, self.where(artifact.key), Stage.VERIFY) from failure

    def close(self) -> None:
        """Give up the connections."""
        self._connection.close()

    def _page(self, parameters: Mapping[str, Any], prefix: str) -> Any:
        try:
            page = self._connection.request("list_objects_v2", parameters)
        except RequestFailed as failure:
            raise could_not_verify(failure.diagnosis, self.where(prefix)) from failure
        self._complete(page, {"IsTruncated"}, prefix)
        self._seen = True
        return page

    def _complete(self, answer: Mapping[str, Any], needed: Set[str], key: str) -> None:
        """Refuse an answer that lacks what every S3 server says: it is a login page or a proxy's."""
        if not needed <= answer.keys():
            raise CouldNotVerify(
                "the answer does not come from an S3 server",
                looked_at=self.where(key),
                remedy="Check the store's endpoint: does it name the S3 service itself?",
            )

    def _head_again(self, artifact: Artifact, **more: Any) -> Any:
        """Look at an object that was listed.

        Raises:
            BackupFailed: It is another one now, or gone.
            CouldNotVerify: It cannot be looked at.
        """
        conditions = {"IfMatch": f'"{artifact.etag}"'} if artifact.etag else {}
        if artifact.version:
            conditions["VersionId"] = artifact.version
        try:
            answer = self._head(artifact.key, **conditions, **more)
        except RequestFailed as failure:
            if failure.diagnosis.nature not in (Nature.ABSENT, Nature.CHANGED):
                raise could_not_verify(failure.diagnosis, self.where(artifact.key), Stage.FETCH) from failure
            raise self._changed(artifact) from failure
        if artifact.etag not in ("", _etag(answer)):  # a server that knows no If-Match
            raise self._changed(artifact)
        return answer

    def _changed(self, artifact: Artifact) -> BackupFailed:
        return BackupFailed(
            "the object was replaced or removed after it was listed",
            looked_at=self.where(artifact.key),
            remedy="Run the drill again. If it happens again, the backup job replaces its own snapshots: "
            "give each a new name.",
            stage=Stage.FETCH,
        )

    def _head(self, key: str, **conditions: Any) -> Any:
        parameters = {"Bucket": self._bucket, "Key": self._base + key, **conditions}
        try:
            answer = self._connection.request("head_object", parameters)
        except RequestFailed as failure:
            # The answer to HEAD has no body: whether bucket, key, signature or clock is wrong, all is 403, 404 or 400.
            if self._says_little(failure):
                self._ask_why(key, failure)
            raise
        self._complete(answer, _LOOKED_AT, key)
        self._seen = True
        self._remember(key, answer)
        return answer

    def _says_little(self, failure: RequestFailed) -> bool:
        nature = failure.diagnosis.nature
        return failure.diagnosis.bare and (nature is Nature.FINAL or (nature is Nature.ABSENT and not self._seen))

    def _ask_why(self, key: str, failure: RequestFailed) -> None:
        """Try a request whose answer has a body; raises what that says when it says more."""
        try:
            parameters = {"Bucket": self._bucket, "Prefix": self._base + key, "MaxKeys": 1}
            self._connection.request("list_objects_v2", parameters)
        except RequestFailed as other:
            denied_both = other.diagnosis.code == "AccessDenied" and failure.diagnosis.nature is not Nature.ABSENT
            if not denied_both:
                raise other from failure
        else:
            self._seen = True

    def _remember(self, key: str, answer: Any) -> None:
        while len(self._metadata) >= _REMEMBERED:
            self._metadata.pop(next(iter(self._metadata)))
        stated = answer.get("Metadata", {})
        self._metadata[key, _etag(answer)] = {str(name).lower(): str(value) for name, value in stated.items()}


def _etag(answer: Any) -> str:
    return str(answer.get("ETag") or "").strip('"')


def _is_marker(key: str, size: int) -> bool:
    return size == 0 and key.endswith("/")
