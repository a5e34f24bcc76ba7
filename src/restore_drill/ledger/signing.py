"""Keys: Ed25519 (RFC 8032) private ones that sign entries, and public ones by which anybody verifies them.

A private key is a PEM file of PKCS #8 (RFC 5958), as ``openssl genpkey -algorithm ed25519`` makes it, or the base64 of
its 32 bytes; a public key is a PEM file of SubjectPublicKeyInfo (RFC 8410). A key is known by the SHA-256 of its public
key's DER form: ``openssl pkey -pubin -in ledger.pub -outform DER | sha256sum``.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill.errors import CouldNotVerify, SecretUnavailable, UsageProblem
from restore_drill.secrets import SecretReference, register

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

    from restore_drill.plan import LedgerSettings


class KeySigner:
    """Signs by a private key in memory."""

    def __init__(self, private: Ed25519PrivateKey) -> None:
        self._private = private
        self.public = PublicKey.of(private.public_key())

    @property
    def key_id(self) -> str:
        """The fingerprint of its public key."""
        return self.public.key_id

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""
        return self._private.sign(message)

    @classmethod
    def generate(cls) -> KeySigner:
        """A new key."""
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        return cls(Ed25519PrivateKey.generate())

    def private_pem(self) -> bytes:
        """The private key as a file holds it; it is a secret from here on."""
        from cryptography.hazmat.primitives import serialization as forms

        pem = self._private.private_bytes(forms.Encoding.PEM, forms.PrivateFormat.PKCS8, forms.NoEncryption())
        register(pem.decode())
        return pem


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A public key.

    Attributes:
        key_id: Its fingerprint.
        pem: As a file holds it.
    """

    key_id: str
    pem: bytes
    _key: Any

    @classmethod
    def of(cls, key: Ed25519PublicKey) -> PublicKey:
        """A key of the library as ours."""
        from cryptography.hazmat.primitives import serialization as forms

        kind = forms.PublicFormat.SubjectPublicKeyInfo
        der = key.public_bytes(forms.Encoding.DER, kind)
        return cls(hashlib.sha256(der).hexdigest(), key.public_bytes(forms.Encoding.PEM, kind), key)

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether its private half signed the message."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def signer_of(settings: LedgerSettings) -> KeySigner | None:
    """Who signs a catalogue's entries; ``None`` when it names no key: they are unsigned, which is to be told loudly.

    Raises:
        CouldNotVerify: The key cannot be read, is none, or fits none of the catalogue's public keys: what it signed
            nobody could verify.
    """
    if settings.key is None:
        return None
    signer = read_signer(settings.key)
    known = read_public_keys(settings.public_keys)
    if known and signer.key_id not in {key.key_id for key in known}:
        raise CouldNotVerify(
            f"the key that signs the ledger ({signer.key_id[:16]}...) fits none of its public keys",
            looked_at=", ".join(settings.public_keys),
            remedy="List its public key under ledger.public_keys, beside the older ones.",
        )
    return signer


def read_signer(reference: SecretReference) -> KeySigner:
    """The private key that a reference leads to.

    Raises:
        SecretUnavailable: It cannot be read, or is no Ed25519 key.
    """
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    text = reference.resolve()
    try:
        private = _private_of(text)
    except (ValueError, TypeError, binascii.Error):
        private = None
    if not isinstance(private, Ed25519PrivateKey):
        raise SecretUnavailable(
            f"the secret {reference} is no Ed25519 private key",
            remedy="It must be PEM of PKCS #8 without a passphrase, or the base64 of 32 bytes: restore-drill ledger "
            "init-key makes one.",
        )
    return KeySigner(private)


def _private_of(text: str) -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if text.lstrip().startswith("-----BEGIN"):
        return load_pem_private_key(text.encode(), None)
    raw = base64.b64decode(text.strip(), validate=True)
    return Ed25519PrivateKey.from_private_bytes(raw)  # refuses any other length


def read_public_keys(paths: Sequence[str | Path]) -> list[PublicKey]:
    """The public keys in some files.

    Raises:
        UsageProblem: A file cannot be read, or holds no Ed25519 public key.
    """
    return [read_public_key(Path(path)) for path in paths]


def read_public_key(path: Path) -> PublicKey:
    """The public key in a file.

    Raises:
        UsageProblem: It cannot be read, or holds no Ed25519 public key.
    """
    try:
        return parse_public_key(path.read_bytes())
    except OSError as problem:
        raise UsageProblem(
            f"the public key cannot be read: {problem.strerror}", looked_at=str(path), remedy="Check its path."
        ) from problem
    except ValueError as problem:
        raise UsageProblem(
            f"this is no public key: {problem}",
            looked_at=str(path),
            remedy="It must be PEM (BEGIN PUBLIC KEY) of an Ed25519 key, as restore-drill ledger init-key writes it.",
        ) from problem


def parse_public_key(raw: bytes) -> PublicKey:
    """A public key in PEM.

    Raises:
        ValueError: It is none of Ed25519.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY" in raw:
        raise ValueError("it is a private key, which nobody but the signer should have")
    try:
        key = load_pem_public_key(raw)
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise ValueError("it is not PEM of a public key") from problem
    if not isinstance(key, Ed25519PublicKey):
        raise ValueError("it is not of Ed25519")  # noqa: TRY004 - a value of a file
    return PublicKey.of(key)
