"""Sends messages by Apprise, and pings: a program of its own, run as a child by :mod:`restore_drill.alerting.sending`.

It reads one JSON job from its standard input (URLs are secrets: never arguments, never the environment) and writes one
JSON answer. A process of its own can be killed when a receiver hangs, and whatever libraries log about URLs goes
nowhere. It knows nothing of the package, so that it starts at once.

A job is ``{"path": [...], "deadline": seconds, "channels": [...], "pings": [...]}``. A channel has ``name``, ``url``,
``deadline``, ``pauses`` and a message (``title``, ``severity``, ``items``, ``footer``); a ping ``name``, ``url``,
``method``, ``timeout``, ``deadline``, ``pauses``, ``body`` and ``agent``.
"""

from __future__ import annotations

import base64
import json
import logging
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

_seen = threading.local()
#: Answers after which trying again may help, though they say that the request is at fault.
_PASSING = (408, 409, 421, 423, 425, 429)
_REDIRECTS = 5


class NotSent(Exception):
    """A message that did not get through.

    Args:
        why: In words that hold nothing of the URL.
        final: Trying again is of no use.
    """

    def __init__(self, why: str, *, final: bool = False) -> None:
        super().__init__(why)
        self.why = why
        self.final = final


def main() -> None:
    """Do one job, and end in time whatever still hangs."""
    began = time.monotonic()
    answers_to = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    job = json.load(sys.stdin)
    sys.path[:] = job["path"]
    logging.disable(logging.DEBUG)
    work = [(each, _send) for each in job.get("channels", ())] + [(each, _ping) for each in job.get("pings", ())]
    answers = [{"name": each["name"], "sent": False, "attempts": 0, "why": ""} for each, _ in work]
    if job.get("channels"):
        _watch_libraries()
    threads = [
        threading.Thread(target=_try, args=(each, send, answer, began), daemon=True)
        for (each, send), answer in zip(work, answers, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread, (each, _), answer in zip(threads, work, answers, strict=True):
        thread.join(max(0.0, began + each["deadline"] + 1 - time.monotonic()))
        if thread.is_alive():
            answer |= {"sent": False, "why": f"it did not answer within {each['deadline']:g} s"}
    with os.fdopen(answers_to, "w") as file:
        json.dump([dict(answer) for answer in answers], file)
    os._exit(0)  # what hangs is not waited for


def _try(each: dict[str, Any], send: Callable[[dict[str, Any]], None], answer: dict[str, Any], began: float) -> None:
    """Send, again after growing pauses, until it got through, cannot, or the time is up."""
    for pause in [*each["pauses"], None]:
        answer["attempts"] += 1
        try:
            send(each)
        except NotSent as problem:
            answer["why"] = problem.why
            if problem.final:
                return
        except Exception as problem:  # a plug-in of Apprise may raise anything, and its words may hold the URL
            answer["why"] = f"it failed with {type(problem).__name__}"
        else:
            answer |= {"sent": True, "why": ""}
            return
        if pause is None or time.monotonic() + pause >= began + each["deadline"]:
            return
        time.sleep(pause)


# --- messages ---------------------------------------------------------------------------------------------------------


def _send(channel: dict[str, Any]) -> None:
    try:
        import apprise
    except ImportError:
        raise NotSent("missing", final=True) from None
    asset = apprise.AppriseAsset(app_id="restore-drill", storage_mode="memory", secure_logging=True)
    # A new plugin for every attempt: one that has sent before waits seconds before it sends again.
    plugin = apprise.Apprise.instantiate(channel["url"], asset=asset, suppress_exceptions=True)
    if plugin is None:
        raise NotSent("its URL is none that Apprise understands", final=True)
    _seen.status, _seen.why, _seen.said = 0, "", ""
    how = _format(plugin)
    form = "markdown" if how == "markdown" else "text"
    sent = plugin.notify(
        title=channel["title"], body=compose(channel, form, _room(plugin, channel["title"], how)),
        notify_type=getattr(apprise.NotifyType, channel["severity"].upper()), body_format=form,
    )  # fmt: skip
    if not sent:
        status = _seen.status
        final = 400 <= status < 500 and status not in _PASSING
        raise NotSent(_seen.why or _masked(_seen.said, channel["url"]), final=final)


def _format(plugin: Any) -> str:
    """What its service shows unless it is told otherwise: ``text``, ``markdown`` or ``html``.

    Apprise 2.2 has plugins with several formats, of which the URL may choose; earlier ones have one each.
    """
    resolve = getattr(plugin, "resolve_format", None)
    found = resolve() if resolve is not None else plugin.notify_format
    return str(getattr(found, "value", found))


def _room(plugin: Any, title: str, how: str) -> int:
    """Characters that a message may have: services count the title in, and HTML takes more."""
    limit = plugin.body_maxlen if plugin.body_maxlen > 0 else 32768
    return max(1, (limit if how != "html" else limit * 2 // 3) - len(title) - 16)


def compose(channel: dict[str, Any], form: str, limit: int) -> str:
    """As many items as there is room for, and how many more there are.

    Args:
        channel: Has items and a footer.
        form: ``text`` or ``markdown``.
        limit: Characters.
    """
    items = [item[form] for item in channel["items"]]
    footer = channel["footer"][form]
    end = f"\n\n{footer}" if footer and len(footer) + 2 <= limit // 2 else ""
    for count in range(len(items), 0, -1):
        left = len(items) - count
        body = "\n".join(items[:count]) + (f"\nand {left} more" if left else "") + end
        if len(body) <= limit:
            return body
    left = len(items) - 1
    end = f"\nand {left} more{end}" if left else end
    room = limit - len(end) - 1
    return f"{items[0][:room]}…{end}" if items and room > 0 else (items[0] if items else footer)[:limit]


def _masked(said: str, url: str) -> str:
    """The last words that a plugin logged, without any word of the URL."""
    if not said:
        return "it was not accepted"
    for part in sorted({*re.split(r"[^A-Za-z0-9]+", url), *re.split(r"[/:@?&=]+", url)}, key=len, reverse=True):
        if len(part) >= 3:
            said = re.sub(re.escape(part), "…", said, flags=re.IGNORECASE)
    return f"it was not accepted ({' '.join(said.split())[:200]})"


class _Listener(logging.Handler):
    """Keeps what a plugin said last, for the thread that it said it in."""

    def emit(self, record: logging.LogRecord) -> None:
        _seen.said = record.getMessage()


def _watch_libraries() -> None:
    """Note what servers answer and why connections fail: Apprise itself only says whether it worked."""
    logger = logging.getLogger("apprise")
    logger.addHandler(_Listener(logging.WARNING))
    logger.propagate = False
    import smtplib

    getreply = smtplib.SMTP.getreply

    def replied(smtp: Any) -> tuple[int, bytes]:
        code, words = getreply(smtp)
        if code >= 400:
            _seen.status, _seen.why = 0, f"it answered SMTP {code}"
        return code, words

    # Only its answers say why a receiver refused: Apprise itself tells nothing but whether.
    smtplib.SMTP.getreply = replied  # type: ignore[method-assign, assignment]
    try:
        from requests.adapters import HTTPAdapter
    except ImportError:
        return  # Apprise needs it, and is not there either
    send = HTTPAdapter.send

    def asked(adapter: Any, *arguments: Any, **options: Any) -> Any:
        try:
            answer = send(adapter, *arguments, **options)
        except Exception as problem:  # only looked at: it goes on its way
            _seen.status, _seen.why = 0, reason(problem)
            raise
        status = answer.status_code
        _seen.status, _seen.why = status, f"it answered HTTP {status}" if status >= 300 else ""
        return answer

    HTTPAdapter.send = asked  # type: ignore[method-assign, assignment]


def reason(problem: BaseException) -> str:
    """Why nothing came back, in words that hold nothing of the URL."""
    chain = list(_causes(problem))
    names = " ".join(type(each).__name__ for each in chain)
    if re.search(r"SSL|Certificate", names):
        return "its certificate was not accepted, or TLS failed"
    if re.search(r"gaierror|NameResolution|UnicodeError|LocationParse|InvalidURL", names):
        return "its name could not be resolved"
    if "Proxy" in names:
        return "the proxy could not be used"
    if "Timeout" in names or "timeout" in names:
        return "it did not answer in time"
    if "ConnectionRefused" in names or "NewConnection" in names:
        return "the connection was refused"
    return f"the connection failed ({type(chain[-1]).__name__})"


def _causes(problem: BaseException) -> Iterator[BaseException]:
    found: list[BaseException] = []
    queue: list[Any] = [problem]
    while queue and len(found) < 20:
        each = queue.pop(0)
        if isinstance(each, BaseException) and all(each is not known for known in found):
            found.append(each)
            queue += [each.__cause__, each.__context__, getattr(each, "reason", None), *each.args]
    return iter(found)


# --- pings ------------------------------------------------------------------------------------------------------------


def _ping(ping: dict[str, Any]) -> None:
    """Request a URL; any 2xx is success. Redirections are followed, never from https to http."""
    import ssl
    import urllib.request

    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(), urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(context=ssl.create_default_context()),
    ):  # fmt: skip
        opener.add_handler(handler)
    url, method, body = ping["url"], ping["method"], ping["body"].encode()
    for _ in range(_REDIRECTS + 1):
        url, headers = _without_user(url, {"User-Agent": ping["agent"]})
        data = body if method == "POST" else None
        request = urllib.request.Request(url, data=data, headers=headers, method=method)  # noqa: S310 - checked above
        try:
            answer = opener.open(request, timeout=ping["timeout"])
        except Exception as problem:
            raise NotSent(reason(problem)) from None
        with answer:
            status, place = answer.status, answer.headers.get("Location", "")
        if 200 <= status < 300:
            return
        if status not in (301, 302, 303, 307, 308) or not place:
            final = 400 <= status < 500 and status not in _PASSING
            raise NotSent(f"it answered HTTP {status}", final=final)
        url = _redirected(url, place)
        method = method if status in (307, 308) or method == "HEAD" else "GET"
    raise NotSent(f"it redirected more than {_REDIRECTS} times", final=True)


def _redirected(url: str, place: str) -> str:
    from urllib.parse import urljoin, urlsplit

    target = urljoin(url, place)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise NotSent("it redirected from https to something else", final=True)
    return target


def _without_user(url: str, headers: dict[str, str]) -> tuple[str, dict[str, str]]:
    """The URL without user and password, which go into a header."""
    from urllib.parse import unquote, urlsplit, urlunsplit

    try:
        parts = urlsplit(url)
        host = parts.hostname
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or not url.isascii() or not url.isprintable() or " " in url:
        raise NotSent("its URL is no http or https URL", final=True)
    user, _, place = parts.netloc.rpartition("@")
    if user:
        token = base64.b64encode(unquote(user).encode()).decode()
        headers["Authorization"] = f"Basic {token}"
    return urlunsplit(parts._replace(netloc=place, fragment="")), headers


if __name__ == "__main__":
    main()
