"""Messages and pings on their way: Apprise and our pings against real servers that accept, refuse, hang and lie."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.support.receivers import SILENCE, Receiver, mailbox, receiver

from restore_drill.alerting import sending
from restore_drill.alerting.sending import Outcome
from restore_drill.secrets import SecretReference, redact

KEY = "k3yC4naryZz91"
Serve = Callable[..., Receiver]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:
        yield lambda *answers, **options: stack.enter_context(receiver(*answers, **options))


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], SecretReference]:
    def put(name: str, url: str) -> SecretReference:
        monkeypatch.setenv(name, url)
        return SecretReference("env", name)

    return put


def channel(
    name: str, url: SecretReference, *, deadline: float = 20, pauses: int = 4, items: int = 1
) -> dict[str, Any]:
    texts = [
        {"text": f"FAILED db-{number}: it is <bad>", "markdown": f"- **FAILED** db\\-{number}"}
        for number in range(items)
    ]
    return {
        "name": name, "url": url, "deadline": deadline, "pauses": [0.001] * pauses, "title": "restore-drill: 1 failed",
        "severity": "failure", "items": texts, "footer": {"text": "run 1", "markdown": "run 1"},
    }  # fmt: skip


def ping(name: str, url: SecretReference, *, method: str = "GET", timeout: float = 5) -> dict[str, Any]:
    return {
        "name": name, "url": url, "method": method, "timeout": timeout, "deadline": 10.0, "pauses": [0.001, 0.001],
        "body": "run 1: 3 passed\n", "agent": "restore-drill/test",
    }  # fmt: skip


def test_receivers_as_they_are(serve: Serve, given: Any) -> None:
    """One that accepts, one that does so in the end, those that never do, and mail: all at once, each its own way."""
    good, form, later, never, gone = serve(), serve(), serve(500, 503, 429, 200), serve(500), serve(404)
    silent, moved = serve(SILENCE), serve((302, "/elsewhere"), 200)
    authority = trustme.CA()
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(tls)
    stranger = serve(tls=tls)
    with mailbox() as post, mailbox(["451 try later"]) as busy, mailbox(["550 no such user"] * 9) as full:
        mail = "mailtos://127.0.0.1:{}/?mode=insecure&from=drills@example.org&to=oncall@example.org".replace(
            "mailtos", "mailto"
        )
        outcomes = sending.send(
            [
                channel("json", given("A", f"json://user:{KEY}pw@127.0.0.1:{good.port}/{KEY}"), items=30),
                channel("form", given("B", f"form://127.0.0.1:{form.port}/{KEY}?format=markdown")),
                channel("later", given("C", f"json://127.0.0.1:{later.port}/{KEY}")),
                channel("never", given("D", f"json://127.0.0.1:{never.port}/{KEY}")),
                channel("gone", given("E", f"json://127.0.0.1:{gone.port}/{KEY}")),
                channel("silent", given("F", f"json://127.0.0.1:{silent.port}/{KEY}?rto=0.2"), pauses=1),
                channel("stranger", given("H", f"jsons://127.0.0.1:{stranger.port}/{KEY}"), pauses=0),
                channel("nobody", given("I", f"json://127.0.0.1:1/{KEY}"), pauses=0),
                channel("nonsense", given("J", f"nonsense://{KEY}/x")),
                channel("mail", given("K", mail.format(post.port))),
                channel("busy", given("L", mail.format(busy.port))),
                channel("full", given("M", mail.format(full.port)), pauses=1),
                channel("unset", SecretReference("env", "NOT_SET_ANYWHERE")),
            ],
            [ping("moved", given("N", f"http://127.0.0.1:{moved.port}/{KEY}"))],
        )
    assert {name: outcome.sent for name, outcome in outcomes.items() if outcome.sent} == dict.fromkeys(
        ("json", "form", "later", "mail", "busy", "moved"), True
    )
    assert {name: (outcome.attempts, outcome.why) for name, outcome in outcomes.items() if not outcome.sent} == {
        "never": (5, "it answered HTTP 500"),
        "gone": (1, "it answered HTTP 404"),
        "silent": (2, "it did not answer in time"),
        "stranger": (1, "its certificate was not accepted, or TLS failed"),
        "nobody": (1, "the connection was refused"),
        "nonsense": (1, "its URL is none that Apprise understands"),
        "full": (2, "it answered SMTP 550"),
        "unset": (0, "the environment variable NOT_SET_ANYWHERE is not set. Export NOT_SET_ANYWHERE for this run."),
    }
    assert (outcomes["later"].attempts, outcomes["busy"].attempts, busy.attempts) == (4, 2, 2)
    (message,) = good.requests
    assert (message.method, message.path) == ("POST", f"/{KEY}")
    assert message.json["title"] == "restore-drill: 1 failed" and message.json["type"] == "failure"
    assert message.json["message"].startswith("FAILED db-0: it is <bad>\nFAILED db-1")
    assert message.json["message"].endswith("FAILED db-29: it is <bad>\n\nrun 1")
    assert form.requests[0].form["message"] == "- **FAILED** db\\-0\n\nrun 1"
    (letter,) = post.mails
    assert letter["Subject"] == "restore-drill: 1 failed" and letter["To"] == "oncall@example.org"
    assert "FAILED db-0: it is " in letter.get_body(("plain", "html")).get_content()
    assert redact(f"the path /{KEY} and {KEY}pw") == "the path /[redacted] and [redacted]"


def test_pings_count_when_they_are_accepted(
    serve: Serve, given: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    authority, tls = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(tls)
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    get, post, head, late = serve(204), serve(201), serve(200), serve(500, 200)
    never, loops, silent = serve(500), serve((302, "/again")), serve(SILENCE)
    kept, secure = serve((307, "/there"), 200), serve(tls=tls)
    downgrade = serve((301, f"http://127.0.0.1:{get.port}/stolen"), tls=tls)
    nowhere = serve((302, "file:///etc/passwd"))

    def url(name: str, server: Receiver, scheme: str = "http", host: str = "127.0.0.1") -> SecretReference:
        return given(name.upper(), f"{scheme}://{host}:{server.port}/{name}")

    jobs = [
        ping("get", given("GET", f"http://me:p%40ss@127.0.0.1:{get.port}/get")),
        ping("post", url("post", post), method="POST"),
        ping("head", url("head", head), method="HEAD"),
        ping("late", url("late", late)),
        ping("never", url("never", never)),
        ping("loops", url("loops", loops)),
        ping("silent", url("silent", silent), timeout=0.2),
        ping("kept", url("kept", kept), method="POST"),
        ping("secure", url("secure", secure, "https", "localhost")),
        ping("downgrade", url("downgrade", downgrade, "https", "localhost")),
        ping("nowhere", url("nowhere", nowhere)),
        ping("local", given("LOCAL", f"file://{tmp_path}/ca.pem")),
    ]
    untrusted = sending.send((), [jobs[8]])["secure"]
    assert untrusted == Outcome("secure", False, 3, "its certificate was not accepted, or TLS failed")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.pem"))
    outcomes = sending.send((), jobs)
    assert [name for name, each in outcomes.items() if each.sent] == ["get", "post", "head", "late", "kept", "secure"]
    assert {name: (each.attempts, each.why) for name, each in outcomes.items() if not each.sent} == {
        "never": (3, "it answered HTTP 500"),
        "loops": (1, "it redirected more than 5 times"),
        "silent": (3, "it did not answer in time"),
        "downgrade": (1, "it redirected from https to something else"),
        "nowhere": (1, "its URL is no http or https URL"),
        "local": (1, "its URL is no http or https URL"),
    }
    (request,) = get.requests
    assert (request.path, request.headers["Authorization"]) == ("/get", "Basic bWU6cEBzcw==")
    assert request.headers["User-Agent"] == "restore-drill/test"
    assert (post.requests[0].method, post.requests[0].body) == ("POST", b"run 1: 3 passed\n")
    assert [(each.method, each.path, each.body) for each in kept.requests] == [
        ("POST", "/kept", b"run 1: 3 passed\n"), ("POST", "/there", b"run 1: 3 passed\n")
    ]  # fmt: skip
    assert len(loops.requests) == 6 and len(secure.requests) == 1


def test_whatever_hangs_is_left_behind(serve: Serve, given: Any) -> None:
    """Apprise itself would wait a minute for each of three attempts."""
    silent, good = serve(SILENCE), serve()
    outcomes = sending.send(
        [channel("silent", given("A", f"json://127.0.0.1:{silent.port}/?rto=60"), deadline=0.1),
         channel("good", given("B", f"json://127.0.0.1:{good.port}/"), deadline=30)],
        (),
    )  # fmt: skip
    assert outcomes["silent"] == Outcome("silent", False, 1, "it did not answer within 0.1 s")
    assert outcomes["good"].sent


def test_without_apprise_the_remedy_is_told(serve: Serve, given: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.path", [path for path in __import__("sys").path if not path.endswith("-packages")])
    works, good = serve(), serve()
    outcomes = sending.send(
        [channel("a", given("A", f"json://127.0.0.1:{works.port}/"))],
        [ping("b", given("B", f"http://127.0.0.1:{good.port}"))],
    )
    remedy = "Apprise is not installed. pip install 'pytest-restore-drill[alerts]'"
    assert outcomes == {"a": Outcome("a", False, 1, remedy), "b": Outcome("b", True, 1)}
    assert works.requests == []
