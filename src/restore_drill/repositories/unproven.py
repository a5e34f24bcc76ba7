"""What is encrypted without authentication: only a digest of the content proves it, and only its content the key."""

from __future__ import annotations

from collections.abc import Sequence

from restore_drill.checksums import RecordedDigest
from restore_drill.codecs.base import UnprovenKey
from restore_drill.errors import CouldNotVerify, RestoreDrillError
from restore_drill.model import Stage
from restore_drill.registry import load, names
from restore_drill.stream import Layer

#: What a layer is called of which nobody looked at the content.
_UNKNOWN = ("", "part")


def format_without_proof(layers: Sequence[Layer]) -> str:
    """The innermost format among these layers that cannot tell whether it was altered, ``""`` when there is none."""
    position = _position(layers)
    return layers[position].format if position >= 0 else ""


def is_proven(layers: Sequence[Layer], digest: RecordedDigest | None) -> bool:
    """Whether a digest is recorded of what such a format decodes to, or of what is inside that."""
    inside = {name for layer in layers[_position(layers) + 1 :] for name in layer.names}
    return not format_without_proof(layers) or (digest is not None and digest.basename in inside)


def as_known(problem: RestoreDrillError, layers: Sequence[Layer]) -> RestoreDrillError:
    """What an error amounts to: behind a readable beginning the key was right, and what looks otherwise is damage."""
    readable = any(layer.format not in _UNKNOWN for layer in layers[_position(layers) + 1 :])
    return problem.damage if isinstance(problem, UnprovenKey) and readable else problem


def unreadable(layers: Sequence[Layer], looked_at: str) -> CouldNotVerify | None:
    """The error for content that is nothing known, where a wrong key gives just that; ``None`` where it cannot."""
    codec = format_without_proof(layers)
    if not codec:
        return None
    return CouldNotVerify(
        f"what the key held makes of the {codec} stream is nothing known: that key, or an option beside it, is wrong",
        looked_at=looked_at,
        remedy=f"Give the key and the options it was encrypted with under decrypt: {codec}:; if they are right, the "
        "backup is damaged, or what was encrypted is no backup.",
        stage=Stage.UNPACK,
    )


def _position(layers: Sequence[Layer]) -> int:
    codecs = names("codecs")
    formats = ((at, layer.format) for at, layer in enumerate(layers) if layer.format in codecs)
    return max((at for at, name in formats if load("codecs", name).needs_content_digest), default=-1)
