"""Faults of volumes that only the application itself notices, drilled as a catalogue says it: container and all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from tests.support.contents import gz
from tests.support.matrix import AGES, FaultMatrix, Make, Row, Site, stored

from restore_drill.engines.volume_samples import contents, volume

_CHECK = {"name": "its own check", "run": ["python3", "-I", "/opt/app/serve.py", "check"]}
_HEALTH = {"name": "it is healthy", "http": {"port": 8080, "path": "/health"}}
_IMAGE = {"name": "restore-drill/app:1"}


@pytest.fixture(scope="module", autouse=True)
def _image(stand_in: Callable[[str], str]) -> None:
    _IMAGE["name"] = stand_in("app")


def packed(files: Mapping[str, bytes]) -> bytes:
    with tempfile.TemporaryDirectory() as place:
        return gz(volume(files)(Path(place)).read_bytes())


def without(name: str) -> bytes:
    return packed({each: data for each, data in contents().items() if each != name})


def _volume(site: Site, smoke: list[Mapping[str, object]]) -> None:
    site.copy("{time:%Y%m%d_%H%M%S}.tar.gz")
    site.options |= {
        "engine": "volume",
        "sandbox": {"kind": "container", "image": _IMAGE["name"], "pull": "never"},
        "engine_options": {"mount": "/data"},
        "size": {"predecessors": 60},
        "expect": {"smoke": smoke},
    }
    for age in AGES[-2:]:
        site.put(age, packed(contents()))


def a_volume(site: Site) -> None:
    _volume(site, [_CHECK])


def a_volume_of_a_service(site: Site) -> None:
    _volume(site, [_HEALTH])


def of_the_image(data: Callable[[], bytes], within: str) -> Make:
    """Other content, and little patience: what is damaged is not waited for."""
    store = stored(lambda _: data())

    def harm(site: Site) -> None:
        store(site)
        site.options["expect"] = {"smoke": [{**_HEALTH, "within": within}]}

    return harm


ROWS = [
    Row(
        16, "volume: a file of the application is lost", a_volume, stored(lambda _: without("uploads/7.bin")),
        "nas/smoke/its-own-check", "status 1, expected status 0", "live application",
    ),
    Row(
        16, "volume: a service is not healthy", a_volume_of_a_service,
        of_the_image(lambda: without("uploads/7.bin"), "1s"), "nas/smoke/it-is-healthy", "expected 200 from port 8080",
        "live application",
    ),
    Row(
        35, "volume: nothing is in it", a_volume, stored(lambda _: packed({})), "nas/restores", "nothing came back",
        ".",
    ),
]  # fmt: skip


class TestFaults(FaultMatrix):
    """The rows of this module."""
