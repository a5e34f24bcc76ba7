"""What an S3 error means to the person who has to mend it.

Exceptions are told apart by the names of their classes and by S3's error codes, so that this module needs no import
of botocore. Server messages are not quoted: some repeat key ids, strings to sign and addresses.
"""

from __future__ import annotations

import re
from typing import Any

from restore_drill.stores.trying import Diagnosis, Nature

_NETWORK = "Check the store's endpoint, DNS, proxy and firewall from this machine."
_KEYS = "Give the store `credentials`, a `profile`, or what boto3 looks for (environment, ~/.aws, instance role)."
_LOGIN = "Renew the session of that profile (`aws sso login` or `aws login`), or use keys made for drills."
_SLOW = "Is the server overloaded? Run fewer drills at a time, or raise the store's `retries` and deadlines."

#: botocore's and urllib3's exception classes, the most specific first.
EXCEPTIONS: dict[str, tuple[Nature, str, str]] = {
    "NoCredentialsError": (Nature.FINAL, "no S3 credentials were found", _KEYS),
    "NoAuthTokenError": (Nature.FINAL, "no S3 credentials were found", _KEYS),
    "PartialCredentialsError": (Nature.FINAL, "the S3 credentials are incomplete", _KEYS),
    "CredentialRetrievalError": (Nature.FINAL, "the S3 credentials cannot be retrieved from their provider", _KEYS),
    "MetadataRetrievalError": (Nature.FINAL, "the S3 credentials cannot be retrieved from their provider", _KEYS),
    "RefreshWithMFAUnsupportedError": (Nature.FINAL, "the S3 credentials need an MFA token", _KEYS),
    "SSOError": (Nature.FINAL, "the sign-in session of the AWS profile is missing or has expired", _LOGIN),
    "TokenRetrievalError": (Nature.FINAL, "the sign-in session of the AWS profile is missing or has expired", _LOGIN),
    "LoginError": (Nature.FINAL, "the sign-in session of the AWS profile is missing or has expired", _LOGIN),
    "ProfileNotFound": (
        Nature.FINAL,
        "the AWS configuration has no profile of that name",
        "Correct the store's `profile` (or AWS_PROFILE), or add it to ~/.aws/config of the user who runs the drills.",
    ),
    "ConfigParseError": (Nature.FINAL, "the AWS configuration file is malformed", "Correct ~/.aws/config."),
    "ConfigNotFound": (Nature.FINAL, "the AWS configuration file is missing", "Correct AWS_CONFIG_FILE."),
    "InvalidConfigError": (Nature.FINAL, "the AWS configuration contradicts itself", "Correct ~/.aws/config."),
    "NoRegionError": (Nature.FINAL, "no region is configured", "Set the store's `region`."),
    "InvalidRegionError": (Nature.FINAL, "the region is malformed", "Correct the store's `region`."),
    "ConnectTimeoutError": (Nature.TIMEOUT, "the S3 server does not accept the connection in time", _NETWORK),
    "ReadTimeoutError": (Nature.TIMEOUT, "the S3 server does not answer in time", _SLOW),
    "ProxyConnectionError": (
        Nature.AGAIN,
        "the proxy cannot be reached",
        "Check HTTPS_PROXY and NO_PROXY of the user who runs the drills.",
    ),
    "SSLError": (
        Nature.FINAL,
        "no trusted TLS connection to the S3 server comes about",
        "Check the server's certificate (name, expiry, issuer); for a private authority set AWS_CA_BUNDLE.",
    ),
    "EndpointConnectionError": (Nature.AGAIN, "the S3 server cannot be reached", _NETWORK),
    "ConnectionClosedError": (Nature.AGAIN, "the S3 server closed the connection without an answer", _NETWORK),
    "IncompleteReadError": (Nature.AGAIN, "the connection broke", _NETWORK),
    "ResponseStreamingError": (Nature.AGAIN, "the connection broke", _NETWORK),
    "ProtocolError": (Nature.AGAIN, "the connection broke", _NETWORK),
    "HTTPClientError": (Nature.AGAIN, "the connection broke", _NETWORK),
    "ConnectionError": (Nature.AGAIN, "the S3 server cannot be reached", _NETWORK),
    "HTTPError": (Nature.AGAIN, "the connection broke", _NETWORK),
    "TimeoutError": (Nature.TIMEOUT, "the S3 server does not answer in time", _SLOW),
    "OSError": (
        Nature.FINAL,
        "this machine does not let the S3 client work",
        "Can the user who runs the drills read ~/.aws and the CA bundle?",
    ),
    "ResponseParserError": (
        Nature.FINAL,
        "the answer does not come from an S3 server",
        "Check the store's endpoint: does it name the S3 service itself, and is no login page or proxy in the way?",
    ),
    "ParamValidationError": (
        Nature.FINAL,
        "the store's url names no possible bucket or key",
        "Write s3://bucket/prefix; bucket names have 3 to 63 lower-case letters, digits, dots and hyphens.",
    ),
    "EndpointProviderError": (Nature.FINAL, "bucket, region and endpoint do not go together", "Correct the store."),
}

