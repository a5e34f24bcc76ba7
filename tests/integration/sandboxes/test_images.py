"""Which image a sandbox is made from: present, pulled and pinned, against a real engine and a real registry."""

from __future__ import annotations

import base64
import json
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.support.registry import PASSWORD, USER, Registry, registry, tiny

from restore_drill.errors import CouldNotVerify, DeadlineExceeded
from restore_drill.sandboxes.base import Need, SandboxOptions, Volume
from restore_drill.sandboxes.containers import description, references
from restore_drill.sandboxes.containers.client import Engine, connect
from restore_drill.sandboxes.containers.images import Image, resolve
from restore_drill.sandboxes.containers.pulling import pull

NEED = Need("tinydb", "15.4", programs=("tinyd",), image="registry.invalid/tinydb:15")
NOWHERE = "sha256:" + "0" * 64


@pytest.fixture(scope="module")
def engine(require_engine: Any) -> Engine:
    return connect()


@pytest.fixture(scope="module")
def hub(
    tmp_path_factory: pytest.TempPathFactory, require_engine: Any, require_program: Callable[[str], str]
) -> Iterator[Registry]:
    with registry(tmp_path_factory.mktemp("registry"), require_engine, require_program) as running:
        yield running


@pytest.fixture(scope="module")
def private(
    tmp_path_factory: pytest.TempPathFactory, require_engine: Any, require_program: Callable[[str], str]
) -> Iterator[Registry]:
    where = tmp_path_factory.mktemp("private")
    with registry(where, require_engine, require_program, passwords=True) as running:
        running.push("acme/secret:1")
        yield running


def _resolve(engine: Engine, image: str, pull: str = "missing", need: Need = NEED) -> Image:
    return resolve(engine, need, SandboxOptions(image=image, pull=pull))


def _refused(engine: Engine, image: str, pull: str = "missing", need: Need = NEED) -> str:
    with pytest.raises(CouldNotVerify) as refused:
        _resolve(engine, image, pull, need)
    assert refused.value.remedy
    return str(refused.value)


def test_a_missing_image_is_pulled_once(engine: Engine, hub: Registry) -> None:
    name = f"{hub.address}/acme/once:15"
    digest = hub.push("acme/once:15", version="15.4 of acme")
    first = _resolve(engine, f"{hub.address}/acme/once:{{major}}")
    second = _resolve(engine, name)
    assert (first.pulled, second.pulled, first.id) == (True, False, second.id)
    assert first.facts() == {
        "image": name,
        "image_id": first.id,
        "image_digests": [f"{hub.address}/acme/once@{digest}"],
        "image_created": "2026-01-02T03:04:05Z",
        "image_platform": f"linux/{engine.version['Arch']}",
        "image_labels": {"org.opencontainers.image.version": "15.4 of acme"},
        "image_pulled": True,
        "image_pull_seconds": round(first.pull_seconds, 3),
    }
    assert first.pull_seconds > second.pull_seconds == 0
    assert (first.user, first.environment["COLOUR"]) == ("nobody", "red")


def test_only_always_looks_for_a_newer_image(engine: Engine, hub: Registry) -> None:
    name = f"{hub.address}/acme/moving:1"
    hub.push("acme/moving:1")
    old = _resolve(engine, name)
    engine.api.tag(old.id, f"{hub.address}/acme/kept", "1")
    new = hub.push("acme/moving:1")
    engine.api.tag(old.id, f"{hub.address}/acme/moving", "1")
    assert [_resolve(engine, name, policy).id for policy in ("missing", "never")] == [old.id, old.id]
    fresh = _resolve(engine, name, "always")
    assert fresh.pulled
    assert f"{hub.address}/acme/moving@{new}" in fresh.digests
    assert fresh.id != old.id


def test_what_may_not_be_pulled_is_not(engine: Engine, hub: Registry) -> None:
    hub.push("acme/never:1")
    message = _refused(engine, f"{hub.address}/acme/never:1", "never")
    assert f"the image {hub.address}/acme/never:1 is not in the container engine, and may not be pulled" in message
    assert f"docker pull {hub.address}/acme/never:1" in message
    assert "sandbox: directory" in message
    assert _resolve(engine, f"{hub.address}/acme/never:1").pulled


