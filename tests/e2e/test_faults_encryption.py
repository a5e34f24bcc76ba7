"""Faults of encryption: keys that are lost or wrong, ciphertext that is cut or changed, and what was left readable."""

from __future__ import annotations

from tests.support.contents import AgeKey, PgpKey, gz, sha256, shop, with_log, with_openssl, with_passphrase
from tests.support.matrix import AGES, FaultMatrix, Make, Matrix, Row, Site, cut, flip, stored, unsigned

_TIME = "{time:%Y%m%d_%H%M%S}"
_KEY, _OTHER, _PGP = AgeKey(), AgeKey(), PgpKey()
_PASSPHRASE = "correct horse battery staple"
_MARK = "age-encryption.org/v1"


def encrypted(site: Site) -> None:
    """A sensitive database, for one recipient."""
    site.copy(f"{_TIME}.db.gz.age")
    identity = site.project.secret("shop", _KEY.secret)
    site.options |= {"sensitive": True, "decrypt": {"age": {"identity": identity}}, "size": {"predecessors": 60}}
    for age in AGES:
        site.put(age, _KEY.encrypt(gz(shop(site.now - age))))


def large_and_encrypted(site: Site) -> None:
    """So large that several chunks of ciphertext (64 KiB each) stand behind each other."""
    encrypted(site)
    site.rewrite(_KEY.encrypt(shop(site.when(site.newest()), orders=9000)))
    site.sign()


def protected_by_passphrase(site: Site) -> None:
    site.copy(f"{_TIME}.db.age")
    passphrase = site.project.secret("passphrase", _PASSPHRASE)
    site.options |= {"sensitive": True, "decrypt": {"age": {"passphrase": passphrase}}}
    site.put(AGES[-1], with_passphrase(shop(site.now - AGES[-1]), _PASSPHRASE))


def in_two_parts(site: Site) -> None:
    """A database and its log, both encrypted."""
    site.copy(f"{_TIME}.db.age", parts=["{name}-wal"])
    identity = site.project.secret("shop", _KEY.secret)
    site.options |= {"sensitive": True, "decrypt": {"age": {"identity": identity}}}
    for age in AGES:
        database, log = with_log(site.now - age)
        key = site.put(age, _KEY.encrypt(database))
        site.beside(_KEY.encrypt(log), "-wal", key=key)
        site.sign(key=f"{key}-wal")


def key(text: str) -> Make:
    """Another secret is held."""

    def harm(site: Site) -> None:
        kind = next(iter(site.options["decrypt"]["age"]))
        site.options["decrypt"] = {"age": {kind: site.project.secret(f"key-of-{site.name}", text)}}

    return harm


def key_is_gone(site: Site) -> None:
    """The file that the catalogue names lay on the system that was lost."""
    site.options["decrypt"] = {"age": {"identity": "file:../keys/of-the-lost-system"}}


def no_key_is_named(site: Site) -> None:
    """Which the catalogue refuses where it asks for encryption."""
    del site.options["decrypt"], site.options["sensitive"]


def in_the_clear(site: Site) -> None:
    site.rewrite(gz(shop(site.when(site.newest()))))
    site.sign()


def log_in_the_clear(site: Site) -> None:
    _, log = with_log(site.when(site.newest()))
    site.beside(log, "-wal")
    site.sign(key=f"{site.newest()}-wal")


def named_like_ciphertext(site: Site) -> None:
    """The first lines look like a header of age; what follows is readable."""
    site.rewrite(f"{_MARK}\n".encode() + gz(shop(site.when(site.newest()))))
    site.sign()


def to_a_pgp_key(site: Site) -> None:
    """A sensitive database, encrypted by gpg."""
    site.copy(f"{_TIME}.db.gpg")
    site.options |= {"sensitive": True, "size": {"predecessors": 60}}
    site.options["decrypt"] = {"openpgp": {"key": site.project.secret("pgp", _PGP.secret)}}
    site.put(AGES[-1], _PGP.encrypt(shop(site.now - AGES[-1])))


def another_pgp_key(site: Site) -> None:
    site.options["decrypt"] = {"openpgp": {"key": site.project.secret("other-pgp", PgpKey().secret)}}


def by_openssl(site: Site) -> None:
    """Encrypted by openssl enc, with the digest of what was encrypted beside it."""
    site.copy(f"{_TIME}.db.enc")
    site.options |= {"sensitive": True, "size": {"predecessors": 60}}
    password = site.project.secret("openssl", _PASSPHRASE)
    settings = {"cipher": "aes-256-cbc", "kdf": "pbkdf2", "iterations": 1000}
    site.options["decrypt"] = {"openssl": {"password": password, **settings}}
    content = shop(site.now - AGES[-1])
    key = site.put(AGES[-1], with_openssl(content, _PASSPHRASE, iterations=1000), digest=False)
    name = key.removesuffix(".enc")
    site.places["nas"].write(f"{name}.sha256", f"{sha256(content)}  {name.rpartition('/')[2]}\n".encode(), site.now)


def only_the_ciphertext_is_signed(site: Site) -> None:
    site.disk(f"{site.newest().removesuffix('.enc')}.sha256").unlink()
    site.sign()


def another_password(site: Site) -> None:
    site.options["decrypt"]["openssl"]["password"] = site.project.secret("wrong-openssl", "incorrect horse")


