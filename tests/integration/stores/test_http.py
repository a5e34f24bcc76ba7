"""The HTTP store on a real nginx, and what goes wrong between us and it."""

from __future__ import annotations

import functools
import hashlib
import http.server
import itertools
import os
import re
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.fault_proxy import Fault, FaultProxy, answer
from tests.support.servers import S3Server, free_ports
from tests.support.web_server import WebServer, nginx

from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Artifact, Stage
from restore_drill.registry import load
from restore_drill.secrets import SecretReference, redact
from restore_drill.stores import trying
from restore_drill.stores.base import CHUNK, Oddity, ProviderDigest, Store, StoreSettings
from restore_drill.stores.http import HttpStore
from restore_drill.testing.store import MakeUnreachable, Put, Remove, StoreConformance, content, found, read

StoreOf = Callable[..., HttpStore]
SIZE = 6 << 20
_numbers = itertools.count()
_seconds = itertools.count(int(time.time()) - 10**6)


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trying, "FIRST_PAUSE", 0.001)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory, require_program: Callable[[str], str]) -> Iterator[WebServer]:
    """An nginx; whatever the tests did, its log knows of nothing but GET and HEAD."""
    with nginx(tmp_path_factory.mktemp("nginx"), require_program) as running:
        yield running
        assert {line.split(" ")[0] for line in running.log.splitlines()} <= {
            "GET",
            "HEAD",
            "-",
            "",
        }  # what is no HTTP has none


@pytest.fixture
def store_of(monkeypatch: pytest.MonkeyPatch) -> Iterator[StoreOf]:
    """Makes stores with short deadlines, closed at the end: ``store_of(url, options=…, token="…")``."""
    made: list[HttpStore] = []

    def make(address: str, options: Any = None, **more: Any) -> HttpStore:
        secrets = {}
        for name in HttpStore.credentials.keys() & more.keys():
            monkeypatch.setenv(f"TEST_{name.upper()}", more.pop(name))
            secrets[name] = SecretReference("env", f"TEST_{name.upper()}")
        given = {"connect_deadline": 5.0, "read_deadline": 20.0, "retries": 2, **more}
        made.append(HttpStore(StoreSettings("web", address, options=options or {}, secrets=secrets, **given)))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def place(web: WebServer) -> str:
    """A directory of the server that nobody else uses."""
    name = f"test-{next(_numbers)}"
    (web.files / name).mkdir()
    return name


@pytest.fixture
def put(web: WebServer, place: str) -> Put:
    def put(key: str, data: bytes) -> None:
        path = web.files / place / key
        path.parent.mkdir(parents=True, exist_ok=True)
        new = path.with_name(f".new-{next(_numbers)}")
        new.write_bytes(data)
        second = next(_seconds)  # nginx makes its ETag of size and seconds
        os.utime(new, (second, second))
        new.rename(path)

    return put


class TestNginx(StoreConformance):
    """Found by index pages of HTML."""

    PAGES: ClassVar[str] = "files"
    NOWHERE: ClassVar[tuple[str, ...]] = (*StoreConformance.NOWHERE, "dir/one/")
    # nginx lists no hidden files.
    ODD_NAMES: ClassVar[tuple[str, ...]] = tuple(name for name in StoreConformance.ODD_NAMES if name[0] != ".")

    @pytest.fixture
    def store(self, web: WebServer, store_of: StoreOf, place: str) -> Store:
        return store_of(f"{web.url}/{self.PAGES}/{place}")

    @pytest.fixture
    def put(self, put: Put) -> Put:
        return put

    @pytest.fixture
    def remove(self, web: WebServer, place: str) -> Remove:
        return lambda key: (web.files / place / key).unlink()

    @pytest.fixture
    def make_unreachable(self, store_of: StoreOf) -> MakeUnreachable:
        return lambda: store_of(f"http://127.0.0.1:{free_ports(1)[0]}/x", retries=1)


def test_is_registered_under_its_schemes() -> None:
    assert load("stores", "http") is load("stores", "https") is HttpStore


