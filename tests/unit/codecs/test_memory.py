"""Streams that want more memory than there is give no verdict. Each runs in a limited process of its own."""

from __future__ import annotations

import lzma
import subprocess
import sys
import zlib

import pytest

LIMITED = """
import resource, sys
from restore_drill.registry import load
from restore_drill.secrets import SecretReference
codec = load("codecs", sys.argv[1])({"passphrase": SecretReference("env", "AGE_TEST_PASSPHRASE")})
stream = bytes.fromhex(sys.stdin.read())
limit = int(sys.argv[2])
if limit:
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    print(len(b"".join(codec.decode(iter([stream])))), "bytes")
except Exception as problem:
    print(type(problem).__name__, problem)
"""
GIB = 1 << 30


def decode(codec: str, stream: bytes, limit: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AGE_TEST_PASSPHRASE", "correct horse")
    command = [sys.executable, "-c", LIMITED, codec, str(limit)]
    done = subprocess.run(command, input=stream.hex(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_zstd_window(monkeypatch: pytest.MonkeyPatch) -> None:
    frame = b"\x28\xb5\x2f\xfd\x00" + bytes([31 - 10 << 3]) + (1 | 1 << 3).to_bytes(3, "little") + b"x"
    assert decode("zstd", frame, 0, monkeypatch) == "1 bytes\n"
    refusal = decode("zstd", frame, GIB, monkeypatch)
    assert refusal.startswith("CouldNotVerify") and "2048 MiB" in refusal


def test_an_xz_dictionary(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = lzma.compress(b"content")
    header = bytearray(stream[12 : 12 + (stream[12] + 1) * 4])
    header[4] = 37  # 1.5 GiB
    header[-4:] = zlib.crc32(header[:-4]).to_bytes(4, "little")
    stream = stream[:12] + bytes(header) + stream[12 + len(header) :]
    assert decode("xz", stream, 0, monkeypatch) == "7 bytes\n"
    refusal = decode("xz", stream, GIB, monkeypatch)
    assert refusal.startswith("CouldNotVerify") and "memory" in refusal


def test_scrypt(monkeypatch: pytest.MonkeyPatch) -> None:
    stanza = "-> scrypt AAAAAAAAAAAAAAAAAAAAAA {}\n" + "A" * 43 + "\n--- " + "A" * 43 + "\n"
    little, much = (f"age-encryption.org/v1\n{stanza.format(factor)}".encode() for factor in (2, 21))
    refusal = decode("age", little, GIB, monkeypatch)
    assert refusal.startswith("CouldNotVerify the passphrase does not open")
    refusal = decode("age", much, GIB, monkeypatch)
    assert refusal.startswith("CouldNotVerify scrypt with a work factor of 21 needs 2048 MiB")
