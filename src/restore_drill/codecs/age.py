"""age (https://c2sp.org/age): X25519 and ssh identities through pyrage, passphrases with OpenSSL's primitives.

What tells a wrong key from a bad backup: nothing in a header is authenticated before a key has opened one of its
stanzas. So a flipped bit inside the stanza of our own recipient looks like a wrong key (could not be verified), and so
does one in the salt or the work factor of a passphrase; anywhere else in the file it is damage. The version number is
the other exception: ``v3`` may be a flipped ``v1`` or the future.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from restore_drill.codecs import _age_keys, _age_payload
from restore_drill.codecs._age_header import ARMOR_BEGIN, VERSION_PREFIX, Header, is_armored, read_header, remove_armor
from restore_drill.codecs._source import Source, empty, foreign
from restore_drill.codecs.base import HEAD, Codec, Given, damaged, library
from restore_drill.errors import CouldNotVerify
from restore_drill.model import Stage
from restore_drill.secrets import SecretReference


class AgeCodec(Codec):
    """age, binary or armored."""

    name = "age"
    suffixes = (".age",)
    encrypts = True
    keys = ("identity", "passphrase")

    def __init__(self, given: Given | None = None) -> None:
        super().__init__(given)
        self._facts: dict[str, Any] = {}

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By the version line, whatever the version, or by the first line of ASCII armor."""
        return head.startswith(VERSION_PREFIX) or is_armored(head)

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Decrypt; see :meth:`Codec.decode`."""
        source, self._facts = Source(chunks), {}
        head = source.peek(HEAD)
        armored = is_armored(head)
        if armored:
            source = Source(remove_armor(source))
        elif not head.startswith(VERSION_PREFIX):
            raise foreign(self.name, head, VERSION_PREFIX, ARMOR_BEGIN) if head else empty(self.name)
        header = read_header(source)
        self._facts = {"armored": armored, "recipients": header.kinds}
        if "scrypt" in header.kinds:
            yield from self._with_passphrase(header, source)
        else:
            yield from self._with_identity(header, source)

    def facts(self) -> dict[str, Any]:
        """The kinds of the recipients, the public half of the key that opened it, and which library did."""
        return dict(self._facts)

    def _with_passphrase(self, header: Header, source: Source) -> Iterator[bytes]:
        factor = _age_payload.work_factor(header)
        self._facts |= {"work_factor": factor, "library": library("cryptography")}
        passphrase = self._secret("passphrase", header).resolve()
        file_key = _age_payload.unwrap(header.stanzas[0], factor, passphrase)
        if file_key is None:
            raise CouldNotVerify(
                "the passphrase does not open the age stream",
                looked_at=f"decrypt: age: passphrase: {self.secrets['passphrase']}",
                remedy="Give the one it was encrypted with; if it is right, the first lines of the file are damaged.",
                stage=Stage.UNPACK,
            )
        if not _age_payload.verify(header, file_key):
            raise damaged(self.name, "damaged: the passphrase fits, and yet its header is not authentic")
        self._facts["opened_by"] = "passphrase"
        yield from _age_payload.decrypt(source, file_key)

    def _with_identity(self, header: Header, source: Source) -> Iterator[bytes]:
        self._facts["library"] = library("pyrage")
        reference = self._secret("identity", header)
        identities = _age_keys.load(reference)
        for identity in identities:
            answer = _age_keys.try_on(identity, header.raw)
            if answer is _age_keys.Answer.DAMAGED:
                raise damaged(self.name, "damaged: its header is malformed or was altered")
            if answer is _age_keys.Answer.OPENS:
                break
        else:
            raise _wrong_key(header, [identity.public for identity in identities], str(reference))
        self._facts["opened_by"] = identity.public
        yield from _age_keys.decrypt(identity, header.raw, source)

    def _secret(self, name: str, header: Header) -> SecretReference:
        if name in self.secrets:
            return self.secrets[name]
        given = f"; given is only: {', '.join(sorted(self.secrets))}" if self.secrets else ""
        raise CouldNotVerify(
            f"the age stream is encrypted ({_recipients(header)}) and no {name} is given for it{given}",
            remedy=f"Name it in the catalogue: decrypt: {{age: {{{name}: env:NAME}}}}.",
            stage=Stage.UNPACK,
        )


def _recipients(header: Header) -> str:
    return ", ".join(f"{count} × {kind}" for kind, count in header.kinds.items()) or "no recipient"


def _wrong_key(header: Header, held: list[str], reference: str) -> CouldNotVerify:
    more = f" and {len(held) - 3} more" if len(held) > 3 else ""
    return CouldNotVerify(
        f"none of the keys held opens the age stream: it is encrypted to {_recipients(header)}, "
        f"and held is {', '.join(held[:3])}{more}",
        looked_at=f"decrypt: age: identity: {reference}",
        remedy="Give the identity of one of its recipients; if it is the right one, the header is damaged.",
        stage=Stage.UNPACK,
    )
