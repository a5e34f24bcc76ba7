"""What an HTTP answer, or none, means to the person who has to mend it.

Exceptions are told apart by the names of their classes, so that this module needs no import of urllib3. Neither they
nor answers are quoted: both hold whole urls, and a url may be signed.
"""

from __future__ import annotations

import errno

from restore_drill.stores.trying import Diagnosis, Nature

_NETWORK = "Check host and port of the store's url, DNS and firewall from this machine."
_SLOW = (
    "Is the server or the line overloaded? Run fewer drills at a time, or raise the store's `retries` and deadlines."
)
_TLS = (
    "Check the server's certificate (name, expiry, issuer); for a private authority set the store's option `ca_file`."
)
_KEYS = "Check the store's `credentials` (username and password, token, url or query)."

#: Classes of urllib3, http.client and the standard library, the most specific first.
EXCEPTIONS: dict[str, tuple[Nature, str, str]] = {
    "DeadlineExceeded": (Nature.TIMEOUT, "the web server does not answer in time", _SLOW),
    "ConnectTimeoutError": (Nature.TIMEOUT, "the web server does not accept the connection in time", _NETWORK),
    "ReadTimeoutError": (Nature.TIMEOUT, "the web server does not answer in time", _SLOW),
    "NameResolutionError": (Nature.AGAIN, "the name of the web server cannot be resolved", _NETWORK),
    "NewConnectionError": (Nature.AGAIN, "the web server cannot be reached", _NETWORK),
    "SSLError": (Nature.FINAL, "no trusted TLS connection to the web server comes about", _TLS),
    "ProtocolError": (Nature.AGAIN, "the connection to the web server broke", _NETWORK),
    "HTTPException": (Nature.AGAIN, "the connection to the web server broke", _NETWORK),
    "HTTPError": (Nature.AGAIN, "the connection to the web server broke", _NETWORK),
    "TimeoutError": (Nature.TIMEOUT, "the web server does not answer in time", _SLOW),
    "OSError": (Nature.AGAIN, "the connection to the web server broke", _NETWORK),
}
#: An answer that ends before its announced length, without an error.
CUT_SHORT = Diagnosis(*EXCEPTIONS["ProtocolError"])

_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_FINAL: dict[int, tuple[str, str]] = {
    400: ("the web server does not understand the request", _KEYS),
    401: ("the web server wants other credentials", _KEYS),
    403: (
        "the web server denies access",
        "Give the account read access; a presigned url may have expired, or be signed for another method.",
    ),
    405: ("the web server does not let this be read", "Is it the address of files, and no interface of a service?"),
    407: ("a proxy is in the way and wants credentials", "Let this machine reach the web server directly."),
    451: ("the web server may not hand it out", "Ask the server's administrator."),
}


def diagnose(problem: BaseException) -> Diagnosis | None:
    """Say what an exception of urllib3 or the network means; ``None`` for one that is none of theirs."""
    for kind in type(problem).__mro__:
        if kind.__name__ in EXCEPTIONS:
            nature, cause, remedy = EXCEPTIONS[kind.__name__]
            return Diagnosis(nature, cause + _detail(problem), remedy)
    return None


def of_status(status: int) -> Diagnosis:
    """Say what an answer that brings nothing means."""
    if status in (404, 410):
        return Diagnosis(Nature.ABSENT, f"the web server answers {status}", "", str(status))
    if status in (412, 416):
        return Diagnosis(Nature.CHANGED, f"the web server answers {status}", "", str(status))
    if status in _BUSY:
        return Diagnosis(Nature.AGAIN, f"the web server fails or is too busy ({status})", _SLOW, str(status))
    cause, remedy = _FINAL.get(
        status, ("the web server refuses the request", "Try the address by hand with `curl -I`.")
    )
    return Diagnosis(Nature.FINAL, f"{cause} ({status})", remedy, str(status))


def _detail(problem: BaseException) -> str:
    """What the system said, where it is one of a few words and no address."""
    text = f"{problem!r} {problem.__cause__!r}"
    for mark, words in (
        ("Connection refused", "connection refused"),
        ("Connection reset", "connection reset"),
        (f"Errno {errno.ENETUNREACH}]", "network is unreachable"),
        (f"Errno {errno.EHOSTUNREACH}]", "no route to host"),
        ("certificate has expired", "its certificate has expired"),
        ("self-signed certificate", "its certificate is self-signed"),
        ("self signed certificate", "its certificate is self-signed"),
        ("unable to get local issuer", "its certificate's issuer is unknown"),
        ("doesn't match", "its certificate is for another name"),
        ("Hostname mismatch", "its certificate is for another name"),
        ("IP address mismatch", "its certificate is for another address"),
        ("WRONG_VERSION_NUMBER", "it does not speak TLS"),
        ("record layer failure", "it does not speak TLS"),
    ):
        if mark in text:
            return f" ({words})"
    return ""
