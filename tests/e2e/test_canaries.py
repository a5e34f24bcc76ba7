"""Words that stand for secrets and for somebody's data, and everywhere they must never be found afterwards."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.support.contents import AgeKey, gz, manifest, shop, sql, tar
from tests.support.estate import Outcome, Project
from tests.support.matrix import AGES, Site
from tests.support.servers import S3Server

_TIME = "{time:%Y%m%d_%H%M%S}"
_KEY = AgeKey()
_WRONG = AgeKey()
#: A person in a row, and a file in a tree.
_PERSON = "Ottilie-Canary"
_FILE = "letter-to-the-canary"
_CONTENT = "what-the-canary-sang"
#: Part of the addresses of those who are told.
_TOKEN = "address-of-the-canary"
_SECRETS = ["age identity", "wrong age identity", "S3 secret", "ledger key", "alert address", "unrelated token"]
#: Every file of a run, and the ledger.
_ARTEFACTS = {
    "junit.xml", "evidence.json", "report.html", "summary.md", "metrics.prom", "ctrf.json", "alerts.json",
    "entries.jsonl",
}  # fmt: skip
#: Notes what child processes are called with, while every case of every drill runs.
_WATCH = """
import json, os
from pathlib import Path
import pytest

_LOG = Path(os.environ["E2E_WATCHED"])

def _descendants():
    parents = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(path.name)] = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
    found, grown = {os.getpid()}, True
    while grown:
        more = {pid for pid, parent in parents.items() if parent in found} - found
        grown = bool(more)
        found |= more
    return found - {os.getpid()}

@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item):
    lines = []
    for pid in _descendants():
        try:
            lines.append(json.dumps({"cmdline": Path(f"/proc/{pid}/cmdline").read_bytes().decode("latin-1")}))
        except OSError:
            continue
    with _LOG.open("a") as file:
        file.write("".join(line + "\\n" for line in lines))
"""
#: A user's own case, which looks around inside the sandbox and quotes what it restored.
_OWN = """
import json, os
from pathlib import Path
import pytest

@pytest.mark.target("database")
def test_look_around(restored):
    found = restored._sandbox.call("restore_drill.sandboxes.trials:look_around", {}, deadline=30)
    Path(os.environ["E2E_WATCHED"]).with_name("inside.json").write_text(json.dumps(found))
    name = restored.query("select name from customers where id = 7")[0][0]
    assert name == "somebody else"
"""


@dataclass(frozen=True)
class Watched:
    """A run, and what was seen of it.

    Attributes:
        words: What must not be found, by what it is.
    """

    outcome: Outcome
    project: Project
    words: dict[str, str]
    processes: list[str]
    inside: dict[str, object]
    received: list[bytes]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory, cloud: S3Server) -> Watched:
    project = Project(tmp_path_factory.mktemp("canaries") / "project")
    project.conftest(_WATCH)
    (project.root / "drills" / "test_own.py").write_text(_OWN)
    log = project.root / "watched" / "processes.jsonl"
    log.parent.mkdir()
    project.environment |= {"E2E_WATCHED": str(log), "SHOP_KEY": _KEY.secret, "UNRELATED_TOKEN": "token-of-the-canary"}
    server = (cloud.client(), cloud.endpoint)
    _database(project, server)
    _trees(project)
    with _receiver() as (address, received):
        key = _sign_and_alert(project, address)
        outcome = project.drill()
    words = {
        "age identity": _KEY.secret,
        "wrong age identity": _WRONG.secret,
        "S3 secret": Path(project.root / "keys" / "s3-key").read_text().strip(),
        "ledger key": key,
        "alert address": _TOKEN,
        "unrelated token": "token-of-the-canary",
        "person": _PERSON,
        "file name": _FILE,
        "file content": _CONTENT,
    }
    processes = [json.loads(line)["cmdline"] for line in log.read_text().splitlines()]
    inside = json.loads(log.with_name("inside.json").read_text())
    return Watched(outcome, project, words, processes, inside, received)


@contextlib.contextmanager
def _receiver() -> Iterator[tuple[str, list[bytes]]]:
    """Somebody who is told, and what."""
    received: list[bytes] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.append(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}", received
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _sign_and_alert(project: Project, address: str) -> str:
    """A key that signs, a channel that hears, and one where nobody is; returns the key."""
    key = base64.b64encode(os.urandom(32)).decode()
    project.catalogue["ledger"] = {"key": project.secret("ledger-key", key)}
    project.catalogue["alerts"] = {
        "oncall": {"url": project.secret("oncall", f"json://{address}/{_TOKEN}")},
        "nobody": {"url": project.secret("nobody", f"json://127.0.0.1:1/{_TOKEN}"), "deadline": "0.1s"},
    }
    return key


def _database(project: Project, server: object) -> None:
    """Sensitive, in a bucket; a query quotes a row, a constraint is broken, and one copy's key is wrong."""
    site = Site(project, "database", "critical", server)
    site.copy(f"{_TIME}.db.gz.age", "cloud", decrypt={"age": {"identity": "env:SHOP_KEY"}})
    wrong = project.secret("wrong", _WRONG.secret)
    project.cloud("other", project.catalogue["stores"]["cloud"]["endpoint"])
    site.copy(f"{_TIME}.db.gz.age", "other", decrypt={"age": {"identity": wrong}})
    quoted = {"name": "who", "sql": "select name from customers where id = 7", "equals": "somebody else"}
    newest = {"sql": "select name from customers where id = 7", "within": "1h"}
    site.options |= {"sensitive": True, "expect": {"queries": [quoted], "newest_record": newest}}
    change = sql(
        f"update customers set name = '{_PERSON}', email = '{_PERSON}@example.org' where id = 7",
        "pragma ignore_check_constraints=1",
        "update orders set cents = -1 where customer = 7",
        "update orders set customer = 4711 where id = 8",
        f"create table \"log\" (what text check (what <> '{_PERSON}'))",
        f"insert into log values ('{_PERSON}')",
    )
    for age in AGES:
        for copy in ("cloud", "other"):
            site.put(age, _KEY.encrypt(gz(shop(site.now - age, change=change))), copy)