_KEYS = "none of the keys held opens the age stream: it is encrypted to"

ROWS = [
    Row(
        19, "wrong key", encrypted, key(_OTHER.secret), "nas/unpacks", _KEYS, "key|identity", verdict="error",
        blocked=("nas/encrypted", "nas/restores"),
    ),
    Row(
        19, "lost key", encrypted, no_key_is_named, "nas/unpacks", "no identity is given for it",
        "decrypt: .age: .identity", verdict="error",
    ),
    Row(
        19, "key file that is none", encrypted, key("lorem ipsum"), "nas/unpacks", "the age identity", ".",
        verdict="error",
    ),
    Row(
        19, "wrong passphrase", protected_by_passphrase, key("wrong"), "nas/unpacks", "the passphrase does not open",
        "Give the one it was encrypted with", verdict="error",
    ),
    Row(
        19, "wrong key and a digest that does not match", encrypted,
        lambda site: (key(_OTHER.secret)(site), unsigned(flip(-3))(site)), "nas/checksum", "recorded is",
        "use another copy", blocked=("nas/unpacks",),
    ),
    Row(
        20, "truncated ciphertext", encrypted, stored(cut(40)), "nas/unpacks", "age stream is", "Compare its size",
        blocked=("nas/restores",),
    ),
    Row(
        20, "truncated ciphertext at a chunk's end", large_and_encrypted,
        stored(lambda data: data[: data.index(b"\n---") + 1 + 4 + 43 + 1 + 16 + 2 * 65552]), "nas/unpacks",
        "age stream is", "Compare its size",
    ),
    Row(
        20, "header alone", encrypted, stored(lambda data: data[: data.index(b"\n---") + 30]), "nas/unpacks",
        "age stream is", "Compare its size",
    ),
    Row(
        20, "flipped ciphertext, digest taken afterwards", encrypted, stored(flip(0.7)), "nas/unpacks", "age stream is",
        ".",
    ),
    Row(20, "trailing bytes", encrypted, stored(lambda data: data + b"\n"), "nas/unpacks", "age stream is", "."),
    Row(
        19, "wrong pgp key", to_a_pgp_key, another_pgp_key, "nas/unpacks", "the key held does not open the openpgp",
        "private key of one of its recipients", verdict="error", blocked=("nas/encrypted", "nas/restores"),
    ),
    Row(
        20, "truncated pgp message", to_a_pgp_key, stored(cut(40)), "nas/unpacks", "openpgp stream is truncated",
        "Compare its size", blocked=("nas/restores",),
    ),
    Row(20, "flipped pgp message", to_a_pgp_key, stored(flip(0.7)), "nas/unpacks", "openpgp stream is damaged", "."),
    Row(
        21, "unauthenticated CBC, digest of the ciphertext alone", by_openssl, only_the_ciphertext_is_signed,
        "nas/checksum", "no digest of the content of", "sha256sum FILE",
    ),
    Row(
        21, "unauthenticated CBC, flipped", by_openssl, unsigned(flip(0.5)), "nas/checksum", "recorded is",
        "use another copy",
    ),
    Row(
        21, "unauthenticated CBC, last block damaged", by_openssl, unsigned(flip(-1)), "nas/unpacks",
        "openssl stream is truncated or damaged", ".",
    ),
    Row(
        19, "unauthenticated CBC, wrong password", by_openssl, another_password, "nas/unpacks",
        "the key held makes of the openssl stream", "under decrypt: openssl", verdict="error",
    ),
    Row(
        22, "key kept only on the lost system", encrypted, key_is_gone, "nas/unpacks",
        "of-the-lost-system|cannot be read", ".", verdict="error",
    ),
    Row(
        23, "only some members encrypted", in_two_parts, log_in_the_clear, "nas/encrypted",
        "-wal can be read without a key", "Encrypt it before it leaves",
    ),
    Row(
        23, "nothing encrypted", encrypted, in_the_clear, "nas/encrypted", "can be read without a key",
        "Encrypt it before it leaves",
    ),
    Row(23, "encrypted by name only", encrypted, named_like_ciphertext, "nas/unpacks", "age", "."),
]  # fmt: skip


class TestFaults(FaultMatrix):
    """The rows of this module."""


def test_evidence_names_the_key_that_opened_it(matrix: Matrix) -> None:
    """Row 22: in a year somebody must know which key it was; the secret itself stands nowhere."""
    layers = matrix.runs["healthy"].facts("twin-encrypted/nas", "fetch")["artifacts"][0]["layers"]
    assert [layer["format"] for layer in layers] == ["age", "gzip", "sqlite-database"]
    assert _KEY.recipient in str(layers[0])
    texts = [path.read_text() for path in matrix.project.root.glob("reports/**/*.*") if path.is_file()]
    assert texts
    assert not [text for text in texts if _KEY.secret in text]


def test_what_a_cut_ciphertext_gave_is_discarded(matrix: Matrix) -> None:
    """Row 20: its first chunks are genuine, and must not be taken for the backup."""
    row = next(row for row in ROWS if row.fault == "truncated ciphertext at a chunk's end")
    facts = matrix.run(row).facts(f"{row.target}/nas", "fetch")
    assert facts["payloads"] == []
    assert list((matrix.project.root / "work").rglob("payload-*")) == []