def test_a_pin_gets_the_pinned_image_whatever_its_tag_has_become(engine: Engine, hub: Registry) -> None:
    pinned = hub.push("acme/pinned:1", version="pinned")
    other = hub.push("acme/pinned:1", version="other")
    # Even where the moved tag is what lies in the engine.
    assert _resolve(engine, f"{hub.address}/acme/pinned:1").labels["org.opencontainers.image.version"] == "other"
    for policy in ("missing", "always", "never"):
        image = _resolve(engine, f"{hub.address}/acme/pinned:1@{pinned}", policy)
        assert image.labels["org.opencontainers.image.version"] == "pinned"
        assert f"{hub.address}/acme/pinned@{pinned}" in image.digests
    assert _resolve(engine, f"{hub.address}/acme/pinned@{other}", "never").digests == (
        f"{hub.address}/acme/pinned@{other}",
    )


def test_a_tag_that_moved_under_its_pin_is_refused(engine: Engine, hub: Registry) -> None:
    pinned = hub.push("acme/moved:1")
    hub.withdraw("acme/moved", pinned)
    hub.push("acme/moved:1")
    moved = _resolve(engine, f"{hub.address}/acme/moved:1")
    message = _refused(engine, f"{hub.address}/acme/moved:1@{pinned}", "never")
    assert f"is not the one that it is pinned to but {moved.id}" in message
    message = _refused(engine, f"{hub.address}/acme/moved:1@{pinned}")
    assert (
        f"acme/moved:1@{pinned} is not in the container engine and cannot be pulled: the registry does not" in message
    )


def test_an_image_of_this_machine_is_pinned_by_its_id(engine: Engine, hub: Registry, require_engine: Any) -> None:
    name = f"{hub.address}/acme/local:1"
    identity = tiny(require_engine, name)
    assert _resolve(engine, f"{name}@{identity}", "never").id == identity
    # The id exists, but bears another name.
    assert "may not be pulled" in _refused(engine, f"{hub.address}/acme/elsewhere:1@{identity}", "never")
    tiny(require_engine, name)
    assert "is not the one that it is pinned to" in _refused(engine, f"{name}@{identity}", "never")


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("{hub}/acme/none:1", "the registry does not have it"),
        ("{hub}/acme/once:none", "the registry does not have it"),
        ("{hub}/acme/none@" + NOWHERE, "the registry does not have it"),
        ("127.0.0.1:1/acme/none:1", "the registry cannot be reached"),
        ("registry.invalid/acme/none:1", "the registry cannot be reached"),
    ],
)
def test_why_nothing_could_be_pulled(engine: Engine, hub: Registry, name: str, meaning: str) -> None:
    name = name.format(hub=hub.address)
    message = _refused(engine, name)
    assert f"the image {name} is not in the container engine and cannot be pulled: {meaning}" in message
    assert f"docker pull {name}" in message


def test_only_what_could_run_on_this_machine_is_sent_there(engine: Engine) -> None:
    mounted = replace(NEED, volumes=(Volume("/data", Path("tree")),))
    assert "set sandbox: directory" in _refused(engine, "acme/none:1", "never")
    assert "set sandbox: directory" not in _refused(engine, "acme/none:1", "never", mounted)


def test_a_registry_that_never_answers_ends_at_the_deadline(engine: Engine) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        reference = references.parse(f"127.0.0.1:{mute.getsockname()[1]}/acme/none:1")
        with pytest.raises(CouldNotVerify, match="was not pulled in time") as late:
            pull(engine, reference, deadline=0.5)
    assert not isinstance(late.value, DeadlineExceeded), "a restore that is too slow would be a verdict on the backup"


def _log_in(monkeypatch: pytest.MonkeyPatch, directory: Path, content: dict[str, Any]) -> None:
    (directory / "config.json").write_text(json.dumps(content))
    monkeypatch.setenv("DOCKER_CONFIG", str(directory))


def _auths(address: str, password: str) -> dict[str, Any]:
    return {"auths": {address: {"auth": base64.b64encode(f"{USER}:{password}".encode()).decode()}}}


