"""The builder of stand-in images: what is built when, what is in it, and that only pinned packages get in."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound

_FIXTURES = Path(__file__).parents[2] / "fixtures"
if str(_FIXTURES) not in sys.path:
    sys.path.append(str(_FIXTURES))

from images import building, recipes  # noqa: E402
from images.packages import Package, fetch, unpack  # noqa: E402
from images.recipes import RECIPES, USUAL, Recipe  # noqa: E402
from restore_drill.errors import CouldNotVerify  # noqa: E402


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(_FIXTURES / "images"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def test_names_are_listed_and_others_refused() -> None:
    listed = _run("list").stdout.split()
    assert listed[: len(USUAL)] == [RECIPES[name].reference for name in USUAL]
    assert {f"restore-drill/postgres:{major}" for major in range(12, 19)} <= set(listed)
    refused = _run("build", "postgres:11")
    assert refused.returncode == 64
    assert "there is no recipe for postgres:11; there are postgres, mariadb" in refused.stderr


def test_without_an_engine_the_remedy_is_named() -> None:
    command = [sys.executable, str(_FIXTURES / "images"), "build", "redis"]
    environment = {**os.environ, "DOCKER_HOST": "tcp://127.0.0.1:1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 75
    assert "no container engine answers. Start Docker, or set DOCKER_HOST." in done.stderr


def test_a_recipe_is_known_by_what_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = RECIPES["redis"]
    assert recipe.digest() == replace(recipe).digest()
    assert recipe.digest() != replace(recipe, packages=("redis-server", "redis-tools")).digest()
    changed = replace(RECIPES["python"], commands=("true",))
    before = RECIPES["app"].digest()
    monkeypatch.setattr(recipes, "RECIPES", {**RECIPES, "python": changed})
    assert RECIPES["app"].digest() != before


@pytest.fixture
def small(stand_in: Callable[[str], str], require_engine: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Recipe]:
    """A recipe of this test's own, upon an image that is there."""
    stand_in("python")
    recipe = Recipe("app", f"test-{os.getpid()}", parent="python", copies=(("app/serve.py", "opt/serve.py"),))
    known: Mapping[str, Recipe] = {**RECIPES, "small": recipe}
    monkeypatch.setattr(building, "RECIPES", known)
    monkeypatch.setattr(recipes, "RECIPES", known)
    yield recipe
    for image in require_engine.images.list("restore-drill/app"):
        if f"{recipe.reference}" in image.tags:
            require_engine.images.remove(recipe.reference, force=True)


def test_an_image_is_built_when_its_recipe_has_changed(
    small: Recipe, require_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [building.ensure(require_engine, "small") for _ in range(2)] == [
        (small.reference, True),
        (small.reference, False),
    ]
    first = require_engine.images.get(small.reference)
    assert first.labels[building.RECIPE_LABEL] == small.digest()
    changed = {**building.RECIPES, "small": replace(small, changes=("ENV COLOUR=red",))}
    monkeypatch.setattr(building, "RECIPES", changed)
    assert building.ensure(require_engine, "small") == (small.reference, True)
    second = require_engine.images.get(small.reference)
    assert "COLOUR=red" in second.attrs["Config"]["Env"]
    with pytest.raises(ImageNotFound):
        require_engine.images.get(first.id)
    assert not [
        tag for image in require_engine.images.list("restore-drill/app") for tag in image.tags if "build" in tag
    ]


def test_a_stand_in_is_like_the_image_whose_place_it_takes(stand_in: Callable[[str], str], require_engine: Any) -> None:
    image = require_engine.images.get(stand_in("postgres"))
    configuration = image.attrs["Config"]
    assert list(configuration["Volumes"]) == ["/var/lib/postgresql/data"]
    assert configuration["Entrypoint"] == ["docker-entrypoint.sh"]
    assert image.labels[building.PACKAGES_LABEL].startswith(f"postgresql-15={image.labels[building.VERSION_LABEL]} ")
    script = "id -u postgres; initdb --version; pg_amcheck --version; locale -a; ls -A /var/lib/postgresql/data"
    made = require_engine.containers.run(
        image.id, ["sh", "-c", script], detach=True, network_mode="none", labels={"restore-drill.tests": "stand-ins"}
    )
    try:
        made.wait()
        lines = made.logs(stderr=False).decode().splitlines()
    finally:
        made.remove(v=True, force=True)  # with the volume that the image declares
    assert lines[0] == "999"
    assert all("15." in line for line in lines[1:3])
    assert lines[3:] == ["C", "C.utf8", "en_US.utf8", "POSIX"]


def _wheel(directory: Path) -> tuple[Package, Path]:
    """A package that pip can fetch without an index."""
    directory.mkdir()
    path = directory / "drilled-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("drilled/bin/program", "#!/bin/sh\n")
        archive.writestr("drilled-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: drilled\nVersion: 1.0\n")
        archive.writestr(
            "drilled-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("drilled-1.0.dist-info/RECORD", "")
    return Package("pypi", "drilled", "1.0", hashlib.sha256(path.read_bytes()).hexdigest()), path


def test_only_the_pinned_file_of_a_package_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package, path = _wheel(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(path.parent))
    unpack(fetch(package, tmp_path / "good"), tmp_path / "files")
    assert (tmp_path / "files" / "drilled" / "bin" / "program").read_text() == "#!/bin/sh\n"
    with pytest.raises(CouldNotVerify, match=r"the package drilled==1.0 is not the pinned one") as other:
        fetch(replace(package, sha256="0" * 64), tmp_path / "other")
    assert package.sha256 in other.value.looked_at
    with pytest.raises(CouldNotVerify, match=r"the package drilled==2.0 cannot be fetched"):
        fetch(replace(package, version="2.0"), tmp_path / "none")
