"""Values of files that SOPS encrypted to age recipients (https://getsops.io/docs, sections on encryption and MAC).

A file keeps its keys in the clear and each value as ``ENC[AES256_GCM,…]``, sealed with a data key and authenticated
with the value's path; the data key stands in the file once for each recipient. The whole is covered by a MAC over all
values in their order. Here the data key is unwrapped, the MAC is checked and one value is returned: in memory, without
a program.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from restore_drill.errors import SecretUnavailable

_MOST = 4 << 20
_DEEPEST = 50
_VALUE = re.compile(
    r"ENC\[AES256_GCM,data:(?P<data>[^,\]]*),iv:(?P<iv>[^,\]]+),tag:(?P<tag>[^,\]]+),type:(?P<type>[a-z]+)\]"
)
_STEP = re.compile(r'\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]')
_LIST_ITEM = re.compile(r"sops_(?P<kind>[a-z_]+?)__list_(?P<index>\d+)__map_(?P<name>\w+)")
#: What the MAC begins with where it covers encrypted values alone (``MACOnlyEncryptedInitialization`` of SOPS).
_ENCRYPTED_ONLY = bytes.fromhex("8a3fd2ad54ce66527b1034f3d147be0b0b975b3bf44f72c6fdadec8176f27d69")
_COMMAND = "{command: [sops, --decrypt, --extract, '[\"KEY\"]', FILE]}"

#: A mapping as it stands in the file: its order counts.
Branch = list[tuple[str, Any]]


@dataclass(frozen=True, slots=True)
class _Leaf:
    """A scalar, and the names that lead to it."""

    path: tuple[str, ...]
    value: Any


def value_of(path: Path, key: str, identities: str) -> bytes:
    """Decrypt one value of a file; text in UTF-8, numbers as they are written.

    Args:
        path: The file: YAML, JSON (also of a binary file, whose key is ``data``) or dotenv, told by its ending.
        key: Names divided by dots, or ``["name"]["other"][0]`` as ``sops --extract`` takes it.
        identities: Age identities, as age-keygen writes them, or one ssh key.

    Raises:
        SecretUnavailable: It cannot be read, is not encrypted, was altered, or no identity opens it.
    """
    tree, metadata = _read(path)
    data_key = _data_key(path, metadata, identities)
    leaves = list(_leaves(tree, (), 0))
    _check_mac(path, leaves, metadata, data_key)
    wanted = _find(path, tree, key)
    if isinstance(wanted.value, str) and _VALUE.fullmatch(wanted.value):
        return _open(path, wanted, data_key)
    raise _problem(path, f"{key} is not encrypted in it", "Encrypt it with sops, or name another key.")


def _read(path: Path) -> tuple[Branch, dict[str, Any]]:
    """The values, and what SOPS says of itself."""
    try:
        raw = path.read_bytes()
    except OSError as problem:
        raise _problem(path, f"cannot be read: {problem.strerror}", "Put it there, or name another file.") from problem
    if len(raw) > _MOST:
        raise _problem(path, "is too large for a file of secrets", "Name another file.")
    try:
        tree = _parse(raw.decode("utf-8"), path.suffix)
    except (ValueError, RecursionError) as problem:
        raise _problem(path, "is no file that can be read as its ending says", "Name a YAML, JSON or .env file.") from (
            problem
        )
    metadata = dict(tree).get("sops")
    if not isinstance(metadata, list) or not all(isinstance(item, tuple) for item in metadata):
        raise _problem(path, "is not encrypted by SOPS: it has no part called sops", "Encrypt it: sops --encrypt.")
    return [item for item in tree if item[0] != "sops"], dict(metadata)


def _parse(text: str, suffix: str) -> Branch:
    if suffix == ".env":
        return _parse_dotenv(text)
    tree = _parse_yaml(text) if suffix in (".yaml", ".yml") else json.loads(text, object_pairs_hook=list)
    if not isinstance(tree, list) or not all(isinstance(item, tuple) for item in tree):
        raise ValueError("not a mapping")
    return tree


def _parse_yaml(text: str) -> Any:
    import yaml

    try:
        node = yaml.compose(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as problem:
        raise ValueError("not YAML") from problem
    return _of_node(node, 0)


def _of_node(node: Any, depth: int) -> Any:
    import yaml

    if depth > _DEEPEST:
        raise ValueError("too deep")
    if isinstance(node, yaml.MappingNode):
        return [(str(key.value), _of_node(value, depth + 1)) for key, value in node.value]
    if isinstance(node, yaml.SequenceNode):
        return [_of_node(each, depth + 1) for each in node.value]
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return None
    kinds: dict[str, Callable[[str], Any]] = {"int": int, "float": float, "bool": lambda text: text.lower() == "true"}
    convert = kinds.get(node.tag.rpartition(":")[2])
    if convert is None or (convert is not int and node.value.lower() in ("yes", "no", "on", "off")):
        return node.value
    return convert(node.value)


def _parse_dotenv(text: str) -> Branch:
    tree: Branch = []
    metadata: Branch = []
    lists: dict[str, dict[int, Branch]] = {}
    for line in text.splitlines():
        name, equals, value = line.partition("=")
        if not line.strip() or line.startswith("#"):
            continue
        if not equals:
            raise ValueError("not a line of a .env file")
        value = value.replace("\\n", "\n")
        if match := _LIST_ITEM.fullmatch(name):
            lists.setdefault(match["kind"], {}).setdefault(int(match["index"]), []).append((match["name"], value))
        elif name.startswith("sops_"):
            metadata.append((name.removeprefix("sops_"), value == "true" if value in ("true", "false") else value))
        else:
            tree.append((name, value))
    metadata += [(kind, [items[index] for index in sorted(items)]) for kind, items in lists.items()]
    return [*tree, ("sops", metadata)] if metadata else tree


def _data_key(path: Path, metadata: dict[str, Any], identities: str) -> bytes:
    if metadata.get("shamir_threshold") not in (None, 0, "0") or metadata.get("key_groups"):
        raise _problem(path, "divides its data key among groups, which is not read here", f"Use {_COMMAND}.")
    recipients = [dict(each) for each in metadata.get("age") or [] if isinstance(each, list)]
    if not recipients:
        raise _problem(path, "is encrypted to no age recipient", f"Add one with sops, or use {_COMMAND}.")
    held = list(_identities(path, identities))
    import pyrage

    for recipient in recipients:
        try:
            data_key = bytes(pyrage.decrypt(_unarmored(str(recipient.get("enc", ""))), held))
        except (pyrage.DecryptError, ValueError):
            continue
        if len(data_key) == 32:
            return data_key
    names = ", ".join(str(recipient.get("recipient", "?")) for recipient in recipients[:3])
    raise _problem(path, f"opens with no identity that is held: it is encrypted to {names}", "Give another identity.")


def _unarmored(text: str) -> bytes:
    lines = [line.strip() for line in text.strip().splitlines()]
    return base64.b64decode("".join(line for line in lines if not line.startswith("-----")), validate=True)


def _identities(path: Path, text: str) -> Iterator[Any]:
    import pyrage

    found = False
    try:
        if text.lstrip().startswith("-----BEGIN "):
            yield pyrage.ssh.Identity.from_buffer((text.strip() + "\n").encode())
            return
        for line in text.splitlines():
            if line.strip() and not line.lstrip().startswith("#"):
                found = True
                yield pyrage.x25519.Identity.from_str(line.strip())
    except pyrage.IdentityError as problem:
        raise _problem(
            path, "cannot be opened: the identity is none of age", "Give what age-keygen wrote."
        ) from problem
    if not found:
        raise _problem(path, "cannot be opened: the identity is empty", "Give what age-keygen wrote.")


def default_identities(path: Path) -> str:
    """What SOPS itself would open a file with: SOPS_AGE_KEY, SOPS_AGE_KEY_FILE, or keys.txt of this user.

    Raises:
        SecretUnavailable: There is none.
    """
    if text := os.environ.get("SOPS_AGE_KEY"):
        return text
    configuration = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    place = Path(os.environ.get("SOPS_AGE_KEY_FILE") or Path(configuration, "sops", "age", "keys.txt"))
    try:
        return place.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise _problem(
            path,
            f"cannot be opened: no identity is given, and {place} cannot be read",
            "Export SOPS_AGE_KEY_FILE, or write {sops: FILE#KEY, identity: env:NAME}.",
        ) from problem


def _leaves(value: Any, path: tuple[str, ...], depth: int) -> Iterator[_Leaf]:
    if isinstance(value, list):
        for item in value:
            if isinstance(item, tuple):
                yield from _leaves(item[1], (*path, item[0]), depth + 1)
            else:
                yield from _leaves(item, path, depth + 1)  # what stands in a list has the path of the list
    elif value is not None:
        yield _Leaf(path, value)


def _check_mac(path: Path, leaves: list[_Leaf], metadata: dict[str, Any], data_key: bytes) -> None:
    only_encrypted = metadata.get("mac_only_encrypted") in (True, "true")
    digest = hashlib.sha512(_ENCRYPTED_ONLY if only_encrypted else b"")
    for leaf in leaves:
        if isinstance(leaf.value, str) and _VALUE.fullmatch(leaf.value):
            digest.update(_open(path, leaf, data_key))
        elif not only_encrypted:
            digest.update(_bytes(leaf.value))
    sealed = metadata.get("mac")
    if not isinstance(sealed, str) or not _VALUE.fullmatch(sealed):
        raise _altered(path)
    recorded = _open(path, _Leaf((), sealed), data_key, str(metadata.get("lastmodified", "")))
    if not hmac.compare_digest(recorded.decode("ascii", "replace").upper(), digest.hexdigest().upper()):
        raise _altered(path)


def _bytes(value: Any) -> bytes:
    """A plain value as SOPS writes it into the MAC."""
    if isinstance(value, bool):
        return str(value).encode()
    if isinstance(value, float):
        text = format(Decimal(repr(value)), "f")
        return (text.rstrip("0").rstrip(".") if "." in text else text).encode()
    return str(value).encode()


def _open(path: Path, leaf: _Leaf, data_key: bytes, context: str | None = None) -> bytes:
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    match = _VALUE.fullmatch(leaf.value)
    assert match  # noqa: S101 - the caller looked
    aad = context if context is not None else ":".join(leaf.path) + ":"
    try:
        data, nonce, tag = (base64.b64decode(match[name], validate=True) for name in ("data", "iv", "tag"))
        return AESGCM(data_key).decrypt(nonce, data + tag, aad.encode())
    except (binascii.Error, InvalidTag, ValueError) as problem:
        raise _altered(path) from problem


def _find(path: Path, tree: Branch, key: str) -> _Leaf:
    steps = list(_steps(path, key))
    value: Any = tree
    names: tuple[str, ...] = ()
    for step in steps:
        items = value if isinstance(value, list) else []
        if items and isinstance(items[0], tuple):
            found = [each for name, each in items if name == step]
            names = (*names, step)
        else:
            found = items[int(step) :][:1] if step.isdigit() else []
        if not found:
            raise _problem(path, f"has no value at {key}", "Name a key that is in it.")
        value = found[0]
    if isinstance(value, list) or value is None:
        raise _problem(path, f"has a part, and no value, at {key}", "Name one value.")
    return _Leaf(names, value)


def _steps(path: Path, key: str) -> Iterator[str]:
    if not key.startswith("["):
        yield from key.split(".")
        return
    position = 0
    while position < len(key):
        match = _STEP.match(key, position)
        if match is None:
            raise _problem(path, f"cannot be asked for {key}", 'Write key.key, or ["key"]["key"][0].')
        yield match[2] or match[1].replace('\\"', '"')
        position = match.end()


def _altered(path: Path) -> SecretUnavailable:
    return _problem(
        path,
        "was altered since SOPS wrote it: its values do not match its MAC",
        "Edit it with sops only; take it from version control again.",
    )


def _problem(path: Path, what: str, remedy: str) -> SecretUnavailable:
    return SecretUnavailable(f"the SOPS file {path} {what}", remedy=remedy)
