"""Why something did not get through, in words that give nothing of its URL away."""

from __future__ import annotations

import socket
import ssl

import pytest
import requests
import urllib3

from restore_drill.alerting.sender import NotSent, _masked, _redirected, _without_user, reason

URL = "slack://T0kenAAA/B1BBtoken/x9Zcccc/#general?footer=no&user=Bot.Name"


def test_the_words_of_a_plugin_lose_every_word_of_the_url() -> None:
    said = "Failed to send to #general at hooks (t0kenaaa/b1bbTOKEN/x9Zcccc) by Bot.Name: too many\n requests"
    told = _masked(said, URL)
    assert told.startswith("it was not accepted (Failed to send to ") and told.endswith("many requests)")
    assert not [word for word in ("t0ken", "general", "x9z", "bot", "name") if word in told.lower()]
    assert (_masked("", URL), len(_masked("many words " * 99, URL))) == ("it was not accepted", 222)


@pytest.mark.parametrize(
    ("problem", "words"),
    [
        (ssl.SSLCertVerificationError(1, "self-signed"), "its certificate was not accepted, or TLS failed"),
        (requests.exceptions.SSLError("x"), "its certificate was not accepted, or TLS failed"),
        (socket.gaierror(-2, "Name or service not known"), "its name could not be resolved"),
        (requests.exceptions.ConnectionError(urllib3.exceptions.NameResolutionError("h", None, socket.gaierror())),
         "its name could not be resolved"),
        (requests.exceptions.ProxyError("x"), "the proxy could not be used"),
        (requests.exceptions.ReadTimeout("x"), "it did not answer in time"),
        (TimeoutError("timed out"), "it did not answer in time"),
        (ConnectionRefusedError(111, "refused"), "the connection was refused"),
        (ConnectionResetError(104, "reset"), "the connection failed (ConnectionResetError)"),
    ],
)  # fmt: skip
def test_reasons(problem: Exception, words: str) -> None:
    assert reason(problem) == words
    around = RuntimeError("around it")
    around.__cause__ = problem
    assert reason(around) == words


@pytest.mark.parametrize(
    "url",
    ["", "hooks.example/x", "ftp://h/x", "file:///etc/passwd", "https://", "https://[h/x", "https://h/a b", "http://h/\n"],
)  # fmt: skip
def test_what_is_no_url_is_not_requested(url: str) -> None:
    with pytest.raises(NotSent, match="its URL is no http or https URL"):
        _without_user(url, {})


def test_redirections_stay_where_they_are_safe() -> None:
    assert _redirected("https://h/a/b", "c?d") == "https://h/a/c?d"
    assert _redirected("http://h/a", "https://other/b") == "https://other/b"
    with pytest.raises(NotSent):
        _redirected("https://h/a", "//h/b".replace("//", "http://"))
    # Who the request is from is told to the first host alone.
    assert _without_user("https://u:p%3A@h:8443/x#y", {}) == ("https://h:8443/x", {"Authorization": "Basic dTpwOg=="})
