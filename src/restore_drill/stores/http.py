"""A directory on a web server, or one object there: what HTTP (RFC 9110) lets one read.

Decided here:

* What there is, is read from the server's index pages, or from a file that lists names (option ``index``); size and
  time of each object come from the object itself (HEAD). Without either, an object can be named whole: then it is all
  there is.
* The marker of a version (``etag``) is the ETag, or else the time of the last change.
* A url that is signed (``credentials: {url: …}``) is the address of one object, and is never written anywhere.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar
from urllib.parse import quote, unquote_to_bytes, urlsplit

from restore_drill import digests
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Stage
from restore_drill.stores.base import Address, Credential, Oddity, Option, ProviderDigest, Store, StoreSettings, Trouble
from restore_drill.stores.http_errors import diagnose, of_status
from restore_drill.stores.http_headers import Seen, described, digests_in, is_page
from restore_drill.stores.http_listing import NoListing, names_in_file, names_in_page
from restore_drill.stores.http_reader import ObjectReader, changed
from restore_drill.stores.pieces import drain
from restore_drill.stores.trying import Diagnosis, Nature, Patience, could_not_verify

if TYPE_CHECKING:
    from restore_drill.stores.http_client import Client

#: The largest index page or list of names (bytes).
MOST_LISTED = 64 << 20
#: Objects that are looked at at the same time while listing.
_AT_ONCE = 8
#: What a name in a url may hold as it is (RFC 3986, section 3.3).
_SAFE = "/!$&'()*+,;=:@-._~"
#: Caddy gives its plain index to whoever mentions JSON; others have an interface of their own behind it.
_PAGE_OR_JSON = {"Accept": "text/html, application/json;q=0.9, */*;q=0.1"}
#: What servers of single objects answer when they are asked for a directory.
_NO_INDEX = re.compile(r"\((400|403|405|501)\)$")
_WANT = {"Want-Repr-Digest": "sha-256=9, sha-512=8"}


class HttpStore(Store):
    """``https://host:port/path`` or ``http:``."""

    schemes = ("http", "https")
    options: ClassVar[Mapping[str, Option]] = {
        "hosts": Option(tuple, "Hosts that redirects may lead to, besides the url's own.",
                        ["cdn.example", "s3.example:9000"]),
        "index": Option(str, "A file below the url that lists the names, where the server makes no index pages.",
                        "SHA256SUMS"),
        "ca_file": Option(Path, "Certificates of the authority that is trusted, instead of the system's.", "ca.pem"),
        "token_header": Option(str, "Header that holds the token, instead of Authorization.", "PRIVATE-TOKEN"),
    }  # fmt: skip
    credentials: ClassVar[Mapping[str, Credential]] = {
        "username": Credential("User for basic authentication."),
        "password": Credential("Password for basic authentication."),
        "token": Credential("Bearer token."),
        "url": Credential("The whole presigned url of one object; it begins with the store's url."),
        "query": Credential(
            "What signs every url of the store (a SAS token, a signed policy), without its question mark."
        ),
    }
    user_in_url = False

    def __init__(self, settings: StoreSettings) -> None:
        super().__init__(settings)
        self._base = f"{settings.url.rstrip('/')}/"
        self._made: Client | None = None

    @classmethod
    def check(cls, address: Address) -> Iterator[Trouble]:
        """A host and a path, without a query."""
        try:
            parts = urlsplit(address.url)
            usable = address.rest.startswith("//") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if not usable:
            yield Trouble(f"an {address.scheme}: url needs a host", f"write {address.scheme}://host:port/path")
        elif re.search(r"[?#]", address.rest):
            hint = "the url of one signed object is a secret: write credentials: {url: env:NAME}"
            yield Trouble(f"an {address.scheme}: url has neither ? nor #", hint, secret=True)
        elif re.search(r"//|/\.{1,2}(/|$)|[\s\0]", parts.path):
            yield Trouble("the path has empty parts, '.', '..' or spaces", "write it as a browser shows it")
        yield from _who_asks(address)

    @classmethod
    def hosts(cls, address: Address) -> Iterator[tuple[str, str]]:
        """The server's, and those that redirects may lead to."""
        yield from super().hosts(address)
        for host in address.options.get("hosts", ()):
            yield "hosts", f"//{host}"

    def list(self, prefix: str) -> Iterator[Artifact]:
        """Every object whose key begins with ``prefix``; of index pages only those that can lead to one are read.

        Raises:
            CouldNotVerify: The server cannot be reached, denies access, or says nothing of what it has.
        """
        return self.scan(prefix, lambda oddity: None)  # noqa: ARG005 - what is no object is not listed

    def scan(
        self,
        prefix: str,
        odd: Callable[[Oddity], None],
        closed: Callable[[str, str], None] | None = None,  # noqa: ARG002 - what is denied is an error
    ) -> Iterator[Artifact]:
        """The same, telling of directories, and of names that are listed and not there."""
        names = self._names(prefix, odd)
        waiting: deque[tuple[str, Future[Seen | None]]] = deque()
        pool = ThreadPoolExecutor(_AT_ONCE, "restore-drill-http")
        try:
            for name in names:
                waiting.append((name, pool.submit(self._look, name)))
                if len(waiting) > _AT_ONCE:
                    yield from self._seen(*waiting.popleft(), odd)
            while waiting:
                yield from self._seen(*waiting.popleft(), odd)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def stat(self, key: str) -> Artifact | None:
        """One object by its headers, or ``None`` when the server says that there is none.

        Raises:
            CouldNotVerify: As for :meth:`list`; or a web page answers in its place.
        """
        seen = self._look(key) if _is_key(key) else None
        if seen is None:
            return None
        if is_page(key, seen.headers.get("content-type", "")):
            raise CouldNotVerify(_PAGE[0], looked_at=self.where(key), remedy=_PAGE[1])
        return seen.artifact

    def open(self, artifact: Artifact) -> Generator[bytes, None, None]:
        """The bytes of an object as they are stored; resumed where the connection broke.

        Raises:
            BackupFailed: It vanished or was replaced since it was listed.
            CouldNotVerify: It could not be read to its end.
        """
        url, where = self._url(artifact.key), self.where(artifact.key)
        yield from ObjectReader(self._client, self.settings, url, artifact, where).chunks()

    def recorded_digests(self, artifact: Artifact) -> Sequence[ProviderDigest]:
        """What ``Repr-Digest`` (RFC 9530), ``Digest`` (RFC 3230) and ``Content-MD5`` (RFC 1864) say of an object."""
        seen = self._look(artifact.key)
        if seen is None or not _is_same(seen.artifact, artifact):
            raise changed(self.where(artifact.key), "was replaced or removed after it was listed")
        return tuple(self._recorded(artifact, *each) for each in digests_in(seen.headers))

    def _recorded(self, artifact: Artifact, field: str, algorithm: str, value: str) -> ProviderDigest:
        found = digests.from_base64(value, algorithm)
        if not found:
            raise BackupFailed(
                f"the header {field} holds no {algorithm} digest",
                looked_at=self.where(artifact.key),
                remedy="Look at what sets it on the web server.",
                stage=Stage.VERIFY,
            )
        return ProviderDigest(algorithm, found, field, by_uploader=field == "content-md5")

    def close(self) -> None:
        """Give up the connections."""
        if self._made is not None:
            self._made.close()

    @property
    def _client(self) -> Client:
        if self._made is None:
            from restore_drill.stores.http_client import Client  # its library takes its time

            self._made = Client(self.settings, self.where())
        return self._made

    def _seen(self, name: str, future: Future[Seen | None], odd: Callable[[Oddity], None]) -> Iterator[Artifact]:
        seen = future.result()
        if seen is None:
            odd(Oddity(name, 0.0, "a name that is listed and not there"))
        else:
            yield seen.artifact

    def _names(self, prefix: str, odd: Callable[[Oddity], None]) -> Iterator[str]:
        """The names that begin so, from whatever says which there are."""
        one = self._presigned()
        if one is not None:
            if self._look(one) is None:
                raise CouldNotVerify(
                    "the presigned url leads to nothing", looked_at=self.where(one), remedy="Make a new one."
                )
            yield from [one] if one.startswith(prefix) else []
        elif "index" in self.settings.options:
            yield from self._names_of_file(self.settings.options["index"], prefix)
        else:
            yield from self._names_of_pages(prefix, odd)

    def _presigned(self) -> str | None:
        """The key of the one object of a presigned url, ``None`` without one.

        Raises:
            CouldNotVerify: It is no url below the store's.
        """
        whole = self._client.secrets.get("url")
        if whole is None:
            return None
        address = whole.partition("?")[0]
        key = unquote_to_bytes(address.removeprefix(self._base)).decode("utf-8", "surrogateescape")
        if not address.startswith(self._base) or not _is_key(key):
            raise CouldNotVerify(
                "the presigned url does not begin with the store's url",
                looked_at=self.where(),
                remedy="Let the store's url be what comes before the name of the object in it.",
            )
        return key

    def _names_of_file(self, index: str, prefix: str) -> Iterator[str]:
        page = self._page(index, {})
        if page is None:
            raise CouldNotVerify(
                "the file that lists the names is not there", looked_at=self.where(index),
                remedy="Correct the store's option `index`.",
            )  # fmt: skip
        try:
            for name in dict.fromkeys(names_in_file(page[0])):
                if name.startswith(prefix) and _is_key(name):
                    yield name
        except NoListing as problem:
            raise self._unlisted(str(problem), index) from problem

    def _names_of_pages(self, prefix: str, odd: Callable[[Oddity], None]) -> Iterator[str]:
        folder, slash, start = prefix.rpartition("/")
        if slash and not _is_key(folder):
            return
        unlisted: _Unlisted | None = None
        names: Sequence[tuple[str, bool]] | None = None
        try:
            names = self._children(folder)
        except _Unlisted as problem:
            unlisted = problem
        if names is None:
            if start and self._look(prefix) is not None:
                yield prefix  # named whole: it is all that is wanted of this server
                return
            if unlisted is not None:
                raise unlisted.told from unlisted
            self._check_root()
            return
        levels = [
            iter([(f"{folder}{slash}{name}", is_directory) for name, is_directory in names if name.startswith(start)])
        ]
        while levels:
            key, is_directory = next(levels[-1], ("", False))
            if not key:
                levels.pop()
            elif is_directory:
                odd(Oddity(key, 0.0, "a directory", is_directory=True))
                levels.append(iter([(f"{key}/{name}", further) for name, further in self._told(key) or ()]))
            else:
                yield key

    def _check_root(self) -> None:
        """Make sure that the store is there when a directory in it is not."""
        if self._told("") is None:
            raise self._unlisted("the store's url leads to nothing", "")

    def _told(self, folder: str) -> Sequence[tuple[str, bool]] | None:
        try:
            return self._children(folder)
        except _Unlisted as problem:
            raise problem.told from problem

    def _children(self, folder: str) -> Sequence[tuple[str, bool]] | None:
        """What an index page lists; ``None`` when there is no such directory."""
        key = f"{folder}/" if folder else ""
        try:
            page = self._page(key, _PAGE_OR_JSON)
            return None if page is None else tuple(names_in_page(*page))
        except NoListing as problem:
            raise _Unlisted(self._unlisted(str(problem), key)) from problem
        except CouldNotVerify as problem:
            status = _NO_INDEX.search(problem.cause)
            if status is None:
                raise
            cause = f"the web server shows no index of the directory ({status[1]})"
            raise _Unlisted(self._unlisted(cause, key)) from problem

    def _unlisted(self, cause: str, key: str) -> CouldNotVerify:
        return CouldNotVerify(
            cause,
            looked_at=self.where(key),
            remedy="Correct the url; have the server make index pages (nginx: `autoindex on;`), or name a file that "
            "lists the names with the store's option `index`.",
        )

    def _url(self, key: str) -> str:
        return self._base + quote(key.encode("utf-8", "surrogateescape"), safe=_SAFE)

    def _page(self, key: str, headers: Mapping[str, str]) -> tuple[bytes, str] | None:
        """A small document whole and the url that gave it, ``None`` when it is not there."""
        patience = Patience(self.settings.retries)
        while True:
            problem: Exception | None = None
            try:
                answer, here = self._client.send("GET", self._url(key), headers)
                try:
                    if answer.status == 200:
                        return self._client.whole(answer, MOST_LISTED), here
                    diagnosis = of_status(answer.status)
                finally:
                    answer.close()
            except Exception as raised:
                problem, found = raised, diagnose(raised)
                if found is None:
                    raise
                diagnosis = found
            if diagnosis.nature is Nature.ABSENT:
                return None
            if not patience.bears(diagnosis):
                raise could_not_verify(diagnosis, self.where(key)) from problem

    def _look(self, key: str) -> Seen | None:
        """An object by its headers; by its first byte where the server answers no HEAD."""
        one = self._presigned()
        if one not in (None, key):
            return None
        patience = Patience(self.settings.retries)
        methods = deque([("HEAD", False), ("GET", True), ("GET", False)][0 if one is None else 1 :])
        while True:
            problem: Exception | None = None
            try:
                method, ranged = methods[0]
                headers = {"Range": "bytes=0-0", **_WANT} if ranged else _WANT
                answer, here = self._client.send(method, self._url(key), headers)
                drain(answer)
                if urlsplit(here).path.endswith("/"):
                    return None  # servers lead from a directory's name to its page
                seen = described(key, answer)
                if seen is not None:
                    return seen
                diagnosis = of_status(answer.status) if answer.status >= 300 else None
                if diagnosis is None or answer.status in (400, 403, 405, 416, 501):
                    if len(methods) > 1:
                        methods.popleft()  # a url may be signed for GET alone, and some servers know no HEAD
                        continue
                    page = is_page(key, answer.headers.get("Content-Type", ""))
                    diagnosis = diagnosis or Diagnosis(Nature.FINAL, *(_PAGE if page else _UNSAID))
            except Exception as raised:
                problem, found = raised, diagnose(raised)
                if found is None:
                    raise
                diagnosis = found
            if diagnosis.nature is Nature.ABSENT:
                return None
            if not patience.bears(diagnosis):
                raise could_not_verify(diagnosis, self.where(key)) from problem


