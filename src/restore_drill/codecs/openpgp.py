"""OpenPGP messages (RFC 9580), to keys or passphrases, binary or armored, decrypted by gpg; its status lines decide.

gpg hands out content before it knows whether it is authentic, and may end with 0 or 2 for reasons of its own. So the
stream is good only when it said DECRYPTION_OKAY and GOODMDC (of AEAD, too), and nothing against it. Nothing in
a message is authenticated before its end: a flipped bit in the first block (AEAD: chunk) of one that a passphrase opens
looks like a wrong passphrase, and one wrong passphrase in 65,536 looks like damage.
"""

from __future__ import annotations

import collections
from collections.abc import Iterator
from typing import Any

from restore_drill.codecs import _gnupg
from restore_drill.codecs._gnupg_talk import Told
from restore_drill.codecs._openpgp_packets import ARMOR_BEGIN, Message, is_armored, looks_encrypted, remove_armor
from restore_drill.codecs._source import Source, empty, foreign
from restore_drill.codecs.base import HEAD, Codec, Given, damaged
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage

#: Symmetric algorithms (RFC 9580, section 9.3).
_CIPHERS = {
    "1": "IDEA", "2": "3DES", "3": "CAST5", "4": "Blowfish", "7": "AES128", "8": "AES192", "9": "AES256",
    "10": "Twofish", "11": "Camellia128", "12": "Camellia192", "13": "Camellia256",
}  # fmt: skip
#: libgpg-error's numbers for a wrong passphrase and for none, and how many bits of an error are the number.
_BAD_PASSPHRASE, _NO_PASSPHRASE = 11, 177
_CODE = 0xFFFF


