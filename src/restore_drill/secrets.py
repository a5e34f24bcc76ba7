"""Secrets: never in the catalogue, read when needed, never in anything that is written.

A catalogue holds a reference (``env:NAME``, ``file:PATH``, ``sops:FILE#KEY`` or ``command: [argv]``); the value lives
in memory only and is registered with :func:`redact`, through which every message, report and log line passes.
"""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, quote_plus

from restore_drill.errors import DeadlineExceeded, SecretUnavailable

_MASK = "[redacted]"
_KNOWN: set[str] = set()
#: The shapes of secrets that nobody registered, each with what a text that has one holds in small letters: to look for
#: that is cheap, and most of what is written holds none of it.
_SHAPES = (
    (("age-secret-key-",), re.compile(r"AGE-SECRET-KEY-(?:PQ-)?1[0-9A-Z]+", re.IGNORECASE)),
    (
        ("private key",),
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY(?: BLOCK)?-----.*?-----END [A-Z ]*PRIVATE KEY(?: BLOCK)?-----", re.DOTALL
        ),
    ),
    # Quotes end a part of a URL: a text may be a line of JSON, which must stay one.
    (("://",), re.compile(r"""(?P<before>://)[^/\s:@"'<>]*:[^/\s"'<>]+(?P<after>@)""")),
    (("x-amz-signature=",), re.compile(r"(?<=X-Amz-Signature=)[0-9a-fA-F]+", re.IGNORECASE)),
    (
        ("x-amz-security-token=", "sig="),
        re.compile(r"""(?:(?<=X-Amz-Security-Token=)|(?<=[?&]sig=))[^&\s"'<>\\]+""", re.IGNORECASE),
    ),
    (
        ("authorization:",),
        re.compile(r"(?:(?<=Authorization: Basic )|(?<=Authorization: Bearer ))[^\s\"']+", re.IGNORECASE),
    ),
)
#: Parameters of a url that prove who asks, whoever signed it: S3, Google (X-Goog-Signature), Azure (sig), CloudFront.
_PARAMETER = re.compile(
    r"""(?P<before>[?&;](?:[\w.-]*(?:signature|token|secret|password|passwd)|sig|api[_-]?key)=)[^&;\s"'<>\\]+""",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SecretReference:
    """Where a secret is kept.

    Attributes:
        kind: ``env``, ``file``, ``command`` or ``sops``; ``escrow`` where a break-glass run has none.
        value: The variable's name, the path, the command's arguments joined by NUL, or (:meth:`in_sops`) a file and a
            key in it, and kind and value of the identity that opens it.
    """

    kind: str
    value: str

    def __str__(self) -> str:
        """The reference itself, which is safe to print."""
        if self.kind == "sops":
            return f"sops:{'#'.join(self.value.split(chr(0))[:2])}"
        return f"{self.kind}:{self.value.split(chr(0))[0]}"

    @classmethod
    def in_sops(cls, text: str, base: Path, identity: SecretReference | None = None) -> SecretReference:
        """A value of a file that SOPS encrypted.

        Args:
            text: ``FILE#KEY``, the file relative to ``base``.
            base: The catalogue's directory.
            identity: What opens it; ``None``: where SOPS looks.

        Raises:
            ValueError: It names no file or no key.
        """
        path, _, key = text.partition("#")
        if not path or not key or "\0" in text:
            raise ValueError("a value in a file of SOPS is written sops:FILE#KEY, KEY being names divided by dots")
        return cls("sops", "\0".join([str(base / path), key, *([identity.kind, identity.value] if identity else [])]))

    def resolve(self) -> str:
        """Read the secret now, without its final newline, and have it redacted from everything that is written.

        Raises:
            SecretUnavailable: It is not there, is empty, or may be read by others (a file).
        """
        value = _READERS[self.kind](self.value)
        if not value:
            raise SecretUnavailable(
                f"the secret {self} is empty", remedy="Put the secret there, or name another place."
            )
        register(value)
        return value

    def resolve_bytes(self) -> bytes:
        """The same for a key that need not be text, as binary files are not.

        Raises:
            SecretUnavailable: As :meth:`resolve`.
        """
        if self.kind in ("file", "sops"):
            raw = _read_file(self.value) if self.kind == "file" else _decrypt(self.value)
            try:
                raw.decode("utf-8")
            except UnicodeDecodeError:
                return raw
        return self.resolve().encode()


def register(value: str) -> None:
    """Have a value (and each of its lines of six characters and more) replaced wherever it would be written.

    As it is, and as JSON and URLs write it.
    """
    lines = value.splitlines()
    for line in {value, *(line for line in lines if not line.startswith("#"))}:  # key files have comments
        plain = line.strip()
        if len(plain) >= 6:
            _KNOWN.update({plain, json.dumps(plain)[1:-1], quote(plain, safe=""), quote_plus(plain, safe="")})


def redact(text: str) -> str:
    """Replace every known secret, private key and signed URL part in a text that is about to be written."""
    # The longest first: a secret may begin with another one, and its end must not be left.
    if _KNOWN:
        for secret in sorted((known for known in _KNOWN if known in text), key=len, reverse=True):
            text = text.replace(secret, _MASK)
    small = text.casefold()
    for held, shape in _SHAPES:  # most texts hold none of them, and are looked at for that alone
        if any(each in small for each in held):
            text = shape.sub(_masked, text)
    if "=" in text and any(each in text for each in "?&;"):
        text = _PARAMETER.sub(_masked, text)
    return text


def _masked(found: re.Match[str]) -> str:
    """The mask, between what tells a shape and is no secret."""
    kept = found.groupdict("")
    return f"{kept.get('before', '')}{_MASK}{kept.get('after', '')}"


def parse_reference(text: str, base: Path) -> SecretReference:
    """Read ``env:NAME``, ``file:PATH`` or ``sops:FILE#KEY`` (paths relative to ``base``).

    Raises:
        ValueError: It is neither; the text itself is not repeated, it may be the secret.
    """
    kind, colon, value = text.partition(":")
    if not colon or kind not in ("env", "file", "sops") or not value:
        raise ValueError(
            "a secret is never in the catalogue: write env:NAME, file:PATH, sops:FILE#KEY or {command: [program, ...]}"
        )
    if kind == "sops":
        return SecretReference.in_sops(value, base)
    return SecretReference(kind, str(base / value) if kind == "file" else value)


def _from_environment(name: str) -> str:
    value = os.environ.get(name)
    if value is None:
        raise SecretUnavailable(f"the environment variable {name} is not set", remedy=f"Export {name} for this run.")
    return value.strip("\r\n")


def _from_file(path: str) -> str:
    try:
        return _read_file(path).decode("utf-8").strip("\r\n")
    except UnicodeDecodeError as problem:
        raise _unreadable(path, "it is not text") from problem


def _read_file(path: str) -> bytes:
    try:
        mode = Path(path).stat().st_mode
        if mode & stat.S_IRWXO:
            raise SecretUnavailable(f"the secret file {path} can be read by everyone", remedy=f"chmod 600 {path}")
        return Path(path).read_bytes()
    except OSError as problem:
        raise _unreadable(path, problem.strerror) from problem


def _unreadable(path: str, reason: str | None) -> SecretUnavailable:
    return SecretUnavailable(
        f"the secret file {path} cannot be read: {reason}", remedy="Put the secret there, or name another place."
    )


def _from_command(joined: str) -> str:
    from restore_drill.process import ProgramMissing, run

    argv = joined.split("\0")
    try:
        done = run(argv, deadline=30, environment=dict(os.environ))
    except ProgramMissing as problem:
        raise SecretUnavailable(f"the secret command {argv[0]} is not installed", remedy=problem.remedy) from problem
    except DeadlineExceeded as problem:
        raise SecretUnavailable(f"the secret command {argv[0]} did not answer in 30 s") from problem
    if done.returncode != 0:
        # Its output is not quoted: a helper that fails may print what it holds.
        raise SecretUnavailable(
            f"the secret command {argv[0]} ended with status {done.returncode}", remedy="Run it by hand to see why."
        )
    return done.stdout.decode("utf-8", "replace").strip("\r\n")


def _from_sops(value: str) -> str:
    try:
        return _decrypt(value).decode("utf-8").strip("\r\n")
    except UnicodeDecodeError as problem:
        raise _unreadable(value.split("\0")[0], "what it holds there is not text") from problem


def _decrypt(value: str) -> bytes:
    from restore_drill.sops import default_identities, value_of

    path, key, *identity = value.split("\0", 3)
    identities = SecretReference(*identity).resolve() if identity else default_identities(Path(path))
    register(identities)
    return value_of(Path(path), key, identities)


def _from_escrow(what: str) -> str:
    """A key that a break-glass run does without: only its own vault has it."""
    raise SecretUnavailable(
        f"no key in escrow opens {what}",
        remedy="Put the key into escrow and name it under break_glass.decrypt: the vault is lost with the rest.",
    )


_READERS = {
    "env": _from_environment, "file": _from_file, "command": _from_command, "sops": _from_sops, "escrow": _from_escrow,
}  # fmt: skip