def test_a_private_registry_asks_for_the_users_own_password(
    engine: Engine, private: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name = f"{private.address}/acme/secret:1"
    _log_in(monkeypatch, tmp_path, {})
    message = _refused(engine, name)
    assert "cannot be pulled: the registry does not give it to this user, or does not have it" in message
    assert "docker login" in message
    _log_in(monkeypatch, tmp_path, _auths(private.address, "wrong-password"))
    message = _refused(engine, name)
    assert "the registry does not give it to this user" in message
    assert "wrong-password" not in message
    _log_in(monkeypatch, tmp_path, _auths(private.address, PASSWORD))
    image = _resolve(engine, name)
    assert image.pulled
    assert PASSWORD not in str(image.facts())


def test_credentials_that_cannot_be_read_are_said_to_be(
    engine: Engine, private: Registry, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    helper = tmp_path / "docker-credential-talkative"
    helper.write_text(f"#!/bin/sh\ncat >/dev/null\necho '{PASSWORD}'\nexit 1\n")
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    _log_in(monkeypatch, tmp_path, {"credHelpers": {private.address: "talkative"}})
    message = _refused(engine, f"{private.address}/acme/other:1")
    assert f"the credentials for the registry {private.address} cannot be read" in message
    assert "docker login" in message
    assert PASSWORD not in message


def test_an_image_for_other_processors_is_refused(engine: Engine, hub: Registry, require_engine: Any) -> None:
    identity = tiny(require_engine, f"{hub.address}/acme/mainframe:1", processor="s390x")
    message = _refused(engine, f"{hub.address}/acme/mainframe:1", "never")
    assert f"is made for linux/s390x, and the container engine runs linux/{engine.version['Arch']}" in message
    assert identity in message
    assert f"docker pull --platform linux/{engine.version['Arch']}" in message
    tiny(require_engine, f"{hub.address}/acme/mainframe:1", processor=engine.version["Arch"])
    assert _resolve(engine, f"{hub.address}/acme/mainframe:1", "never").id != identity


def test_a_stand_in_is_taken_where_it_is_there_and_never_pulled(
    engine: Engine, hub: Registry, require_engine: Any
) -> None:
    need = Need("tinydb", "15", image=f"{hub.address}/tinydb-{hub.address.rpartition(':')[2]}:15")
    name = f"restore-drill/tinydb-{hub.address.rpartition(':')[2]}:15"
    message = _refused(engine, "", "never", need)
    assert f"the image {need.image} is not in the container engine" in message
    assert "cannot be pulled" not in _refused(engine, name)
    assert "fixtures/images" in _refused(engine, name)
    identity = tiny(require_engine, name)
    assert _resolve(engine, "", "missing", need).reference == name
    assert _resolve(engine, "", "never", need).id == identity
    # What was asked for by a policy, or is there under its own name, goes first.
    assert "the registry does not have it" in _refused(engine, "", "always", need)
    hub.push(need.image.partition("/")[2])
    assert _resolve(engine, "", "always", need).reference == need.image
    assert _resolve(engine, "", "never", need).reference == need.image


def test_a_name_that_is_none_is_refused_before_anybody_is_asked(engine: Engine) -> None:
    assert "the image's name is malformed (acme//pg:1)" in _refused(engine, "acme//pg:1")
    assert "has a slot for the version, which this backup does not record" in _refused(
        engine, "acme/pg:{major}", need=Need("postgres")
    )
    assert "no image is known for nothing" in _refused(engine, "", need=Need("nothing"))


def test_whoever_knows_no_version_yet_is_told_what_there_is(engine: Engine, stand_in: Callable[[str], str]) -> None:
    name = stand_in("postgres")
    template = f"{name.rpartition(':')[0]}:{{major}}"
    assert name in description.inspect(engine, SandboxOptions(image=template)).partition(" here: ")[2].split(", ")
    assert "stand-ins here: restore-drill/" in description.inspect(engine, SandboxOptions())
    assert description.inspect(engine, SandboxOptions(image="registry.invalid/x:{major}")).endswith(" here: none")