#: An answer that ends before its announced length, without an error.
CUT_SHORT = Diagnosis(*EXCEPTIONS["ProtocolError"])

_ABSENT = frozenset({"NoSuchKey", "NoSuchVersion", "404"})
_CHANGED = frozenset({"PreconditionFailed", "InvalidRange", "412", "416"})
_BUSY = frozenset({
    "SlowDown", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "TooManyRequests",
    "TooManyRequestsException", "RequestLimitExceeded", "BandwidthLimitExceeded", "429", "503", "ServiceUnavailable",
    "SlowDownRead",
})  # fmt: skip
_PASSING = frozenset({"InternalError", "RequestTimeout", "OperationAborted", "408", "500", "502", "504"})
_ELSEWHERE = frozenset({
    "PermanentRedirect", "TemporaryRedirect", "Redirect", "AuthorizationHeaderMalformed", "301", "307", "308",
    "IllegalLocationConstraintException",
})  # fmt: skip
_CLOCK = "Set this machine's clock (`timedatectl`, `chronyc tracking`), or the server's."
_RENEW = "Renew the credentials that the store names."

#: S3's error codes (Amazon S3 API Reference, "Error responses") that need words of their own.
CODES: dict[str, tuple[str, str]] = {
    "InvalidAccessKeyId": (
        "the S3 server does not know the access key id",
        "Check access_key_id: was it rotated, or is it for another account or server?",
    ),
    "SignatureDoesNotMatch": (
        "the secret access key does not belong to the access key id",
        "Check secret_access_key, and that no proxy rewrites the requests.",
    ),
    "ExpiredToken": ("the session token has expired", _RENEW),
    "ExpiredTokenException": ("the session token has expired", _RENEW),
    "TokenRefreshRequired": ("the session token has expired", _RENEW),
    "InvalidToken": ("the session token is not valid", _RENEW),
    "InvalidClientTokenId": ("the S3 server does not know the access key id", _RENEW),
    "RequestTimeTooSkewed": ("the clocks of this machine and of the S3 server disagree too much", _CLOCK),
    "RequestExpired": ("the clocks of this machine and of the S3 server disagree too much", _CLOCK),
    "NoSuchBucket": (
        "there is no such bucket",
        "Check the bucket's name in the store's url, the endpoint, and the account that the credentials are for.",
    ),
    "InvalidBucketName": ("the S3 server refuses the bucket's name", "Check the bucket's name in the store's url."),
    "InvalidObjectState": (
        "the object is archived and cannot be read until it is restored",
        "Have it restored from its archive class (`aws s3api restore-object`), or keep what is drilled in a class "
        "that can be read at once.",
    ),
    "AllAccessDisabled": ("the S3 server has closed all access to the bucket", "Ask the account's administrator."),
    "AccountProblem": ("the S3 account is suspended", "Ask the account's administrator."),
    "NotImplemented": ("the S3 server does not know this kind of request", "Is it an S3-compatible service?"),
    "501": ("the S3 server does not know this kind of request", "Is it an S3-compatible service?"),
}
#: operation → what it may not do, and what permission is missing.
_DENIED = {
    "ListObjectsV2": (
        "the credentials do not allow to list the bucket",
        "Grant s3:ListBucket on the bucket (for the store's prefix) to whom the drills run as.",
    ),
    "GetObject": (
        "the credentials do not allow to read the object",
        "Grant s3:GetObject (s3:GetObjectVersion where versions are kept, kms:Decrypt where KMS encrypts).",
    ),
}
_DENIED["HeadObject"] = _DENIED["GetObject"]


