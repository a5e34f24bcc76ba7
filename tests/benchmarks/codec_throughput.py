"""(e) Each codec against its own program: decoding alone against decoding with the digests of both sides."""

from __future__ import annotations

import json
import os
import random
import shlex
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.benchmarks.measure import Benchmark, Way
from tests.benchmarks.project import environment

_MIB = 1 << 20
_ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        size: MiB of content.
        write: The shell command that makes ``{file}`` of ``content``.
        read: The shell command that decodes it to its standard output.
        secrets: The codec's part of ``decrypt``; values are files, options of other names are themselves.
    """

    name: str
    size: int
    write: str
    read: str
    secrets: Mapping[str, Mapping[str, object]] = field(default_factory=dict)


_OPENSSL = "-aes-256-cbc -pbkdf2 -iter 100000 -md sha256 -pass file:password"
_CIPHER = {"cipher": "aes-256-cbc", "kdf": "pbkdf2", "iterations": 100000, "digest": "sha256"}
_GPG = "gpg --homedir gnupg --batch --quiet --no-tty --pinentry-mode loopback --passphrase-file password"
FORMATS = (
    Format("gzip", 700, "gzip -c content > {file}", "gzip -dc {file}"),
    Format("bzip2", 100, "bzip2 -c content > {file}", "bzip2 -dc {file}"),
    Format("xz", 200, "xz -1 -c content > {file}", "xz -dc {file}"),
    Format("zstd", 1000, "zstd -q -c content > {file}", "zstd -q -dc {file}"),
    Format("lz4", 1000, "lz4 -q -c content > {file}", "lz4 -q -dc {file}"),
    Format("lzip", 100, "lzip -1 -c content > {file}", "lzip -dc {file}"),
    Format("zip", 700, "zip -q {file}.zip content && mv {file}.zip {file}", "unzip -p {file}"),
    Format("7z", 200, "7zz a -bd -mx1 -y {file}.7z content > 7zz.log && mv {file}.7z {file}", "7zz e -so -bd {file}"),
    Format(
        "age", 1000, "age -r $(cat recipient) -o {file} content", "age -d -i identity {file}",
        {"age": {"identity": "identity"}},
    ),
    Format(
        "openpgp", 700, f"{_GPG} --symmetric --compress-algo none -o {{file}} content", f"{_GPG} --decrypt {{file}}",
        {"openpgp": {"passphrase": "password"}},
    ),
    Format(
        "openssl", 1000, f"openssl enc {_OPENSSL} -in content -out {{file}}", f"openssl enc -d {_OPENSSL} -in {{file}}",
        {"openssl": {"password": "password", **_CIPHER}},
    ),
)  # fmt: skip


@contextmanager
def build(scratch: Path, *, small: bool) -> Iterator[Iterator[Benchmark]]:
    """Text of the kind that dumps hold: compresses about to a quarter."""
    _keys(scratch)
    yield (_benchmark(form, scratch, small) for form in FORMATS)


def _benchmark(form: Format, scratch: Path, small: bool) -> Benchmark:
    size = form.size // (10 if small else 1)
    _content(scratch / "content", size)
    file = f"packed-{form.name}"
    (scratch / file).unlink(missing_ok=True)
    subprocess.run(["sh", "-c", form.write.format(file=file)], cwd=scratch, check=True)
    own = [sys.executable, "-m", "tests.benchmarks.decode", file]
    own += [json.dumps(form.secrets)] if form.secrets else []
    base = environment()
    paths = f"{base['PYTHONPATH']}{os.pathsep}{_ROOT}"
    return Benchmark(
        "e",
        f"{form.name}: {size} MiB of content, {(scratch / file).stat().st_size / _MIB:.0f} MiB stored",
        None,
        [
            Way(f"{form.name}", ["sh", "-c", f"{form.read.format(file=file)} > /dev/null"], scratch),
            Way(
                "with sha256sum of both sides",
                ["sh", "-c", f"sha256sum {file} && {form.read.format(file=file)} | sha256sum"],
                scratch,
            ),
            Way("restore-drill", own, scratch, {**base, "PYTHONPATH": paths}, shown=shlex.join(own[1:])),
        ],
        {"MiB": size},
    )


def _keys(scratch: Path) -> None:
    (scratch / "password").write_text("correct horse battery staple\n")
    (scratch / "password").chmod(0o600)
    (scratch / "gnupg").mkdir(mode=0o700)
    made = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stdout
    (scratch / "identity").write_text(made)
    (scratch / "identity").chmod(0o600)
    (scratch / "recipient").write_text(next(line.split()[-1] for line in made.splitlines() if "public key" in line))


def _content(path: Path, mebibytes: int) -> None:
    """Rows as a dump has them."""
    source = random.Random(7)
    words = [bytes(source.choices(b"abcdefghijklmnopqrstuvwxyz", k=source.randint(3, 11))) for _ in range(4000)]
    block = b"".join(
        b"INSERT INTO orders VALUES (%d,%d,'%s %s','%s');\n"
        % (number, source.randrange(10**6), *source.choices(words, k=2), source.randbytes(6).hex().encode())
        for number in range(200_000)
    )
    with path.open("wb") as file:
        left = mebibytes * _MIB
        while left:
            piece = block[: min(left, len(block))]
            file.write(piece)
            left -= len(piece)
            # Each block differs from the one before: no window remembers it.
            block = block[1000:] + block[:1000]
