"""People with key pairs, who sign with the real programs: gpg, minisign, openssl as ``cosign sign-blob`` does."""

from __future__ import annotations

import base64
import hashlib
import subprocess
import tempfile
from pathlib import Path


def run(*argv: str, stdin: bytes = b"", environment: dict[str, str] | None = None) -> bytes:
    done = subprocess.run(argv, input=stdin, capture_output=True, env=environment)
    assert done.returncode == 0, (argv, done.stderr)
    return done.stdout


class GpgSigner:
    """``gpg --detach-sign`` with a key ring of its own below ``place``, whose path must be short: it holds sockets."""

    def __init__(self, place: Path, algorithm: str = "ed25519", expires: str = "never", at: str = "") -> None:
        self._home = Path(tempfile.mkdtemp(dir=place))
        self.at = at
        self.gpg("--quick-gen-key", "backup@example.org", algorithm, "sign", expires)
        colons = self.gpg("--list-keys", "--with-colons").decode().splitlines()
        self.shown = next(line.split(":")[9] for line in colons if line.startswith("fpr"))
        self.public = self.gpg("--armor", "--export")

    def gpg(self, *arguments: str, stdin: bytes = b"") -> bytes:
        when = ["--faked-system-time", self.at] if self.at else []
        options = ["--batch", "--yes", "--quiet", "--pinentry-mode=loopback", "--passphrase="]
        environment = {"GNUPGHOME": str(self._home), "PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
        return run("gpg", *options, *when, *arguments, stdin=stdin, environment=environment)

    def sign(self, data: bytes, *options: str) -> bytes:
        return self.gpg(*options, "--armor", "--detach-sign", stdin=data)

    def revoke(self) -> bytes:
        """The public key as it is exported from then on."""
        certificate = self._home / "openpgp-revocs.d" / f"{self.shown}.rev"
        self.gpg("--import", stdin=certificate.read_bytes().replace(b"\n:-----BEGIN", b"\n-----BEGIN"))
        return self.gpg("--armor", "--export")

    def close(self) -> None:
        subprocess.run(
            ["gpgconf", "--kill", "all"], env={"GNUPGHOME": str(self._home), "PATH": "/usr/bin:/bin"}, check=False
        )


class MinisignSigner:
    """``minisign -S``."""

    def __init__(self, place: Path) -> None:
        self._place = Path(tempfile.mkdtemp(dir=place))
        run("minisign", "-GWf", "-p", str(self._place / "public"), "-s", str(self._place / "secret"))
        self.public = (self._place / "public").read_bytes()
        self.shown = self.public.split()[5].decode()

    def sign(self, data: bytes, *options: str) -> bytes:
        file = self._place / "data"
        file.write_bytes(data)
        run("minisign", "-S", "-s", str(self._place / "secret"), "-x", f"{file}.minisig", *options, "-m", str(file))
        return Path(f"{file}.minisig").read_bytes()


class CosignSigner:
    """What ``cosign sign-blob --key`` writes: ECDSA on P-256 over the SHA-256, in base64."""

    def __init__(self, place: Path, *options: str) -> None:
        self._secret = Path(tempfile.mkdtemp(dir=place)) / "secret.pem"
        how = options or ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
        run("openssl", "genpkey", *how, "-out", str(self._secret))
        self.public = run("openssl", "pkey", "-in", str(self._secret), "-pubout")
        encoded = run("openssl", "pkey", "-in", str(self._secret), "-pubout", "-outform", "DER")
        self.shown = f"SHA256:{hashlib.sha256(encoded).hexdigest()}"

    def sign(self, data: bytes) -> bytes:
        return base64.b64encode(self.raw(data)) + b"\n"

    def raw(self, data: bytes) -> bytes:
        """As openssl leaves it."""
        return run("openssl", "dgst", "-sha256", "-sign", str(self._secret), stdin=data)

    def raw_whole(self, data: bytes) -> bytes:
        """By a key that signs the bytes themselves."""
        file = self._secret.with_name("data")
        file.write_bytes(data)
        return run("openssl", "pkeyutl", "-sign", "-rawin", "-inkey", str(self._secret), "-in", str(file))
