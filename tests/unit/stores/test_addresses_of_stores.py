"""What stores say of their own addresses, before anything is contacted."""

from __future__ import annotations

import pytest

from restore_drill.registry import BUILT_IN, load
from restore_drill.stores.base import Address

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
USER_AND_HOST = "an sftp: url needs a user and a host"
PARTS = "the path has empty parts, '.' or '..'"
UNSIGNED = "an https: url has neither ? nor #"
ODD_PATH = "the path has empty parts, '.', '..' or spaces"


def troubles(address: Address) -> list[str]:
    """What the store of an address finds wrong with it, and where."""
    found = load("stores", address.scheme).check(address)
    return [each.message if each.at == "url" else f"{each.at}: {each.message}" for each in found]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("sftp://me@host", []),
        ("sftp://me@host/", []),
        ("sftp://me@host:2222/srv/backups/", []),
        ("sftp://me@example.org@host/~/backups", []),
        ("sftp://me@[::1]:22/a b/c%20d?x#y", []),
        ("sftp://host/x", [USER_AND_HOST]),
        ("sftp:me@host:/x", [USER_AND_HOST]),
        ("sftp://me@/x", [USER_AND_HOST]),
        ("sftp://me@host:x/y", [USER_AND_HOST]),
        ("sftp://me@host:0/y", ["the port is none"]),
        ("sftp://me@host:65536/y", ["the port is none"]),
        ("sftp://me@host/a//b", [PARTS]),
        ("sftp://me@host/a/../b", [PARTS]),
        ("sftp://me@host//", [PARTS]),
        ("https://host/a/b%20c/", []),
        ("https://host:8443", []),
        ("http://[::1]:80/x", []),
        ("https:///x", ["an https: url needs a host"]),
        ("https:host/x", ["an https: url needs a host"]),
        ("https://host:x/", ["an https: url needs a host"]),
        ("https://[::1/", ["an https: url needs a host"]),
        ("https://host/x?a=1", [UNSIGNED]),
        ("https://host/x#a", [UNSIGNED]),
        ("https://host/a//b", [ODD_PATH]),
        ("https://host/a/../b", [ODD_PATH]),
        ("https://host/a b", [ODD_PATH]),
    ],
)
def test_urls(url: str, expected: list[str]) -> None:
    assert troubles(Address(url)) == expected


@pytest.mark.parametrize(
    ("options", "credentials", "expected"),
    [
        ({"known_hosts": "a", "jump": "me@bastion", "agent": True}, {"private_key", "passphrase"}, []),
        ({"host_key": [KEY, f"{KEY} root@host"]}, {"password"}, []),
        ({"host_key": [KEY], "known_hosts": "a"}, set(), ["host_key: known_hosts and host_key both say whom to trust"]),
        ({"host_key": ["SHA256:abc"]}, set(), ["host_key: host_key is no public key"]),
        ({"jump": "bastion"}, set(), ["jump: jump names no user and host"]),
        ({"jump": "me@b", "host_key": [KEY]}, set(), ["host_key: host_key is of one host, and a jump needs two"]),
        ({}, {"passphrase"}, ["passphrase: passphrase without private_key opens nothing"]),
    ],
)
def test_what_stands_beside_an_sftp_url(options: dict[str, object], credentials: set[str], expected: list[str]) -> None:
    assert troubles(Address("sftp://me@host/x", options, frozenset(credentials))) == expected


@pytest.mark.parametrize(
    ("url", "options", "credentials", "expected"),
    [
        ("https://h/x", {"hosts": ["cdn"], "ca_file": "ca.pem"}, {"username", "password"}, []),
        ("https://h/x", {"token_header": "PRIVATE-TOKEN"}, {"token"}, []),
        ("http://h/x", {}, {"url"}, []),
        ("http://localhost:80/x", {}, {"token"}, []),
        ("http://127.evil.example/x", {}, {"token"}, ["credentials would go over the network unencrypted"]),
        ("http://h/x", {}, {"token"}, ["credentials would go over the network unencrypted"]),
        ("https://h/x", {}, {"token", "query"}, ["credentials: the credentials say several things about who asks"]),
        ("https://h/x", {}, {"password"}, ["password: a password needs its username"]),
        ("https://h/x", {"token_header": "X"}, set(), ["token_header: token_header without a token says nothing"]),
        ("https://h/x", {"index": "SUMS"}, {"url"}, ["index: a presigned url is one object: nothing is listed"]),
    ],
)
def test_what_stands_beside_an_http_url(
    url: str, options: dict[str, object], credentials: set[str], expected: list[str]
) -> None:
    assert troubles(Address(url, options, frozenset(credentials))) == expected