def diagnose(problem: BaseException) -> Diagnosis | None:
    """Say what an exception of botocore or urllib3 means; ``None`` for one that is none of theirs."""
    names = [kind.__name__ for kind in type(problem).__mro__]
    if "ClientError" in names:
        return _of_answer(problem)
    for name in names:
        if name in EXCEPTIONS:
            nature, cause, remedy = EXCEPTIONS[name]
            return Diagnosis(nature, cause + _detail(problem), remedy)
    if "BotoCoreError" in names:
        return Diagnosis(Nature.FINAL, f"the S3 client gave up ({names[0]})", "Check the store's settings.")
    return None


def _detail(problem: BaseException) -> str:
    """What the system said, where it is one of a few words and no address."""
    inner = getattr(problem, "kwargs", {}).get("error", problem)
    text = str(inner)
    for mark, words in (
        ("NameResolution", "its name cannot be resolved"),
        ("Connection refused", "connection refused"),
        ("Connection reset", "connection reset"),
        ("Network is unreachable", "network is unreachable"),
        ("No route to host", "no route to host"),
        ("certificate has expired", "its certificate has expired"),
        ("self-signed certificate", "its certificate is self-signed"),
        ("self signed certificate", "its certificate is self-signed"),
        ("unable to get local issuer", "its certificate's issuer is unknown"),
        ("doesn't match", "its certificate is for another name"),
        ("Hostname mismatch", "its certificate is for another name"),
        ("WRONG_VERSION_NUMBER", "it does not speak TLS"),
    ):
        if mark in text or mark in type(inner).__name__:
            return f" ({words})"
    return ""


def _of_answer(problem: Any) -> Diagnosis:
    answer = problem.response
    status = str(answer.get("ResponseMetadata", {}).get("HTTPStatusCode", ""))
    code = str(answer.get("Error", {}).get("Code", "")) or status
    operation = str(getattr(problem, "operation_name", ""))
    if operation and operation not in _DENIED and operation != "HeadBucket":
        # The credentials are themselves the answer to a request (AssumeRole, GetSessionToken).
        return Diagnosis(Nature.FINAL, f"the S3 credentials were refused to us ({operation}: {code})", _KEYS, code)
    if code in _ABSENT or _is_delete_marker(answer):
        return Diagnosis(Nature.ABSENT, f"the S3 server answers {code}", "", code)
    if code in _CHANGED:
        return Diagnosis(Nature.CHANGED, f"the S3 server answers {code}", "", code)
    if code in _BUSY:
        return Diagnosis(Nature.AGAIN, f"the S3 server is too busy to answer ({code})", _SLOW, code)
    if code in _PASSING or status in _PASSING:
        return Diagnosis(Nature.AGAIN, f"the S3 server fails ({code})", "Look at the S3 server, and run again.", code)
    return Diagnosis(Nature.FINAL, *_final(code, operation, answer), code)


def _is_delete_marker(answer: Any) -> bool:
    return str(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("x-amz-delete-marker")) == "true"


def _final(code: str, operation: str, answer: Any) -> tuple[str, str]:
    if code in CODES:
        cause, remedy = CODES[code]
        return f"{cause} ({code})", remedy
    if code in _ELSEWHERE:
        region = _region(answer)
        where = f"in the region {region}" if region else "in another region or at another endpoint"
        return f"the bucket lies {where} ({code})", f"Set the store's `region`{f' to {region}' if region else ''}."
    if code in ("AccessDenied", "403") and operation in _DENIED:
        cause, remedy = _DENIED[operation]
        return f"{cause} ({code})", remedy
    if code.startswith("KMS"):
        return f"the key that the store encrypts with cannot be used ({code})", "Is the KMS key enabled, and granted?"
    shown = code if re.fullmatch(r"[A-Za-z0-9.]{1,60}", code) else "an unknown code"
    return f"the S3 server refuses the request ({shown})", "Try it by hand: `aws s3 ls` with the same credentials."


def _region(answer: Any) -> str:
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    found = str(answer.get("Error", {}).get("Region") or headers.get("x-amz-bucket-region") or "")
    return found if re.fullmatch(r"[a-z0-9-]{1,40}", found) else ""
