"""Pulls images from registries, with the credentials of the user's own Docker configuration."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from restore_drill.errors import CouldNotVerify
from restore_drill.printable import printable
from restore_drill.sandboxes.containers.client import Engine, Missing, Refused
from restore_drill.sandboxes.containers.references import Reference
from restore_drill.secrets import redact

if TYPE_CHECKING:
    from docker.api.client import APIClient

#: Seconds that a pull may take, and seconds in which the engine says nothing new.
DEADLINE: Final = 1800.0
_STALL: Final = 300.0
_CONNECT: Final = 10.0
_LINE_LIMIT: Final = 1 << 16
_REASON_LIMIT: Final = 300
#: Queries of a URL name accounts and carry tokens.
_QUERY = re.compile(r"\?[^\s\"']+")
#: What engines and registries say, and what it means. The first that is found counts.
_MEANINGS: Final = (
    (
        ("no basic auth credentials", "unauthorized", "authentication required", "incorrect username or password",
         "access denied", "access to the resource is denied", "403 forbidden"),
        "the registry does not give it to this user, or does not have it",
        "Log in with `docker login` as the user who runs the drills, or mend the image's name",
    ),
    (
        ("no matching manifest",),
        "the registry has it for other processors only",
        "Name an image for the engine's platform",
    ),
    (
        ("not found", "manifest unknown", "name unknown"),
        "the registry does not have it",
        "Mend the image's name, tag or digest in the target's sandbox",
    ),
    (
        ("no such host", "connection refused", "i/o timeout", "timeout", "unreachable", "server misbehaving", "eof",
         "connection reset", "proxyconnect", "deadline exceeded", "canceled while waiting"),
        "the registry cannot be reached",
        "Look at the engine's way to the registry",
    ),
    (
        ("x509", "certificate", "http response to https client"),
        "the registry's certificate is not trusted",
        "Give the engine the registry's certificate authority",
    ),
    (
        ("no space left",),
        "the engine's disk is full",
        "Make room where the engine keeps its images",
    ),
    (
        ("toomanyrequests", "rate limit"),
        "the registry allows no more pulls at present",
        "Log in with `docker login`, or pull from a mirror",
    ),
)  # fmt: skip


class PullFailed(Exception):
    """An image could not be pulled.

    Args:
        meaning: Why, in our words, to be read after a colon.
        remedy: What to do, without a full stop.
        said: What the engine said, cleaned.
    """

    def __init__(self, meaning: str, remedy: str, said: str) -> None:
        super().__init__(meaning)
        self.meaning = meaning
        self.remedy = remedy
        self.said = said


def pull(engine: Engine, reference: Reference, *, deadline: float = DEADLINE) -> None:
    """Pull an image; a pinned one by its digest.

    Raises:
        PullFailed: The engine could not get it.
        CouldNotVerify: It took too long, or nothing happened for too long; the engine could not be reached, or the
            credentials could not be read.
    """
    client = engine.new_client()
    try:
        with engine.asking(f"pull the image {reference}"):
            for event in _events(client, reference, deadline):
                if "error" in event:
                    raise _failed(str(event["error"]))
    except Missing as problem:
        raise _failed(str(problem)) from problem
    except Refused as problem:
        raise _failed(problem.message) from problem
    finally:
        client.close()


def _events(client: APIClient, reference: Reference, deadline: float) -> Iterator[dict[str, Any]]:
    """What the engine says while it pulls; docker-py's own way has no limit of time.

    The request ends, and the pull with it, when whoever reads this stops.
    """
    from docker.errors import create_api_error_from_http_exception
    from requests.exceptions import ConnectionError as Broken
    from requests.exceptions import HTTPError, Timeout

    until = time.monotonic() + deadline
    headers = _credentials(client, reference)
    try:
        with client.post(
            f"{client.base_url}/v{client.api_version}/images/create",
            params={"fromImage": reference.place, "tag": reference.digest or reference.tag or "latest"},
            headers=headers, stream=True, timeout=(_CONNECT, min(_STALL, deadline)),
        ) as response:  # fmt: skip
            try:
                response.raise_for_status()
            except HTTPError as problem:
                create_api_error_from_http_exception(problem)
            for line in response.iter_lines(chunk_size=_LINE_LIMIT):
                if time.monotonic() > until:
                    raise _late(reference)
                if line.strip():
                    yield _event(line)
    except Timeout as problem:
        raise _late(reference) from problem
    except Broken as problem:
        # So is silence called that begins after the answer has.
        if "timed out" in str(problem).lower():
            raise _late(reference) from problem
        raise


def _late(reference: Reference) -> CouldNotVerify:
    # No DeadlineExceeded: in a restore that would be a verdict on the backup.
    return CouldNotVerify(
        f"the image {reference} was not pulled in time",
        remedy=f"Pull it beforehand: docker pull {reference}; or look at the engine's way to the registry.",
    )


def _event(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except ValueError:
        return {}
    return event if isinstance(event, dict) else {}


def _credentials(client: APIClient, reference: Reference) -> dict[str, str]:
    from docker import auth
    from docker.errors import DockerException

    registry, _ = auth.resolve_repository_name(reference.place)
    try:
        header = auth.get_config_header(client, registry)
    except (DockerException, OSError) as problem:
        # A credential helper's own words may hold what it was asked for.
        raise CouldNotVerify(
            f"the credentials for the registry {registry} cannot be read: {type(problem).__name__}",
            looked_at="the Docker configuration of the user who runs the drills",
            remedy="Look at its credsStore and credHelpers, and log in again with `docker login`.",
        ) from None
    return {"X-Registry-Auth": header} if header else {}


def _failed(message: str) -> PullFailed:
    said = printable(redact(_QUERY.sub("", message)))[:_REASON_LIMIT]
    words = said.lower()
    for signs, meaning, remedy in _MEANINGS:
        if any(sign in words for sign in signs):
            return PullFailed(meaning, remedy, said)
    return PullFailed("the engine could not pull it", "Try `docker pull` by hand", said)
