"""A target whose backups lie on servers and in clouds: drilled, and an error when these cannot be reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.support.clouds import ACCOUNT, ACCOUNT_KEY, azurite, fake_gcs
from tests.support.project import Project
from tests.support.servers import free_ports
from tests.support.ssh_server import sshd
from tests.support.web_server import nginx


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path / "project", stores=("nas", "ssh", "web"))


def address(project: Project, store: str, **more: object) -> None:
    """Have a store be somewhere else; its files stay where they are."""
    project.catalogue["stores"][store].update(more)
    project.write()


def test_backups_on_servers(project: Project, tmp_path: Path, require_program: Callable[[str], str]) -> None:
    with sshd(tmp_path / "sshd", require_program) as ssh, nginx(tmp_path / "nginx", require_program) as web:
        where = project.root / "stores"
        (web.files / "backups").symlink_to(where / "web")
        project.environment |= {"WHO": "drill", "WORD": "sesame-94"}
        address(
            project, "ssh", url=ssh.url(where / "ssh"), options={"known_hosts": str(ssh.known_hosts)},
            credentials={"private_key": f"file:{ssh.key}"},
        )  # fmt: skip
        who = {"username": "env:WHO", "password": "env:WORD"}
        address(project, "web", url=f"{web.url}/locked/backups", credentials=who)
        outcome = project.run("-q")
        assert outcome.status == 0, outcome.screen
        assert outcome.causes == {}
        assert {f"db-0/{store}/restores" for store in ("nas", "ssh", "web")} <= outcome.verdicts.keys()
        assert "sesame-94" not in outcome.screen
        project.environment["WORD"] = "barley-94"
        outcome = project.run("-q", "-k", "located")
        assert (outcome.status, outcome.causes) == (75, {"db-0/web/located": "error"})
        assert "wants other credentials (401)" in outcome.cases["db-0/web/located"]["message"]
    port = free_ports(1)[0]
    address(project, "ssh", url=ssh.url(where / "ssh", port), retries=0)
    address(project, "web", url=f"http://127.0.0.1:{port}/locked/backups", retries=0)
    outcome = project.run("-q")
    assert (outcome.status, outcome.causes) == (75, {"db-0/ssh/located": "error", "db-0/web/located": "error"})
    assert "the SSH server cannot be reached" in outcome.cases["db-0/ssh/located"]["message"]
    assert "the web server cannot be reached" in outcome.cases["db-0/web/located"]["message"]
    assert outcome.verdicts["db-0/nas/restores"] == "passed"


def test_backups_in_clouds(tmp_path: Path, require_program: Callable[[str], str]) -> None:
    require_program("rclone")
    project = Project(tmp_path / "project", stores=("nas", "blue", "bucket", "any"))
    where, config = project.root / "stores", tmp_path / "rclone.conf"
    config.write_text("[disk]\ntype = local\n")
    project.environment |= {"KEY": ACCOUNT_KEY, "TOKEN": "token-of-tests-2"}
    address(project, "any", url=f"rclone:disk:{where / 'any'}", options={"config": str(config)})
    with azurite(tmp_path, require_program) as azure, fake_gcs(tmp_path) as google:
        container = azure.azure().create_container("backups")
        google.google("POST", "/storage/v1/b?project=tests", b'{"name": "backups"}')
        for path in filter(Path.is_file, (where / "blue").rglob("*")):
            container.upload_blob(f"deep/{path.relative_to(where / 'blue')}", path.read_bytes())
        for path in filter(Path.is_file, (where / "bucket").rglob("*")):
            name = quote(f"deep/{path.relative_to(where / 'bucket')}", safe="")
            upload = f"/upload/storage/v1/b/backups/o?uploadType=media&name={name}"
            google.google("POST", upload, path.read_bytes(), "application/octet-stream")
        address(
            project, "blue", url="az://backups/deep", endpoint=f"{azure.endpoint()}/{ACCOUNT}",
            options={"account": ACCOUNT}, credentials={"account_key": "env:KEY"},
        )  # fmt: skip
        address(
            project, "bucket", url="gs://backups/deep", endpoint=google.endpoint(), credentials={"token": "env:TOKEN"}
        )
        outcome = project.run("-q")
        assert outcome.status == 0, outcome.screen
        assert {f"db-0/{store}/restores" for store in ("nas", "blue", "bucket", "any")} <= outcome.verdicts.keys()
        assert ACCOUNT_KEY not in outcome.screen and "token-of-tests-2" not in outcome.screen
    address(project, "any", url=f"rclone:disk:{where / 'gone'}")
    for store in ("blue", "bucket"):
        address(project, store, retries=0)
    outcome = project.run("-q")
    away = {f"db-0/{store}/located": "error" for store in ("blue", "bucket", "any")}
    assert (outcome.status, outcome.causes) == (75, away)
    for store in ("blue", "bucket"):
        assert "the service cannot be reached" in outcome.cases[f"db-0/{store}/located"]["message"]
    assert "the store's directory is not there" in outcome.cases["db-0/any/located"]["message"]
    assert outcome.verdicts["db-0/nas/restores"] == "passed"
