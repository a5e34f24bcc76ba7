"""What stores of clouds that obstore reads (Google Cloud Storage, Azure) have in common.

Decided here:

* Keys come back as they are stored. obstore cannot handle a name with an empty part, ``.``, ``..`` or a control
  character, and refuses a whole listing for the sake of one: that is an error here too, never a shorter listing.
* An empty object whose key ends in a slash is a directory marker of some console and no object.
* An object is read by the ETag it was listed with (``If-Match``), and every answer is compared with it and its size.
* obstore lists by whole parts of a name: what begins like the last one is picked out here.
"""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Generator, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar
from urllib.parse import urlsplit

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Stage
from restore_drill.registry import library
from restore_drill.stores.base import Address, Option, ProviderDigest, Store, StoreSettings, Trouble
from restore_drill.stores.cloud_client import CloudProblem, Workers
from restore_drill.stores.cloud_errors import diagnose
from restore_drill.stores.cloud_worker import Seen, is_folder
from restore_drill.stores.pieces import Held
from restore_drill.stores.s3_digests import of_metadata
from restore_drill.stores.trying import Diagnosis, Nature, Patience, could_not_verify

#: Attributes of the library that are no metadata of the user.
_NOT_THE_USERS = frozenset(
    {"content-disposition", "content-encoding", "content-language", "content-type", "cache-control", "storage-class"}
)
#: The library's deadline for a request and its whole answer: none; single reads have one.
_NEVER = timedelta(days=365)