class OpenPgpCodec(Codec):
    """OpenPGP, by gpg."""

    name = "openpgp"
    suffixes = (".gpg", ".pgp", ".asc")
    encrypts = True
    keys = ("key", "passphrase")
    programs = ("gpg",)

    def __init__(self, given: Given | None = None) -> None:
        super().__init__(given)
        self._facts: dict[str, Any] = {}

    @classmethod
    def recognises(cls, head: bytes) -> bool:
        """By a packet that holds a session key, or by the first line of ASCII armor."""
        return looks_encrypted(head)

    def decode(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """Decrypt; see :meth:`Codec.decode`."""
        source, self._facts = Source(chunks), {}
        head = source.peek(HEAD)
        armored = is_armored(head)
        if armored:
            source = Source(remove_armor(source))
        elif not head:
            raise empty(self.name)
        elif not head[0] & 0x80:
            raise foreign(self.name, head, ARMOR_BEGIN)
        message = Message(source)
        self._facts = {"armored": armored, "recipients": message.keys, "passphrases": message.passphrases}
        self._facts["integrity"] = message.protection
        self._require_secret(message)
        with _gnupg.Home() as home:
            self._facts["library"] = _gnupg.version(home.program)
            if message.keys and "key" in self.secrets:
                self._import(home)
            yield from self._decrypt(home, message)

    def facts(self) -> dict[str, Any]:
        """Key ids it is encrypted to, the fingerprint of the key that opened it, its cipher, and which gpg it was."""
        return dict(self._facts)

    def _require_secret(self, message: Message) -> None:
        can_open = (message.keys and "key" in self.secrets) or (message.passphrases and "passphrase" in self.secrets)
        if can_open:
            return
        name = "key" if message.keys else "passphrase"
        given = f"; given is only: {', '.join(sorted(self.secrets))}" if self.secrets else ""
        example = "key: file:/run/secrets/backup.asc" if name == "key" else "passphrase: env:NAME"
        raise CouldNotVerify(
            f"the openpgp stream is encrypted ({_recipients(message)}) and no {name} is given for it{given}",
            remedy=f"Name it in the catalogue: decrypt: {{openpgp: {{{example}}}}}.",
            stage=Stage.UNPACK,
        )

    def _import(self, home: _gnupg.Home) -> None:
        reference = self.secrets["key"]
        told = home.import_key(reference.resolve_bytes())
        # IMPORT_RES: the eleventh number counts private keys that were imported (doc/DETAILS of GnuPG).
        imported = told.first("IMPORT_RES")[10:11]
        if imported and imported[0] != "0":
            return
        what = "holds only a public key" if "IMPORT_OK" in told else "holds no OpenPGP key that gpg can read"
        raise CouldNotVerify(
            f"the openpgp key {what}",
            looked_at=f"decrypt: openpgp: key: {reference}",
            remedy="Put there what gpg --armor --export-secret-keys (or --export-secret-subkeys) writes.",
            stage=Stage.UNPACK,
        )

    def _decrypt(self, home: _gnupg.Home, message: Message) -> Iterator[bytes]:
        passphrase = self.secrets["passphrase"].resolve() if "passphrase" in self.secrets else ""
        frames = message.frames()
        for each in home.decrypt(frames, passphrase):
            if isinstance(each, bytes):
                yield each
                continue
            if "DECRYPTION_OKAY" in each:
                collections.deque(frames, maxlen=0)  # what stands behind the message is gpg's business no more
            self._judge(each, message)

    def _judge(self, told: Told, message: Message) -> None:
        """Nothing, or the error that gpg's words and the packets amount to."""
        self._note(told)
        cut = message.problem is not None and message.body_size < message.tells
        wrong_key = None if cut else self._wrong_key(told, message)
        if wrong_key:
            raise wrong_key
        if message.problem is not None:
            raise BackupFailed(message.problem.cause, remedy=message.problem.remedy, stage=Stage.UNPACK)
        if told.returncode < 0:
            raise CouldNotVerify(
                f"gpg was ended by signal {-told.returncode}",
                remedy="Look at the machine's memory and logs; try gpg --decrypt by hand, on a machine of its own.",
                stage=Stage.UNPACK,
                details=_details(told),
            )
        if problem := _damage(told, message):
            raise problem

    def _note(self, told: Told) -> None:
        info = told.first("DECRYPTION_INFO")
        if len(info) >= 2:
            self._facts["cipher"] = _CIPHERS.get(info[1], f"algorithm {info[1]}")
        if key := told.first("DECRYPTION_KEY"):
            self._facts["opened_by"] = key[0]
        elif "DECRYPTION_OKAY" in told and "PLAINTEXT" in told:
            self._facts["opened_by"] = "passphrase"

    def _wrong_key(self, told: Told, message: Message) -> CouldNotVerify | None:
        errors = {line[0]: line[1] for line in told.lines.get("ERROR", []) if len(line) > 1}
        if "PLAINTEXT" in told or ("DECRYPTION_OKAY" in told and message.protection == "MDC"):
            return None
        if _code(errors.get("pkdecrypt_failed")) in (_BAD_PASSPHRASE, _NO_PASSPHRASE):
            given = "passphrase" in self.secrets
            return self._cannot_open(
                "the passphrase does not unlock the private key" if given else "the private key needs a passphrase",
                "passphrase" if given else "key",
                "Give the passphrase of the private key: decrypt: {openpgp: {key: …, passphrase: env:NAME}}.",
            )
        nothing_opened = message.protection == "AEAD" and not message.keys  # its first chunk is the only witness
        if _code(errors.get("symkey_decrypt.maybe_error")) == _BAD_PASSPHRASE or nothing_opened:
            return self._cannot_open(
                "the passphrase does not open the openpgp stream",
                "passphrase",
                "Give the one it was encrypted with; if it is right, the first bytes of the file are damaged.",
            )
        if "NO_SECKEY" in told and "DECRYPTION_KEY" not in told:
            return self._cannot_open(
                f"the key held does not open the openpgp stream: it is encrypted to {_recipients(message)}",
                "key",
                "Give the private key of one of its recipients; if it is the right one, the header is damaged.",
            )
        return None

    def _cannot_open(self, cause: str, name: str, remedy: str) -> CouldNotVerify:
        reference = self.secrets.get(name)
        looked_at = f"decrypt: openpgp: {name}: {reference}" if reference else "decrypt: openpgp"
        return CouldNotVerify(cause, looked_at=looked_at, remedy=remedy, stage=Stage.UNPACK)


def _damage(told: Told, message: Message) -> BackupFailed | None:
    """What gpg found wrong with the message; ``None`` only when it said that all of it is right.

    Of an AEAD message gpg 2.2 (measured: 2.2.40) says DECRYPTION_OKAY and GOODMDC although a tag was wrong; only its
    exit status tells. Of others the status says nothing: it is 2 for a mere signature that cannot be checked.
    """
    refused = [word for word in ("BADMDC", "DECRYPTION_FAILED", "NODATA", "BADARMOR", "ERROR") if word in told]
    if message.protection == "AEAD" and told.returncode:
        refused.append("status")
    if "DECRYPTION_OKAY" in told and "GOODMDC" in told and "END_DECRYPTION" in told and not refused:
        return None if "PLAINTEXT" in told else damaged("openpgp", "damaged: it holds no data")
    if "BADMDC" in told:
        how = "damaged: its integrity code (MDC) does not match its content"
    else:
        how = "damaged: gpg cannot decrypt it to its end"
    problem = damaged("openpgp", how)
    problem.details = _details(told)
    return problem


def _code(error: str | None) -> int:
    digits = (error or "").partition("_")[0]
    return int(digits) & _CODE if digits.isdigit() else 0


def _details(told: Told) -> tuple[str, ...]:
    return tuple(told.stderr.decode("utf-8", "replace").splitlines()[-20:])


def _recipients(message: Message) -> str:
    named = [key if key.strip("0") else "a hidden key" for key in message.keys]
    more = [f"{len(named) - 3} more"] if len(named) > 3 else []
    passphrases = [f"{message.passphrases} × passphrase"] if message.passphrases else []
    return ", ".join([*named[:3], *more, *passphrases])