def _trees(project: Project) -> None:
    """Files that differ, are missing or extra, and members that are refused."""
    tree = {f"letters/{_FILE}.txt": _CONTENT.encode(), f"letters/{_FILE}-2.txt": b"2", "etc/app.toml": b"[app]\n"}
    other = {**tree, f"letters/{_FILE}.txt": b"changed", f"letters/{_FILE}-3.txt": b"3"}
    del other[f"letters/{_FILE}-2.txt"]
    changed = Site(project, "changed-tree", "critical")
    changed.copy(f"{_TIME}.tar.gz")
    changed.options |= {"engine": "files", "expect": {"files": {"manifest": "SHA256SUMS"}}}
    hostile = Site(project, "hostile-tree", "critical")
    hostile.copy(f"{_TIME}.tar.gz")
    hostile.options["engine"] = "files"
    for age in AGES:
        changed.put(age, gz(tar({**other, "SHA256SUMS": manifest(tree)}, project.now - age)))
        hostile.put(age, gz(tar({**tree, f"../{_FILE}": b"!"}, project.now - age)))
    generations = Site(project, "generations", "critical")
    generations.copy(f"{_TIME}/", checksum={"manifest": "SHA256SUMS"})
    generations.options |= {"engine": "files", "settle": "0.001s"}
    for age in AGES:
        generations.grow(age, {**other, "SHA256SUMS": manifest(tree)})


def _published(project: Project) -> Iterator[Path]:
    """Everything that a run writes but the file of details; the state with it."""
    for top in ("reports", "state"):
        for path in (project.root / top).rglob("*"):
            if path.is_file() and path.name != "details.jsonl":
                yield path


def test_the_run_found_what_it_should_quote(watched: Watched) -> None:
    """Otherwise nothing would be proved below."""
    found = {(key, case.verdict) for key, case in watched.outcome.cases.items()}
    assert {
        ("database/cloud/integrity", "failed"),
        ("database/cloud/query/who", "failed"),
        ("database/other/unpacks", "error"),
        ("changed-tree/nas/files", "failed"),
        ("hostile-tree/nas/unpacks", "failed"),
        ("generations/nas/checksum", "failed"),
    } <= found
    assert watched.outcome.cases["database/cloud/newest"].verdict in ("failed", "error")
    assert watched.outcome.status == 1
    details = (watched.outcome.directory / "details.jsonl").read_text()
    assert _FILE in details
    assert _PERSON in details


def _content(path: Path) -> bytes:
    """What a file says: a ledger's envelopes hold it in base64."""
    raw = path.read_bytes()
    if path.name != "entries.jsonl":
        return raw
    return raw + b"".join(base64.b64decode(json.loads(line)["payload"]) for line in raw.splitlines())


@pytest.mark.parametrize("word", [*_SECRETS, "person", "file name", "file content"])
def test_nothing_that_is_published_holds_it(watched: Watched, word: str) -> None:
    paths = list(_published(watched.project))
    assert {path.name for path in paths} >= _ARTEFACTS
    assert [path for path in paths if path.parent.name == "facts"]
    assert [path.name for path in paths if watched.words[word].encode() in _content(path)] == []


@pytest.mark.parametrize("word", [*_SECRETS, "person", "file name", "file content"])
def test_nobody_is_told_it(watched: Watched, word: str) -> None:
    (message,) = watched.received
    assert b"changed-tree" in message
    assert watched.words[word].encode() not in message


def test_the_ledger_was_looked_into_and_somebody_could_not_be_told(watched: Watched) -> None:
    (ledger,) = (path for path in _published(watched.project) if path.name == "entries.jsonl")
    assert b"generations" in _content(ledger) and b"generations" not in ledger.read_bytes()
    assert "ledger: entry 1, signed by" in watched.outcome.screen
    assert "ALERT NOT DELIVERED to nobody" in watched.outcome.screen


@pytest.mark.parametrize("word", _SECRETS)
def test_no_secret_reaches_the_terminal_or_the_details(watched: Watched, word: str) -> None:
    assert watched.words[word] not in watched.outcome.screen
    assert watched.words[word] not in (watched.outcome.directory / "details.jsonl").read_text()


@pytest.mark.parametrize("word", [*_SECRETS, "person"])
def test_no_child_process_is_called_with_it(watched: Watched, word: str) -> None:
    assert watched.processes
    assert [line for line in watched.processes if watched.words[word] in line] == []


def test_the_environment_inside_the_sandbox_is_empty_of_secrets(watched: Watched) -> None:
    inside = json.dumps(watched.inside["environment"])
    assert [name for name, word in watched.words.items() if word in inside] == []
    assert not {"SHOP_KEY", "UNRELATED_TOKEN", "E2E_WATCHED", "AWS_CONFIG_FILE"} & json.loads(inside).keys()


def test_the_details_are_for_their_owner_only(watched: Watched) -> None:
    details = watched.outcome.directory / "details.jsonl"
    assert stat.S_IMODE(details.stat().st_mode) == 0o600
    others = [path for path in watched.project.root.rglob("details.jsonl") if path != details]
    assert {path.resolve() for path in others} <= {details.resolve()}