class CloudStore(Store):
    """A bucket or container, or the part of it below a prefix."""

    options: ClassVar[Mapping[str, Option]] = {
        "endpoint": Option(str, "URL of a service that speaks the protocol.", "https://storage.example"),
        "anonymous": Option(bool, "Ask without credentials, for what is public.", True),
    }
    #: The extra that installs the library, and the class of it.
    extra: ClassVar[str] = ""
    kind: ClassVar[str] = ""
    #: What a bucket is called, and what its name may look like.
    container: ClassVar[tuple[str, str]] = ("", "")
    reads_ranges = True
    user_in_url = False

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(settings)
        self._bucket, _, prefix = settings.url.partition("://")[2].partition("/")
        self._base = f"{prefix.rstrip('/')}/" if prefix.strip("/") else ""
        slowest = (settings.retries + 1) * (settings.connect_deadline + settings.read_deadline + 5)
        self._workers = Workers(self._told, slowest)
        self._exists = False

    @classmethod
    def check(cls, address: Address) -> Iterator[Trouble]:
        """A bucket and a prefix, taken literally, and one way to prove who asks."""
        scheme, (word, pattern) = address.scheme, cls.container
        name, _, prefix = address.rest.removeprefix("//").partition("/")
        if not address.rest.startswith("//") or not re.fullmatch(pattern, name):
            yield Trouble(f"this {scheme}: url has no {word}'s name", f"write {scheme}://{word}/prefix")
        elif prefix and not is_name(prefix.removesuffix("/")):
            hint = "a key is taken literally: write it plainly"
            yield Trouble("the prefix has empty parts, '.', '..' or control characters", hint)
        elif re.search(r"[?#]", prefix):
            yield Trouble(f"this {scheme}: url has ? or #", "options of the store have keys of their own", secret=True)
        if len(address.credentials) > 1:
            at = max(address.credentials)
            yield Trouble("the credentials say several things about who asks", "keep one of them", at=at)
        if address.options.get("anonymous") and address.credentials:
            yield Trouble("anonymous and credentials contradict each other", "keep one of them", at="anonymous")
        endpoint = urlsplit(str(address.options.get("endpoint", "")))
        if endpoint.scheme == "http" and address.credentials and endpoint.hostname not in ("127.0.0.1", "localhost"):
            yield Trouble("credentials would go over the network unencrypted", "write https:", at="endpoint")

    @classmethod
    def hosts(cls, address: Address) -> Iterator[tuple[str, str]]:  # noqa: ARG003 - the endpoint is looked at anyway
        """None: what stands in the url is no host."""
        yield from ()

    @abstractmethod
    def configuration(self, secrets: Mapping[str, str]) -> dict[str, Any]:
        """What the library is told besides the name: whom to ask, and who asks."""

    def list(self, prefix: str) -> Iterator[Artifact]:
        """Every object whose key begins with ``prefix``, page by page.

        Raises:
            CouldNotVerify: The service cannot be reached or denies it, there is no such container, or a name in it
                cannot be handled.
        """
        folder = _listable(self._base + prefix.rpartition("/")[0])
        wanted = self._base + prefix
        try:
            for page in self._workers.ask("list", folder):
                for seen in page:
                    if seen[0].startswith(wanted):
                        yield self._artifact(seen)
        except CloudProblem as problem:
            raise could_not_verify(diagnose(problem), self.where(prefix)) from problem
        self._exists = True

    def stat(self, key: str) -> Artifact | None:
        """One object, or ``None`` when there is none of that name.

        Raises:
            CouldNotVerify: As for :meth:`list`; or the library cannot handle the name.
        """
        if not key or key.endswith("/"):
            return None
        found = self._look(key)
        return None if found is None or is_folder(found[1]) else self._artifact(found[0])

    def open(self, artifact: Artifact) -> Generator[bytes, None, None]:
        """The bytes of an object, in chunks of at most 1 MiB; taken up again where the connection broke.

        Raises:
            BackupFailed: It vanished or was replaced since it was listed.
            CouldNotVerify: It could not be read to its end.
        """
        position, patience = 0, Patience(self.settings.retries)
        key, size = self._named(artifact.key), artifact.size
        while True:
            held, problem = Held(), None
            try:
                request = ("get", key, position, size, size, artifact.etag, self.settings.ranges)
                for piece in self._workers.ask(*request):
                    position += len(piece)
                    if piece:
                        patience.progressed()
                    if piece and held.add(piece):
                        yield from _cut(held.take())
            except CloudProblem as raised:
                problem = raised
            if held:
                yield from _cut(held.take())
            if problem is None and position == size:
                return
            self._go_on(artifact, position, problem, patience)

    def metadata(self, artifact: Artifact) -> Mapping[str, str]:
        """The user's own metadata, names in lower case.

        Raises:
            BackupFailed: It vanished or was replaced since it was listed.
            CouldNotVerify: The service cannot be reached or denies it.
        """
        found = self._look(artifact.key)
        if found is None or artifact.etag not in ("", found[0][3]):
            raise self._changed(artifact, "was replaced or removed after it was listed")
        lowered = {name.lower(): value for name, value in found[1].items()}
        return {name: value for name, value in lowered.items() if name not in _NOT_THE_USERS}

    def recorded_digests(self, artifact: Artifact) -> Sequence[ProviderDigest]:
        """Digests that whoever uploaded the object wrote into its metadata; the library shows no others.

        Raises:
            BackupFailed: The object vanished or was replaced (stage ``fetch``); a field is malformed (``verify``).
            CouldNotVerify: The service cannot be reached or denies it.
        """
        return tuple(of_metadata(self.metadata(artifact), self.where(artifact.key)))

    def close(self) -> None:
        """End the processes that wait for work."""
        self._workers.close()

    def endpoint(self, secrets: Mapping[str, str], usual: str) -> str:
        """Whom to ask; never what an environment variable says.

        Raises:
            CouldNotVerify: It is no url.
        """
        endpoint = secrets.get("endpoint") or str(self.settings.options.get("endpoint") or usual)
        if not re.match(r"https?://[^/?#@]+(/[^?#]*)?\Z", endpoint):
            raise CouldNotVerify(
                "the store's endpoint is not a URL", looked_at=self.where(), remedy="Write https://host:port."
            )
        return endpoint.rstrip("/")

    def _told(self) -> tuple[str, str, dict[str, Any]]:
        """What a process needs to know before it can be asked."""
        library("obstore", f"a store of {type(self).schemes[0]}:", self.extra)
        secrets = {name: secret.resolve() for name, secret in self.settings.secrets.items()}
        endpoint = self.endpoint(secrets, "https://unused")
        client = {
            "allow_http": endpoint.startswith("http:"),
            "timeout": _NEVER,
            "connect_timeout": timedelta(seconds=self.settings.connect_deadline),
            "read_timeout": timedelta(seconds=self.settings.read_deadline),
            "user_agent": "restore-drill",
        }
        given = {
            "alone": bool(secrets.keys() - {"endpoint"} or self.settings.options.get("anonymous")),
            "config": self.configuration(secrets), "client_options": client, "retries": self.settings.retries,
        }  # fmt: skip
        return self.kind, self._bucket, given

    def _artifact(self, seen: Seen) -> Artifact:
        key, size, modified, etag = seen
        return Artifact(key.removeprefix(self._base), size, modified, etag=etag)

    def _named(self, key: str) -> str:
        """The whole name of an object.

        Raises:
            CouldNotVerify: The library cannot handle it: whether there is such an object is not known.
        """
        if not is_name(key):
            raise CouldNotVerify(
                "this is a name that the library cannot handle (an empty part, '.', '..' or a control character)",
                looked_at=self.where(key),
                remedy="Name the objects of a backup plainly, or read the store by rclone:.",
            )
        return self._base + key

    def _look(self, key: str) -> tuple[Seen, Mapping[str, str]] | None:
        """One object and its attributes, ``None`` when there is none; asked again where that may help."""
        patience = Patience(self.settings.retries)
        name = self._named(key)
        while True:
            try:
                ((seen, attributes),) = self._workers.ask("look", name)
            except CloudProblem as problem:
                diagnosis = diagnose(problem)
                if diagnosis.nature is Nature.ABSENT:
                    self._check_container(key)
                    return None
                if not patience.bears(diagnosis):
                    raise could_not_verify(diagnosis, self.where(key)) from problem
            else:
                self._exists = True
                return seen, attributes

    def _check_container(self, key: str) -> None:
        """Make sure that it is the object that is missing: the answer to HEAD does not say."""
        if not self._exists:
            next(self.list(f"{key}/"), None)
            self._exists = True

    def _go_on(self, artifact: Artifact, position: int, problem: CloudProblem | None, patience: Patience) -> None:
        """Wait and return when another attempt makes sense, raise the reason otherwise."""
        if problem is None:
            diagnosis = Diagnosis(Nature.AGAIN, "the connection to the service broke", "Check the network.")
        else:
            diagnosis = diagnose(problem)
        if diagnosis.nature is Nature.ABSENT:
            raise self._changed(artifact, "vanished after it was listed") from problem
        if diagnosis.nature is Nature.CHANGED:
            raise self._changed(artifact, "was replaced after it was listed") from problem
        if not patience.bears(diagnosis):
            so_far = f"; {position} of {artifact.size} bytes had arrived" if position else ""
            raise could_not_verify(diagnosis, self.where(artifact.key), Stage.FETCH, so_far) from problem

    def _changed(self, artifact: Artifact, how: str) -> BackupFailed:
        return BackupFailed(
            f"the object {how}",
            looked_at=self.where(artifact.key),
            remedy="Run the drill again. If it happens again, the backup job replaces its own snapshots: "
            "give each a new name.",
            stage=Stage.FETCH,
        )


def is_name(key: str) -> bool:
    """Whether the library can handle a name as it stands."""
    try:
        key.encode("utf-8")
    except UnicodeEncodeError:
        return False
    parts = key.split("/")
    return not ({"", ".", ".."} & set(parts)) and not re.search(r"[\x00-\x1f\x7f-\x9f]", key)


def _listable(folder: str) -> str:
    """The longest beginning of a folder's name, by whole parts, that the library can be asked for."""
    parts = folder.rstrip("/").split("/")
    while parts and not is_name("/".join(parts)):
        parts.pop()
    return "/".join(parts)


def _cut(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), 1 << 20):
        yield data[start : start + (1 << 20)]
