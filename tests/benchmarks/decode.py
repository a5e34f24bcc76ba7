"""``python -m tests.benchmarks.decode FILE [SECRETS]``: what a drill does with an object before an engine sees it.

Reads it, peels its layers, and computes the digests of what is stored and of the content, all in one pass.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

from restore_drill.recognise import codec_detector
from restore_drill.secrets import SecretReference
from restore_drill.stream import Peeled, Peeling

_CHUNK = 1 << 20


def main(path: Path, secrets: str) -> int:
    """Print how many bytes came out."""
    given = {
        codec: {name: SecretReference("file", value) if name in _SECRETS else value for name, value in options.items()}
        for codec, options in json.loads(secrets).items()
    }
    layers = tuple(given) or None
    how = Peeling(
        name=path.name, size=path.stat().st_size, wanted=lambda names: frozenset({"sha256"}), ratio=1 << 20,
        detect=codec_detector(given, layers),  # type: ignore[arg-type]
    )  # fmt: skip
    peeled = Peeled(_chunks(path), how)
    peeled.open()
    for _ in peeled.content():
        pass
    peeled.finish()
    if len(peeled.layers) < 2:
        raise SystemExit(f"{path.name} was taken for content: no codec recognised it")
    print(peeled.layers[-1].size, peeled.layers[-1].digests["sha256"])
    return 0


_SECRETS = frozenset({"identity", "passphrase", "password", "key"})


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb", buffering=0) as file:
        while chunk := file.read(_CHUNK):
            yield chunk


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "{}"))
