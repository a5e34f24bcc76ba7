"""Extended attributes and POSIX access lists: out of pax records and off a disk, and onto the restored tree.

Restored are ``user.*`` and access lists; ``trusted.*`` where this process has CAP_SYS_ADMIN, which a confined sandbox
has not; file capabilities as root, and only where the catalogue allows set-id bits, as they are worth the same. Labels
of security modules and NFSv4 access lists are not. What cannot be restored is noted with a count.

Sources: xattr(7), acl(5), the GNU tar manual (``--xattrs``, ``--acls``), star(5), libarchive's tar(5); the binary form
of an access list is that of the kernel's ``include/uapi/linux/posix_acl_xattr.h``.
"""

from __future__ import annotations

import base64
import binascii
import errno
import grp
import os
import pwd
import struct
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import unquote_to_bytes

#: Name → value, as the kernel has them; a value of ``None`` stands for what cannot be restored.
Attributes = Mapping[bytes, bytes | None]
Note = Callable[[str], None]

#: Remarks; the first counts what worked, and is told apart by whoever prints remarks.
KEPT = "members whose extended attributes or access lists were restored"
NOT_KEPT = "members whose extended attributes or access lists were not restored"
_NO_CAPABILITIES = "members whose file capabilities were not restored; limits.allow: [setuid] restores them"
_NO_LABELS = "members whose labels of a security module were not restored"

CAPABILITY = b"security.capability"
_ACL = {b"SCHILY.acl.access": b"system.posix_acl_access", b"SCHILY.acl.default": b"system.posix_acl_default"}
_ACCESS, _ = _LISTS = tuple(_ACL.values())
_SCHILY, _LIBARCHIVE = b"SCHILY.xattr.", b"LIBARCHIVE.xattr."
_LABEL, _SELINUX = b"RHT.security.selinux", b"security.selinux"
#: What a pax record may say of attributes.
PREFIXES = (_SCHILY, _LIBARCHIVE, b"SCHILY.acl.", b"RHT.security.")
_NAMESPACES = (b"user.", b"trusted.", *_ACL.values(), CAPABILITY)
_HEADER, _ENTRY = struct.Struct("<I"), struct.Struct("<HHI")
_VERSION, _NOBODY = 2, 0xFFFFFFFF
#: Tag of an entry → its number, and that of one with a qualifier.
_TAGS = {"user": (0x01, 0x02), "group": (0x04, 0x08), "mask": (0x10, 0), "other": (0x20, 0)}
_MOST_ENTRIES = 4096
#: No kernel keeps more of one file (XATTR_SIZE_MAX, in base64; XATTR_LIST_MAX).
_MOST_BYTES, _MOST_ATTRIBUTES, _TOO_MUCH = 88 << 10, 1024, b"too much"
#: What a file system without attributes, or this user, answers.
_UNABLE = frozenset(
    {errno.ENOTSUP, errno.EPERM, errno.EACCES, errno.ENOSPC, errno.E2BIG, errno.ERANGE, errno.EINVAL, errno.EOPNOTSUPP}
)


def take(key: bytes, value: bytes, found: dict[bytes, bytes | None]) -> None:
    """Add to those found what a pax record says (its keyword has one of :data:`PREFIXES`).

    libarchive writes each attribute in two ways, both with a name encoded as in a URL: the first is believed.
    """
    if len(value) > _MOST_BYTES or len(found) >= _MOST_ATTRIBUTES:
        found[_TOO_MUCH] = None
    elif key.startswith(_LIBARCHIVE):
        encoded = key[len(_LIBARCHIVE) :]
        found.pop(_unquoted(encoded), None)
        found[unquote_to_bytes(encoded)] = _decoded(value)
    elif not key.startswith(_SCHILY):
        name = _ACL.get(key) or (_SELINUX if key == _LABEL else key)
        found[name] = binary_acl(value) if key in _ACL else None
    elif unquote_to_bytes(key[len(_SCHILY) :]) not in found:
        found[_unquoted(key[len(_SCHILY) :])] = value


def _decoded(value: bytes) -> bytes | None:
    try:
        return base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _unquoted(name: bytes) -> bytes:
    """GNU tar writes ``=`` and ``%`` of a name so that the keyword of a record can be told from its value."""
    return name.replace(b"%3D", b"=").replace(b"%25", b"%")


def of_file(descriptor: int) -> dict[bytes, bytes | None]:
    """Those of an open file or directory that can be restored; labels belong to the disk they lie on."""
    try:
        names = os.listxattr(descriptor)
    except OSError as problem:
        if problem.errno in _UNABLE:
            return {}
        raise
    found: dict[bytes, bytes | None] = {}
    for name in names:
        raw = os.fsencode(name)
        if raw.startswith(_NAMESPACES):
            found[raw] = _value(descriptor, name)
    return found


