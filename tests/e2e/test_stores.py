"""A target whose backups lie on an SFTP and on a web server: drilled, and an error when these cannot be reached."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
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