def test_declaring_it_does_not_import_urllib3() -> None:
    program = (
        "import sys, restore_drill.stores.http; print([name for name in sys.modules if name.startswith('urllib3')])"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "[]"


def refused(store: Store) -> CouldNotVerify:
    """Why a store cannot be listed."""
    with pytest.raises(CouldNotVerify) as failure:
        list(store.list(""))
    assert failure.value.looked_at and failure.value.remedy
    return failure.value


@pytest.mark.parametrize("pages", ["json", "headless", "whole"])
def test_other_index_pages_and_servers_without_head_or_ranges(
    web: WebServer, store_of: StoreOf, place: str, put: Put, pages: str
) -> None:
    put("dir/one", content(3000))
    put("two", b"")
    store = store_of(f"{web.url}/{pages}/{place}")
    listed = {artifact.key: artifact.size for artifact in store.list("")}
    assert listed == {"dir/one": 3000, "two": 0}
    assert read(store, found(store, "dir/one")) == content(3000)
    assert store.read_small("two") == b"" and store.stat("three") is None
    assert list(store.list("nowhere/")) == []


def test_the_index_pages_of_python(store_of: StoreOf, tmp_path: Path) -> None:
    for name in ("a b", "sub/c&d", "é?"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.RequestHandlerClass.keywords["directory"] = str(tmp_path)  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        store = store_of(f"http://127.0.0.1:{server.server_port}")
        listed = {artifact.key: read(store, artifact) for artifact in store.list("")}
        server.shutdown()
        thread.join()
    assert listed == {name: name.encode() for name in ("a b", "sub/c&d", "é?")}


def test_a_file_that_lists_the_names(web: WebServer, store_of: StoreOf, place: str, put: Put) -> None:
    for name in ("db/one.gz", "db/two.gz", "wiki/a"):
        put(name, name.encode())
    sums = "".join(
        f"{hashlib.sha256(name.encode()).hexdigest()}  ./{name}\n" for name in ("db/one.gz", "wiki/a", "gone")
    )
    put("SHA256SUMS", sums.encode())
    put("empty", b"\n")
    store = store_of(f"{web.url}/bare/{place}", {"index": "SHA256SUMS"})
    odd: list[Oddity] = []
    assert [artifact.key for artifact in store.scan("", odd.append)] == ["db/one.gz", "wiki/a"]
    assert [each.key for each in odd] == ["gone"]
    assert [artifact.key for artifact in store.list("db/")] == ["db/one.gz"]
    assert store.read_small("db/two.gz") == b"db/two.gz"
    assert "not there" in refused(store_of(f"{web.url}/bare/{place}", {"index": "SUMS"})).cause
    assert "the list of names is empty" in refused(store_of(f"{web.url}/bare/{place}", {"index": "empty"})).cause
    page = refused(store_of(f"{web.url}/login", {"index": "x"}))
    assert "a web page, and no list of names" in page.cause


@pytest.mark.parametrize(("pages", "cause"), [("bare", "shows no index"), ("hidden", "leads to nothing")])
def test_one_object_needs_no_listing(
    web: WebServer, store_of: StoreOf, place: str, put: Put, pages: str, cause: str
) -> None:
    put("db/one.gz", b"1")
    store = store_of(f"{web.url}/{pages}/{place}")
    assert [artifact.key for artifact in store.list("db/one.gz")] == ["db/one.gz"]
    assert cause in refused(store).cause
    with pytest.raises(CouldNotVerify, match=cause):
        list(store.list("db/one"))


@pytest.mark.parametrize(
    ("path", "cause"),
    [
        ("login", "what answers is no index page"),
        ("busy", "fails or is too busy (503)"),
        ("missing", "the store's url leads to nothing"),
        ("locked", "wants other credentials (401)"),
        ("loop", "redirects more than 5 times"),
        ("to/metadata", "a host that is never followed: 169.254.169.254"),
        ("to/file", "no url of a web server"),
        ("to/localhost", "redirects to another host, http://localhost:"),
        ("to/secure", "redirects to another host, https://127.0.0.1:"),
    ],
)
def test_what_is_no_store(web: WebServer, store_of: StoreOf, path: str, cause: str) -> None:
    assert cause in refused(store_of(f"{web.url}/{path}", retries=1)).cause


def test_a_web_page_is_no_sidecar(web: WebServer, store_of: StoreOf) -> None:
    store = store_of(f"{web.url}/login")
    with pytest.raises(CouldNotVerify, match="a web page where a file should be"):
        store.stat("dump.sql.gz.sha256")


def test_redirects_within_what_is_allowed(web: WebServer, store_of: StoreOf, place: str, put: Put) -> None:
    put("one", b"1")
    assert store_of(f"{web.url}/moved/{place}").read_small("one") == b"1"
    hosts = {
        "hosts": ("localhost", f"127.0.0.1:{web.tls}", f"localhost:{web.port}"),
        "ca_file": web.directory / "server.pem",
    }
    assert store_of(f"{web.url}/to/secure/{place}", hosts).read_small("one") == b"1"
    plain = refused(
        store_of(f"https://127.0.0.1:{web.tls}/to/plain/{place}", {**hosts, "hosts": (f"127.0.0.1:{web.port}",)})
    )
    assert "redirects from https to http://127.0.0.1" in plain.cause
    before = len(web.log)
    store = store_of(f"{web.url}/to/localhost/{place}", hosts, token="sesame-token-17")
    assert store.read_small("one") == b"1"
    asked = web.log[before:].splitlines()
    assert [line for line in asked if "/to/localhost/" in line and not line.endswith("Bearer sesame-token-17")] == []
    echoed = [line for line in asked if " /echo/" in line]
    assert echoed and all(line.endswith(" -") for line in echoed)


def test_basic_and_bearer(web: WebServer, store_of: StoreOf, place: str, put: Put) -> None:
    put("one", b"1")
    url = f"{web.url}/locked/{place}"
    assert store_of(url, username="drill", password="sesame-94").read_small("one") == b"1"
    wrong = refused(store_of(url, username="drill", password="barley-94"))
    assert "wants other credentials (401)" in wrong.cause
    assert redact(b64encode(b"drill:barley-94").decode()) == "[redacted]"
    before = len(web.log)
    assert store_of(f"{web.url}/files/{place}", token="sesame-token-18").stat("one") is not None
    assert "Bearer sesame-token-18" in web.log[before:]


def test_presigned(web: WebServer, store_of: StoreOf, place: str, put: Put) -> None:
    put("dump 1.gz", content(9000))
    base = f"{web.url}/signed/{place}"
    store = store_of(base, url=f"{base}/dump%201.gz?sig=s3cr3t-sig&x=1")
    assert [(artifact.key, artifact.size) for artifact in store.list("")] == [("dump 1.gz", 9000)]
    assert list(store.list("other")) == []
    assert read(store, found(store, "dump 1.gz")) == content(9000)
    assert store.stat("dump 1.gz.sha256") is None
    expired = refused(store_of(base, url=f"{base}/dump%201.gz?sig=0ld-s3cr3t"))
    assert "the web server denies access (403)" in expired.cause and "expired" in expired.remedy
    assert "0ld-s3cr3t" not in redact(repr(expired.__cause__)) + redact("?sig=0ld-s3cr3t") + str(expired)
    elsewhere = refused(store_of(base, url="https://other.example/x?sig=s3cr3t-other"))
    assert "does not begin with the store's url" in elsewhere.cause and "s3cr3t" not in str(elsewhere)
    whole = store_of(base, query="?sig=s3cr3t-sig")
    assert whole.read_small("dump 1.gz") == content(9000)
    assert redact("it was sig=s3cr3t-sig, they say") == "it was [redacted], they say"


def test_presigned_by_s3(seaweed: S3Server, store_of: StoreOf) -> None:
    key = f"presigned-{next(_numbers)}/db 1.gz"
    seaweed.client().put_object(Bucket="backups", Key=key, Body=content(SIZE))
    seaweed.client().put_object(Bucket="backups", Key=f"{key}.sha256", Body=b"x")
    signed = seaweed.client("reader").generate_presigned_url("get_object", {"Bucket": "backups", "Key": key}, 600)
    base = f"{seaweed.endpoint}/backups/{key.partition('/')[0]}"
    store = store_of(base, url=signed)
    assert read(store, found(store, "db 1.gz")) == content(SIZE)
    assert store.stat("db 1.gz.sha256") is None
    assert "Signature=" in signed
    problem = refused(store_of(base, url=re.sub("Signature=[^&]*", "Signature=0", signed)))
    assert "denies access (403)" in problem.cause
    assert "Signature" not in f"{problem}{problem.details}" and "Signature=0" not in redact(repr(problem.__cause__))


def test_certificates(web: WebServer, store_of: StoreOf, place: str, put: Put, tmp_path: Path) -> None:
    put("one", b"1")
    url, trusted = f"https://127.0.0.1:{web.tls}/files/{place}", {"ca_file": web.directory / "server.pem"}
    assert store_of(url, trusted).read_small("one") == b"1"
    assert "its certificate is self-signed" in refused(store_of(url)).cause
    expired = {"ca_file": web.directory / "expired.pem"}
    assert (
        "its certificate has expired" in refused(store_of(url.replace(str(web.tls), str(web.expired)), expired)).cause
    )
    assert "for another name" in refused(store_of(url.replace("127.0.0.1", "localhost"), trusted)).cause
    assert "does not speak TLS" in refused(store_of(url.replace(str(web.tls), str(web.port)), trusted, retries=0)).cause
    assert "ca_file cannot be used" in refused(store_of(url, {"ca_file": tmp_path / "missing"})).cause


def test_digests_in_headers(web: WebServer, store_of: StoreOf, place: str, put: Put) -> None:
    put("one", b"abc")
    sha, md5 = (b64encode(hashlib.new(name, b"abc").digest()).decode() for name in ("sha256", "md5"))
    headers = {
        "Repr-Digest": f"sha-256=:{sha}:, unixsum=:MDA=:",
        "Content-MD5": md5,
    }
    with FaultProxy(("127.0.0.1", web.port)) as proxy:
        artifact = store_of(f"{web.url}/files/{place}").stat("one")
        assert artifact is not None
        extra = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = (
            f"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nETag: {artifact.etag}\r\n"
            f"Last-Modified: Fri, 20 Nov 2026 02:00:00 GMT\r\n{extra}Connection: close\r\n\r\n"
        )
        store = store_of(proxy.endpoint)
        proxy.otherwise = Fault("answer", text=head.encode())
        assert store.recorded_digests(artifact) == (
            ProviderDigest("sha256", hashlib.sha256(b"abc").hexdigest(), "repr-digest"),
            ProviderDigest("md5", hashlib.md5(b"abc").hexdigest(), "content-md5", by_uploader=True),
        )
        proxy.otherwise = Fault("answer", text=head.replace(md5, "no digest").encode())
        with pytest.raises(BackupFailed, match="content-md5 holds no md5 digest") as failure:
            store.recorded_digests(artifact)
        assert failure.value.stage is Stage.VERIFY
        proxy.otherwise = Fault("answer", text=head.replace(artifact.etag, '"other"').encode())
        with pytest.raises(BackupFailed, match="was replaced or removed"):
            store.recorded_digests(artifact)


@pytest.fixture
def proxy(web: WebServer) -> Iterator[FaultProxy]:
    with FaultProxy(("127.0.0.1", web.port)) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: FaultProxy, store_of: StoreOf, place: str, put: Put) -> Callable[..., tuple[HttpStore, Artifact]]:
    """A store behind the proxy, which meddles only with the object, and that object."""
    put("object", content(SIZE))
    proxy.only = "GET /"

    def make(pages: str = "files", **more: Any) -> tuple[HttpStore, Artifact]:
        store = store_of(f"{proxy.endpoint}/{pages}/{place}", **more)
        artifact = store.stat("object")
        assert artifact is not None
        return store, artifact

    return make


def begins(proxy: FaultProxy) -> list[int | None]:
    return [request.begin for request in proxy.requests]


@pytest.mark.parametrize("kind", ["cut", "reset"])
@pytest.mark.parametrize("pages", ["files", "whole"])
def test_a_broken_connection_is_taken_up_again(
    proxy: FaultProxy, through: Callable[..., Any], kind: str, pages: str
) -> None:
    proxy.faults.extend([Fault(kind, 2 << 20), None if pages == "files" else Fault(kind, 3 << 20)])
    store, artifact = through(pages)
    assert read(store, artifact) == content(SIZE)
    asked = begins(proxy)
    assert asked[0] is None and all(begin for begin in asked[1:])
    assert len(asked) == (2 if pages == "files" else 3)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(
    st.lists(st.tuples(st.sampled_from(["cut", "reset", "busy"]), st.integers(0, SIZE)), max_size=4),
    st.sampled_from(["files", "whole"]),
)
def test_wherever_it_breaks_the_bytes_are_the_same(
    proxy: FaultProxy, through: Callable[..., Any], faults: list[tuple[str, int]], pages: str
) -> None:
    store, artifact = through(pages, retries=5)
    proxy.faults.clear()
    proxy.faults.extend(Fault(kind, after) for kind, after in faults)
    chunks = list(store.open(artifact))
    assert b"".join(chunks) == content(SIZE)
    assert all(0 < len(chunk) <= CHUNK for chunk in chunks)
    store.close()


@pytest.mark.parametrize("kind", ["mute", "stall"])
def test_silence_ends_at_the_deadline(proxy: FaultProxy, through: Callable[..., Any], kind: str) -> None:
    proxy.faults.append(Fault(kind, 1 << 20))
    store, artifact = through(read_deadline=1.5)
    assert read(store, artifact) == content(SIZE)
    proxy.otherwise = Fault(kind, 0)
    with pytest.raises(CouldNotVerify, match="does not answer in time") as failure:
        read(store, artifact)
    assert failure.value.remedy


def test_a_connection_that_breaks_again_and_again(proxy: FaultProxy, through: Callable[..., Any]) -> None:
    proxy.faults.append(Fault("cut", 1 << 20))
    proxy.otherwise = Fault("cut", 0)
    store, artifact = through()
    with pytest.raises(CouldNotVerify, match=rf"broke; \d+ of {SIZE} bytes had arrived") as failure:
        read(store, artifact)
    assert failure.value.stage is Stage.FETCH and len(proxy.requests) == 3


def test_busy_servers_are_asked_again(proxy: FaultProxy, through: Callable[..., Any]) -> None:
    proxy.faults.extend([Fault("busy"), Fault("busy")])
    store, artifact = through()
    assert read(store, artifact) == content(SIZE)
    proxy.otherwise = Fault("busy")
    with pytest.raises(CouldNotVerify, match=r"too busy \(503\)"):
        read(store, artifact)


@pytest.mark.parametrize("new", [content(SIZE, 2), content(SIZE - 1, 2)], ids=["same size", "less"])
def test_replaced_while_the_connection_was_broken(
    proxy: FaultProxy, through: Callable[..., Any], put: Put, new: bytes
) -> None:
    proxy.faults.append(Fault("cut", 2 << 20))
    store, artifact = through()
    reader = store.open(artifact)
    begun = next(reader)
    put("object", new)
    with pytest.raises(BackupFailed, match="was replaced after it was listed") as failure:
        for chunk in reader:
            begun += chunk
    assert failure.value.stage is Stage.FETCH
    assert content(SIZE).startswith(begun)


def test_answers_that_are_not_what_was_asked_for(proxy: FaultProxy, through: Callable[..., Any]) -> None:
    store, artifact = through()
    ranged = (
        f"HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 0-9/{SIZE}\r\nETag: {artifact.etag}\r\n"
        "Content-Length: 10\r\nConnection: close\r\n\r\n0123456789"
    )
    proxy.faults.extend([Fault("cut", 1 << 20), Fault("answer", text=ranged.encode())])
    with pytest.raises(CouldNotVerify, match="does not send the range"):
        read(store, artifact)
    for status, cause in (
        ("404 Not Found", "vanished"),
        ("412 Precondition Failed", "replaced"),
        ("410 Gone", "vanished"),
    ):
        proxy.faults.append(Fault("answer", text=answer(status, b"no", "text/plain")))
        with pytest.raises(BackupFailed, match=cause):
            read(store, artifact)
    page = answer("200 OK", b"<html>busy</html>", "text/html")
    proxy.faults.append(Fault("answer", text=page))
    with pytest.raises(BackupFailed, match="was replaced after it was listed"):
        read(store, artifact)


def test_a_header_that_drips_in_has_a_deadline(store_of: StoreOf) -> None:
    stop = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip(client: socket.socket) -> None:
            with client:
                try:
                    client.sendall(b"HTTP/1.1 200 OK\r\nX: ")
                    while not stop.wait(0.02):
                        client.sendall(b"x")
                except OSError:
                    return

        def accept() -> None:
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=drip, args=(client,), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        assert "does not answer in time" in refused(store_of(url, connect_deadline=0.2, read_deadline=0.2)).cause
        stop.set()
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_a_name_that_leads_inside(web: WebServer, store_of: StoreOf, monkeypatch: pytest.MonkeyPatch) -> None:
    from restore_drill import hosts

    monkeypatch.setattr(hosts, "_METADATA_NETWORKS", (hosts.ipaddress.ip_network("127.0.0.0/8"),))
    before = len(web.log)
    assert "leads to an address that serves" in refused(store_of(web.url.replace("127.0.0.1", "localhost"))).cause
    assert web.log[before:] == ""


def test_index_pages_that_are_cut_off(proxy: FaultProxy, store_of: StoreOf) -> None:
    whole = b"<html><head><title>Index of /x/</title></head><body><a href='a'>a</a></body></html>"
    proxy.otherwise = Fault("answer", text=answer("200 OK", whole[:-9], "text/html"))
    assert "the index page is cut off" in refused(store_of(f"{proxy.endpoint}/x")).cause
    short = answer("200 OK", whole, "text/html").replace(b"Length: ", b"Length: 9")
    proxy.otherwise = Fault("answer", text=short)
    assert "broke" in refused(store_of(f"{proxy.endpoint}/x", retries=1)).cause
    proxy.otherwise = Fault("answer", text=answer("200 OK", b'[{"name": "a"', "application/json"))
    assert "no whole JSON" in refused(store_of(f"{proxy.endpoint}/x")).cause
    assert re.search("index", refused(store_of(f"{proxy.endpoint}/x")).remedy)
