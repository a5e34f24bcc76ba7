"""Requests of those who write into a bucket of their own: asked again where that may help, but for foreseen errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from restore_drill.errors import CouldNotVerify
from restore_drill.stores.s3_errors import diagnose
from restore_drill.stores.trying import Patience

_Answer = TypeVar("_Answer")
#: The key has no object.
NOT_THERE: Final = frozenset({"NoSuchKey", "404"})
#: The key has another object than the condition of a write allows.
TAKEN: Final = frozenset({"PreconditionFailed", "412"})
#: Another write of the same key is under way: who wins is not decided yet.
UNDECIDED: Final = frozenset({"ConditionalRequestConflict", "409"})


def ask(
    request: Callable[[], _Answer],
    retries: int,
    foreseen: frozenset[str],
    unusable: Callable[[str], CouldNotVerify],
) -> _Answer | None:
    """The answer of a request; ``None`` for an error that was foreseen.

    Args:
        request: Sends it.
        retries: How often it may be sent again.
        foreseen: Codes of errors that are an answer.
        unusable: Makes the error from its cause.

    Raises:
        CouldNotVerify: The bucket does not answer, or refuses.
    """
    patience = Patience(retries)
    while True:
        try:
            return request()
        except Exception as problem:  # whatever it is: what is not the client's own is raised again
            if _code(problem) in foreseen:
                return None
            diagnosis = diagnose(problem)
            if diagnosis is None:
                raise
            if not patience.bears(diagnosis):
                raise unusable(diagnosis.cause) from problem


def _code(problem: Exception) -> str:
    """The code of an answer that is an error, ``""`` for everything else."""
    response = getattr(problem, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""