@pytest.mark.parametrize(
    ("url", "options", "credentials", "expected"),
    [
        ("az://backups/a/b/", {"account": "acme1"}, {"account_key"}, []),
        ("az://b/x", {"account": "acme.evil/"}, set(), ["account: account is no storage account's name"]),
        ("az://b", {"account": "acme1"}, {"account_key", "sas_token"},
         ["sas_token: the credentials say several things about who asks"]),
        ("az://b", {"anonymous": True}, {"sas_token"}, ["anonymous: anonymous and credentials contradict each other"]),
        ("az://b", {"endpoint": "http://h:1"}, {"sas_token"},
         ["endpoint: credentials would go over the network unencrypted"]),
        ("az://b", {"endpoint": "http://127.0.0.1:1"}, {"sas_token"}, []),
        ("az:b/x", {}, set(), ["this az: url has no container's name"]),
        ("az://B@d/x", {}, set(), ["this az: url has no container's name"]),
        ("gs://my.bucket_1/x", {}, {"token"}, []),
        ("gs://b1/a//b", {}, set(), ["the prefix has empty parts, '.', '..' or control characters"]),
        ("gs://b1/a/..", {}, set(), ["the prefix has empty parts, '.', '..' or control characters"]),
        ("gs://b1/a?x=1", {}, set(), ["this gs: url has ? or #"]),
        ("rclone:vault:", {}, set(), []),
        ("rclone:my vault:/srv/x y", {"config": "a"}, {"config_password"}, []),
        ("rclone:vault", {}, set(), ["an rclone: url needs the name of a remote"]),
        ("rclone::sftp,host=x:y", {}, set(), ["an rclone: url needs the name of a remote"]),
        ("rclone:vault,ssh=x:y", {}, set(), ["an rclone: url needs the name of a remote"]),
        ("rclone:--config:y", {}, set(), ["an rclone: url needs the name of a remote"]),
        ("rclone:vault:a/../b", {}, set(), ["the path has empty parts, '.' or '..'"]),
        ("rclone:vault:a/..", {}, set(), ["the path has empty parts, '.' or '..'"]),
        ("rclone:vault:a", {"config": "a"}, {"config_text"},
         ["config_text: config and config_text say the same thing twice"]),
    ],
)  # fmt: skip
def test_clouds_and_remotes(url: str, options: dict[str, object], credentials: set[str], expected: list[str]) -> None:
    assert troubles(Address(url, options, frozenset(credentials))) == expected


def test_every_host_of_an_address_is_named() -> None:
    jump = Address("sftp://me@host:22/x", {"jump": "me@bastion"})
    assert list(load("stores", "sftp").hosts(jump)) == [("url", "//me@host:22/x"), ("jump", "//me@bastion")]
    cdn = Address("https://host/x", {"hosts": ["cdn:1", "other"]})
    assert list(load("stores", "https").hosts(cdn)) == [("url", "//host/x"), ("hosts", "//cdn:1"), ("hosts", "//other")]
    assert list(load("stores", "file").hosts(Address("file:///x"))) == []


@pytest.mark.parametrize("name", BUILT_IN["stores"])
def test_what_a_store_declares_stands_in_the_docs(name: str) -> None:
    from pathlib import Path

    page = (Path(__file__).parents[3] / "docs" / "formats.md").read_text("utf-8")
    section = page.partition("\n## Stores\n")[2].partition("\n## ")[0]
    kind = load("stores", name)
    named = {*kind.options, *kind.credentials, *(f"{scheme}:" for scheme in kind.schemes)}
    assert [each for each in sorted(named) if f"`{each}" not in section] == []
