"""What S3's errors are turned into: every name in the tables exists, every message can be acted upon."""

from __future__ import annotations

import builtins

import botocore.exceptions
import botocore.parsers
import pytest
import urllib3.exceptions
from botocore.exceptions import ClientError

from restore_drill.stores.s3_errors import CODES, EXCEPTIONS, diagnose
from restore_drill.stores.trying import Nature


def answer(code: str, operation: str = "GetObject", status: int = 400, **headers: str) -> ClientError:
    response = {
        "Error": {"Code": code, "Message": "key AKIAEXAMPLE is not known"},
        "ResponseMetadata": {"HTTPStatusCode": status, "HTTPHeaders": headers},
    }
    return ClientError(response, operation)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", EXCEPTIONS)
def test_every_exception_in_the_table_exists(name: str) -> None:
    places = (botocore.exceptions, botocore.parsers, urllib3.exceptions, builtins)
    kinds = [kind for place in places if isinstance(kind := getattr(place, name, None), type)]
    assert kinds and all(issubclass(kind, Exception) for kind in kinds)


def test_every_exception_of_botocore_has_words() -> None:
    """Those that have none of their own are described by the class they derive from."""
    kinds = [kind for kind in vars(botocore.exceptions).values() if isinstance(kind, type)]
    kinds = [kind for kind in kinds if issubclass(kind, botocore.exceptions.BotoCoreError)]
    assert len(kinds) > 50
    for kind in kinds:
        diagnosis = diagnose(kind.__new__(kind))
        assert diagnosis is not None and diagnosis.cause and diagnosis.remedy


def test_the_most_specific_class_decides() -> None:
    expired = diagnose(botocore.exceptions.UnauthorizedSSOTokenError())
    assert expired is not None and "sign-in session" in expired.cause and "aws sso login" in expired.remedy
    closed = diagnose(botocore.exceptions.ReadTimeoutError(endpoint_url="https://user:pass@host/?sig=1", error="x"))
    assert closed is not None and closed.nature is Nature.TIMEOUT and "host" not in closed.cause
    assert diagnose(KeyError("our own mistake")) is None


@pytest.mark.parametrize("code", CODES)
def test_every_code_is_final_and_named(code: str) -> None:
    diagnosis = diagnose(answer(code))
    assert diagnosis is not None and diagnosis.nature is Nature.FINAL
    assert diagnosis.cause.endswith(f"({code})") and diagnosis.remedy.endswith((".", "?"))
    assert "AKIAEXAMPLE" not in diagnosis.cause + diagnosis.remedy


@pytest.mark.parametrize(
    ("problem", "nature", "words"),
    [
        (answer("NoSuchKey", status=404), Nature.ABSENT, "NoSuchKey"),
        (answer("404", "HeadObject", 404), Nature.ABSENT, "404"),
        (answer("405", "HeadObject", 405, **{"x-amz-delete-marker": "true"}), Nature.ABSENT, "405"),
        (answer("405", "HeadObject", 405), Nature.FINAL, "refuses the request (405)"),
        (answer("PreconditionFailed", status=412), Nature.CHANGED, "PreconditionFailed"),
        (answer("InvalidRange", status=416), Nature.CHANGED, "InvalidRange"),
        (answer("SlowDown", status=503), Nature.AGAIN, "too busy"),
        (answer("502", "HeadObject", 502), Nature.AGAIN, "fails"),
        (answer("Strange", status=500), Nature.AGAIN, "fails"),
        (answer("AccessDenied", status=403), Nature.FINAL, "read the object"),
        (answer("AccessDenied", "ListObjectsV2", 403), Nature.FINAL, "list the bucket"),
        (answer("301", "HeadObject", 301, **{"x-amz-bucket-region": "eu-west-3"}), Nature.FINAL, "region eu-west-3"),
        (answer("PermanentRedirect", status=301), Nature.FINAL, "another region or at another endpoint"),
        (answer("AccessDenied", "AssumeRole", 403), Nature.FINAL, "refused to us (AssumeRole: AccessDenied)"),
        (answer("<script>\n", status=400), Nature.FINAL, "an unknown code"),
    ],
    ids=lambda value: str(value)[-60:] if isinstance(value, ClientError) else str(value),
)
def test_answers(problem: ClientError, nature: Nature, words: str) -> None:
    diagnosis = diagnose(problem)
    assert diagnosis is not None
    assert diagnosis.nature is nature and words in diagnosis.cause


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("[Errno 111] Connection refused", "(connection refused)"),
        ("[Errno 113] No route to host", "(no route to host)"),
        (urllib3.exceptions.NameResolutionError("host.invalid", None, OSError()), "(its name cannot be resolved)"),  # type: ignore[arg-type]
        ("anything else, with https://user:pass@host in it", "cannot be reached"),
    ],
    ids=["refused", "no route", "no name", "else"],
)
def test_what_the_system_said_in_a_few_words(error: object, words: str) -> None:
    problem = botocore.exceptions.EndpointConnectionError(endpoint_url="https://user:pass@host", error=error)
    diagnosis = diagnose(problem)
    assert diagnosis is not None
    assert diagnosis.cause.endswith(words) and "pass" not in diagnosis.cause
