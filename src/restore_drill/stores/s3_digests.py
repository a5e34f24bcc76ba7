"""What S3 keeps about an object's bytes: additional checksums, and digests in the user's own metadata.

An additional checksum of a multipart upload is either of the whole object or of its parts' checksums (``COMPOSITE``,
written with ``-N`` behind it; S3 User Guide, checking object integrity). SHA-1 and SHA-256 of several parts are always
composite, CRC-64/NVME never is. An ETag is no digest, of a single part neither: encryption changes it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from restore_drill.digests import canonical, find, from_base64
from restore_drill.errors import BackupFailed, CouldNotVerify
from restore_drill.model import Stage
from restore_drill.stores.base import ProviderDigest

#: The ETag of a multipart upload.
_PARTS = re.compile(r'"?[0-9A-Fa-f]{32}-(?P<count>\d+)"?')
#: Names of metadata that say what their value is, around the name of the algorithm.
_NAME = re.compile(
    r"(?:x-)?(?:checksum-|content-|digest-|file-)?(?P<algorithm>.+?)(?:-?(?:chksum|checksum|digest|hash|sum))?"
)
#: What ``s3cmd`` keeps of a file, fields divided by slashes.
_S3CMD = re.compile(r"(?:\A|/)md5:(?P<digest>[0-9A-Fa-f]{32})(?:/|\Z)")
#: How many parts are asked for one by one, where the server does not list them.
_MOST_ASKED = 1000


@dataclass(frozen=True, slots=True)
class Checksum:
    """One additional checksum.

    Attributes:
        value: In base64, as the server sends it.
        count: Of how many parts' checksums it is one; 0 where it is of the whole object.
    """

    algorithm: str
    value: str
    field: str
    count: int = 0


def checksums(answer: Mapping[str, Any], where: str) -> Iterator[Checksum]:
    """The additional checksums in an answer to HEAD.

    Raises:
        CouldNotVerify: The server does not say whether one is of the object or of its parts.
    """
    multipart = _PARTS.fullmatch(str(answer.get("ETag") or ""))
    for name, written in answer.items():
        if not name.startswith("Checksum") or name == "ChecksumType":
            continue
        spelled = name.removeprefix("Checksum")
        algorithm, field = canonical(spelled) or spelled.lower(), f"x-amz-checksum-{spelled.lower()}"
        value, _, suffix = str(written).partition("-")
        kind = answer.get("ChecksumType")
        if suffix.isdigit():
            yield Checksum(algorithm, value, field, int(suffix))
        elif multipart and kind is None and algorithm in ("crc32", "crc32c"):
            raise CouldNotVerify(
                f"the S3 server does not say whether its {algorithm} is of the object or of its parts",
                looked_at=where,
                remedy="Record a digest beside the artifact instead: sha256sum FILE > FILE.sha256.",
                stage=Stage.VERIFY,
            )
        elif kind == "COMPOSITE" or (multipart and kind is None and algorithm != "crc64nvme"):
            yield Checksum(algorithm, value, field, int(multipart["count"]) if multipart else 1)
        else:
            yield Checksum(algorithm, value, field)


def provided(checksum: Checksum, parts: tuple[int, ...], where: str) -> ProviderDigest:
    """An additional checksum as the contract has it.

    Raises:
        BackupFailed: It is no base64 of the right length (stage ``verify``).
    """
    value = from_base64(checksum.value, checksum.algorithm) if find(checksum.algorithm) else checksum.value
    if not value:
        raise _malformed(checksum.field, where)
    return ProviderDigest(checksum.algorithm, value, checksum.field, parts=parts)


def of_metadata(metadata: Mapping[str, str], where: str) -> Iterator[ProviderDigest]:
    """Digests that whoever uploaded the object wrote into its metadata (names in lower case).

    Raises:
        BackupFailed: What is called a digest is none (stage ``verify``).
    """
    for name, text in metadata.items():
        field = f"user metadata {name}"
        if name == "s3cmd-attrs":
            if found := _S3CMD.search(text):
                yield ProviderDigest("md5", found["digest"].lower(), field, by_uploader=True)
            continue
        match = _NAME.fullmatch(name)
        algorithm = find(canonical(match["algorithm"])) if match else None
        if algorithm is None:
            continue
        value = text.strip()
        is_hex = re.fullmatch(r"[0-9A-Fa-f]+", value) and len(value) == algorithm.length
        digest = value.lower() if is_hex else from_base64(value, algorithm.name)
        if not digest:
            raise _malformed(field, where)
        yield ProviderDigest(algorithm.name, digest, field, by_uploader=True)


def too_many(count: int, where: str) -> CouldNotVerify:
    """The error for parts that can be neither listed nor asked for one by one."""
    return CouldNotVerify(
        f"the S3 server does not list the sizes of the {count} parts that its checksum is of",
        looked_at=where,
        remedy="Allow s3:GetObjectAttributes for the drill's key, or record a digest beside the artifact.",
        stage=Stage.VERIFY,
    )


def may_be_asked(count: int) -> bool:
    """Whether the parts are few enough to ask for each."""
    return count <= _MOST_ASKED


def _malformed(field: str, where: str) -> BackupFailed:
    return BackupFailed(
        f"the digest that the store keeps cannot be used: {field} is damaged",
        looked_at=where,
        remedy="Upload the backup again with a client that writes it, or record the digest beside it.",
        stage=Stage.VERIFY,
    )
