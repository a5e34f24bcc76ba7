"""What an error of obstore means to the person who has to mend it.

Its classes say little, and its texts hold whole urls: what is recognised in them is told in words of our own.
"""

from __future__ import annotations

import re

from restore_drill.stores.cloud_client import OF_WORKER, CloudProblem
from restore_drill.stores.trying import Diagnosis, Nature

_NETWORK = "Check the store's endpoint, DNS, proxy and firewall from this machine."
_SLOW = "Is the service or the line slow? Run fewer drills at a time, or raise the store's `retries` and deadlines."
_KEYS = "Give the store `credentials`, or what the library looks for by itself (docs/formats.md lists both)."
_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"<Code>([A-Za-z0-9]{1,60})</Code>|\"code\": ?\"([A-Za-z0-9]{1,60})\"")
_NO_CONTAINER = re.compile(r"ContainerNotFound|NoSuchBucket|ContainerBeingDeleted|no bucket named|bucket does not")
_BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
_ODD_NAME = Diagnosis(
    Nature.FINAL,
    "the store holds a name that the library cannot handle (an empty part, '.', '..' or a control character)",
    "Rename or remove that object, let the store's url name a prefix without it, or read the store by rclone:.",
)
#: Marks in the text, the most specific first.
_MARKS: tuple[tuple[str, Nature, str, str], ...] = (
    ("Invalid Access Key", Nature.FINAL, "the account_key is no key", "Copy it again; it is written in base64."),
    ("invalid SAS", Nature.FINAL, "the sas_token is none", "Copy it again, without its question mark."),
    ("service account", Nature.FINAL, "the service account's key cannot be used", "Give its JSON file as it is."),
    ("token request", Nature.FINAL, "no credentials were found, or they were refused", _KEYS),
    ("169.254.169.254", Nature.FINAL, "no credentials were found", _KEYS),
    ("metadata.google.internal", Nature.FINAL, "no credentials were found", _KEYS),
    ("dns error", Nature.AGAIN, "the service cannot be reached (its name cannot be resolved)", _NETWORK),
    ("onnection refused", Nature.AGAIN, "the service cannot be reached (connection refused)", _NETWORK),
    ("onnectionRefused", Nature.AGAIN, "the service cannot be reached (connection refused)", _NETWORK),
    ("invalid peer certificate", Nature.FINAL, "no trusted TLS connection to the service comes about", _NETWORK),
    ("InvalidContentType", Nature.FINAL, "the endpoint does not speak TLS", "Correct the store's `endpoint`."),
    ("corrupt message", Nature.FINAL, "the endpoint does not speak TLS", "Correct the store's `endpoint`."),
    ("imedOut", Nature.TIMEOUT, "the service does not answer in time", _SLOW),
    ("timed out", Nature.TIMEOUT, "the service does not answer in time", _SLOW),
    ("imeout,", Nature.TIMEOUT, "the service does not answer in time", _SLOW),
    ("builder error", Nature.FINAL, "the store's endpoint is no url", "Write https://host:port."),
    ("HTTP error", Nature.AGAIN, "the connection to the service broke", _NETWORK),
    ("kind: ", Nature.AGAIN, "the connection to the service broke", _NETWORK),
)


def diagnose(problem: CloudProblem) -> Diagnosis:
    """Say what a problem means."""
    text = problem.text
    if problem.kind in OF_WORKER:
        return OF_WORKER[problem.kind]
    if problem.kind == "InvalidPathError" or "Could not parse path" in text:
        return _ODD_NAME
    if problem.kind == "_Changed":
        return Diagnosis(Nature.CHANGED, "the service sends another object", "")
    status = _STATUS.search(text)
    if status is not None and "token request" not in text:
        return _of_status(int(status[1]), problem)
    if problem.kind == "FileNotFoundError":
        return Diagnosis(Nature.ABSENT, "the service answers 404", "", "404")
    for mark, nature, cause, remedy in _MARKS:
        if mark in text:
            return Diagnosis(nature, cause, remedy)
    return Diagnosis(Nature.FINAL, f"the library gave up ({problem.kind})", "Check the store's url and credentials.")


def _of_status(status: int, problem: CloudProblem) -> Diagnosis:
    found = _CODE.search(problem.text)
    code = next(filter(None, found.groups()), "") if found else ""
    shown = f" ({code or status})"
    if _NO_CONTAINER.search(problem.text):
        remedy = "Check the name in the store's url, the account, and the endpoint."
        return Diagnosis(Nature.FINAL, "there is no such bucket or container", remedy, code or str(status))
    if code == "BlobArchived":
        remedy = "Have it moved to a tier that can be read at once."
        return Diagnosis(Nature.FINAL, "the object is archived and cannot be read until it is restored", remedy, code)
    if status == 404:
        return Diagnosis(Nature.ABSENT, f"the service answers 404{shown}", "", code or "404")
    if status in (412, 416):
        return Diagnosis(Nature.CHANGED, f"the service answers {status}", "", str(status))
    if status in _BUSY:
        return Diagnosis(Nature.AGAIN, f"the service fails or is too busy{shown}", _SLOW, str(status))
    if status in (401, 403):
        remedy = (
            "Check the store's `credentials`: are they of this account, not expired, and may they list and read "
            "(Storage Blob Data Reader; roles/storage.objectViewer)?"
        )
        return Diagnosis(Nature.FINAL, f"the service denies access{shown}", remedy, code or str(status))
    return Diagnosis(Nature.FINAL, f"the service refuses the request{shown}", "Check the store's url.", str(status))