#: An answer that is a web page.
_PAGE = (
    "the web server answers with a web page where a file should be",
    "Is a login in the way, or does the server have a page for what is not there? It must say 404.",
)
#: An answer that says neither how large an object is nor when it was written.
_UNSAID = (
    "the web server does not say how large the object is, or when it was last changed",
    "Have it send Content-Length and Last-Modified (a static file has both).",
)


class _Unlisted(Exception):
    """A directory of which there is no index."""

    def __init__(self, told: CouldNotVerify) -> None:
        super().__init__(told.cause)
        self.told = told


def _who_asks(address: Address) -> Iterator[Trouble]:
    """Credentials that exclude each other."""
    given = address.credentials
    if len([names for names in ({"username", "password"}, {"token"}, {"url"}, {"query"}) if names & given]) > 1:
        yield Trouble("the credentials say several things about who asks", "keep one kind of them", at="credentials")
    if "password" in given and "username" not in given:
        yield Trouble("a password needs its username", "add username", at="password")
    if "token_header" in address.options and "token" not in given:
        yield Trouble("token_header without a token says nothing", "add credentials: {token: …}", at="token_header")
    if "url" in given and "index" in address.options:
        yield Trouble("a presigned url is one object: nothing is listed", "remove index", at="index")
    if address.scheme == "http" and given & {"username", "password", "token"} and not _is_loopback(address):
        yield Trouble("credentials would go over the network unencrypted", "write https://", at="url")


def _is_loopback(address: Address) -> bool:
    host = urlsplit(address.url).hostname or ""
    return host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))


def _is_key(key: str) -> bool:
    return "\0" not in key and all(part not in ("", ".", "..") for part in key.split("/"))


def _is_same(now: Artifact, listed: Artifact) -> bool:
    return (now.etag, now.size) == (listed.etag, listed.size)
