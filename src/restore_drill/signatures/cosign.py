"""``cosign sign-blob --key``, and what it is made of: a signature over the file's SHA-256 by a bare public key.

Read are a base64 line (cosign's ``--output-signature``), the raw signature (``openssl dgst -sha256 -sign``) and the
JSON of a bundle that was signed with a key (https://docs.sigstore.dev/about/bundle/). A keyless one, whose key is known
by a certificate of a day only, cannot be pinned and is refused. The transparency log is not asked.

Keys: PEM, ECDSA on P-256 or RSA of 2048 bits and more with SHA-256, and Ed25519, which signs the file itself and is
verified up to 16 MiB.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Sequence
from typing import Any, ClassVar

from restore_drill.signatures.base import Signature, Signer, malformed, unusable_key, wrong

_MOST_WHOLE = 16 << 20
_LEAST_RSA = 2048
_PEM = "-----BEGIN PUBLIC KEY-----"


class CosignSignature(Signature):
    """A signature over a blob by one of a few bare keys."""

    name: ClassVar[str] = "cosign"
    suffixes: ClassVar[tuple[str, ...]] = (".sig", ".sigstore.json", ".bundle")

    @classmethod
    def check_key(cls, text: str) -> None:
        """A PEM of a public key."""
        if not text.lstrip().startswith(_PEM):
            raise ValueError(f"needs a public key in PEM: the text of cosign.pub, from {_PEM}")

    def __init__(self, signature: bytes, keys: Sequence[bytes], until: float) -> None:  # noqa: ARG002 - nothing waits
        self._keys = [_usable(key) for key in keys]
        self._signature = _value(signature)
        self._hash = hashlib.sha256()
        self._whole: bytearray | None = bytearray() if any(map(_signs_the_whole, self._keys)) else None
        self._size = 0

    def update(self, chunk: bytes) -> None:
        """Hash it, and keep it where a key wants the whole and it is small."""
        self._size += len(chunk)
        self._hash.update(chunk)
        if self._whole is not None:
            self._whole += chunk if self._size <= _MOST_WHOLE else b""

    def conclude(self) -> Signer:
        """The SHA-256 of the key itself: such keys have no other name."""
        for key in self._keys:
            if not (_signs_the_whole(key) and self._size > _MOST_WHOLE) and self._verifies(key):
                return Signer(_shown(key))
        if self._size > _MOST_WHOLE and self._whole is not None:
            raise malformed(
                self.name, "an Ed25519 key signs the whole file, and the file is larger than 16 MiB: sign its manifest"
            )
        pinned = ", ".join(_shown(key) for key in self._keys)
        raise wrong(f"the signature is not one of these bytes by a pinned key ({pinned})")

    def _verifies(self, key: Any) -> bool:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
        from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
        from cryptography.hazmat.primitives.hashes import SHA256

        hashed, digest = Prehashed(SHA256()), self._hash.digest()
        try:
            if isinstance(key, ec.EllipticCurvePublicKey):
                key.verify(self._signature, digest, ec.ECDSA(hashed))
            elif isinstance(key, rsa.RSAPublicKey):
                key.verify(self._signature, digest, padding.PKCS1v15(), hashed)
            else:
                key.verify(self._signature, bytes(self._whole or b""))
        except InvalidSignature:
            return False
        return True


def _usable(raw: bytes) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(raw.strip() + b"\n")
    except (ValueError, UnsupportedAlgorithm) as problem:
        raise unusable_key("cosign", "it is no public key in PEM") from problem
    if isinstance(key, ec.EllipticCurvePublicKey):
        if key.curve.name != "secp256r1":
            raise unusable_key("cosign", f"ECDSA is verified on P-256, and it is on {key.curve.name}")
    elif isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _LEAST_RSA:
            raise unusable_key("cosign", f"RSA of {key.key_size} bits can be forged")
    elif not isinstance(key, ed25519.Ed25519PublicKey):
        raise unusable_key("cosign", "it is neither ECDSA, RSA nor Ed25519")
    return key


def _signs_the_whole(key: Any) -> bool:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return isinstance(key, Ed25519PublicKey)


def _shown(key: Any) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    encoded = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return f"SHA256:{hashlib.sha256(encoded).hexdigest()}"


def _value(raw: bytes) -> bytes:
    """The signature itself."""
    text = raw.strip()
    if not text:
        raise malformed("cosign", "it is empty")
    if text.startswith(b"{"):
        return _of_bundle(text)
    try:
        return base64.b64decode(b"".join(text.split()), validate=True)  # base64(1) and openssl break lines
    except (binascii.Error, ValueError):
        return raw  # as openssl writes it


def _of_bundle(text: bytes) -> bytes:
    try:
        bundle = json.loads(text)
        if "base64Signature" in bundle:
            held, value = str(bundle.get("cert") or ""), bundle["base64Signature"]
            keyless = "CERTIFICATE" in held or "CERTIFICATE" in base64.b64decode(held or "").decode("utf-8", "replace")
        else:
            keyless = "publicKey" not in bundle["verificationMaterial"]
            value = bundle["messageSignature"]["signature"]
        signature = base64.b64decode(value, validate=True)
    except (KeyError, TypeError, ValueError, RecursionError) as problem:
        raise malformed("cosign", "it is JSON, and no bundle of a signature over a file") from problem
    if keyless:
        raise malformed("cosign", "it is a keyless bundle, and only a key can be pinned: sign with cosign --key")
    return signature