def _value(descriptor: int, name: str) -> bytes | None:
    try:
        return os.getxattr(descriptor, name)
    except OSError as problem:
        if problem.errno in (*_UNABLE, errno.ENODATA):
            return None
        raise


def restore(descriptor: int, attributes: Attributes, mode: int, note: Note, *, capabilities: bool) -> None:
    """Give them and a mode to an open file or directory of the restored tree, whose owner is set already.

    Between the two the mode is set: a user may not give attributes to what he may not write, and an access list says
    more of the mode than some archivers' headers do. What its owner may do by the mode he may do by the list as well.
    """
    lost = kept = False
    if not mode & 0o200:
        os.fchmod(descriptor, 0o700)
    for name, value in sorted(attributes.items(), key=lambda pair: pair[0] in _LISTS):
        if name in _LISTS and mode >= 0:
            os.fchmod(descriptor, mode)
            mode, owners = -1, mode
        if name == CAPABILITY and not capabilities:
            note(_NO_CAPABILITIES)
        elif name.startswith(b"security.") and name != CAPABILITY:
            note(_NO_LABELS)
        elif value is None or b"\0" in name or not name.startswith(_NAMESPACES):
            lost = True
        elif _set(descriptor, name, _for_owner(value, owners) if name == _ACCESS else value):
            kept = True
        else:
            lost = True
    if mode >= 0:
        os.fchmod(descriptor, mode)
    if kept:
        note(KEPT)
    if lost:
        note(NOT_KEPT)


def _for_owner(value: bytes, mode: int) -> bytes:
    """An access list that allows the owner no less than the mode does."""
    entries = [list(entry) for entry in _ENTRY.iter_unpack(value[_HEADER.size :])] if len(value) % 8 == 4 else []
    for entry in entries:
        if entry[0] == _TAGS["user"][0]:
            entry[1] |= mode >> 6 & 7
    return value[: _HEADER.size] + b"".join(_ENTRY.pack(*entry) for entry in entries) if entries else value


def _set(descriptor: int, name: bytes, value: bytes) -> bool:
    try:
        os.setxattr(descriptor, name, value)
    except OSError as problem:
        if problem.errno not in _UNABLE:
            raise
        return False
    return True


def pack(attributes: Attributes) -> bytes:
    """Them as one word without whitespace, for a spool."""
    return b",".join(
        b"%s=%s" % (name.hex().encode(), b"-" if value is None else value.hex().encode())
        for name, value in attributes.items()
    )


def unpack(word: bytes) -> dict[bytes, bytes | None]:
    """The inverse of :func:`pack`."""
    pairs = (each.partition(b"=") for each in word.split(b",") if each)
    return {
        bytes.fromhex(name.decode()): None if value == b"-" else bytes.fromhex(value.decode())
        for name, _, value in pairs
    }


def binary_acl(text: bytes) -> bytes | None:
    """An access list as the kernel takes it, from its text form; ``None`` if it cannot be read or names a stranger.

    Entries stand between commas or line ends as ``user:NAME:rwx``, in star's form with the number at the end
    (``user:NAME:rwx:1000``). A name without a number is looked up on this machine, as tar itself does.
    """
    lines = [line.partition("#")[0].strip() for line in text.decode("utf-8", "replace").replace(",", "\n").split("\n")]
    entries = [_acl_entry(line) for line in lines if line]
    if not entries or len(entries) > _MOST_ENTRIES:
        return None
    return _packed(entries)


def _packed(entries: Sequence[tuple[int, int, int] | None]) -> bytes | None:
    known = [entry for entry in entries if entry is not None]
    if len(known) != len(entries):
        return None
    ordered = sorted(known, key=lambda entry: (entry[0], entry[2]))
    return _HEADER.pack(_VERSION) + b"".join(_ENTRY.pack(*entry) for entry in ordered)


def _acl_entry(line: str) -> tuple[int, int, int] | None:
    """Tag, permissions and number of one entry."""
    tag, *parts = line.split(":")
    if tag not in _TAGS or not 1 <= len(parts) <= 3:
        return None
    if len(parts) == 1:  # mask and other may leave out the empty qualifier
        parts = ["", *parts]
    who, permissions, *number = parts
    allowed = sum(value for char, value in zip("rwx", (4, 2, 1), strict=True) if char in permissions)
    if set(permissions) - set("rwx-") or len(permissions) != 3:
        return None
    if not who:
        return _TAGS[tag][0], allowed, _NOBODY
    found = _number(tag, who, number[0] if number else "")
    return (_TAGS[tag][1], allowed, found) if found is not None and _TAGS[tag][1] else None


def _number(tag: str, who: str, number: str) -> int | None:
    text = number or who
    if text.isascii() and text.isdecimal():
        return int(text) if int(text) < _NOBODY else None
    try:
        return pwd.getpwnam(who).pw_uid if tag == "user" else grp.getgrnam(who).gr_gid
    except KeyError:
        return None
