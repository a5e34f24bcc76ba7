"""ci/github/aws-permissions.json: a drill needs no more than this role may; backups and ledger are out of its reach."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from tests.support.installed import ROOT
from tests.support.project import Project

from restore_drill.cli import main

ROLE = ROOT / "ci" / "github" / "aws-permissions.json"
TRUST = ROOT / "ci" / "github" / "aws-trust.json"
REGION = "eu-central-1"
PLACES = {"path_style": True, "region": REGION}


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, Callable[..., Any], Callable[[], None]]]:
    """A cloud account that enforces permissions once it is told to: its address, a client of it, and how to tell it."""
    from moto import settings
    from moto.core.responses import ActionAuthenticatorMixin
    from moto.moto_server.threaded_moto_server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())

    def client(service: str, key: str = "root", secret: str = "root") -> Any:
        return boto3.client(service, endpoint_url=address, region_name=REGION,
                            aws_access_key_id=key, aws_secret_access_key=secret)  # fmt: skip

    def enforce() -> None:
        monkeypatch.setattr(ActionAuthenticatorMixin, "request_count", 0)
        monkeypatch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)

    yield address, client, enforce
    server.stop()


def _in_buckets(project: Project, address: str, s3: Any) -> None:
    """Have the backups lie in one bucket, and the state in another."""
    for bucket in ("acme-backups", "acme-drills"):
        s3.create_bucket(Bucket=bucket, CreateBucketConfiguration={"LocationConstraint": REGION})
    store = project.root / "stores" / "nas"
    for path in filter(Path.is_file, store.rglob("*")):
        s3.put_object(Bucket="acme-backups", Key=str(path.relative_to(store)), Body=path.read_bytes())
    project.catalogue["stores"]["nas"] = {
        "url": "s3://acme-backups", "media": "object-storage", "endpoint": address, **PLACES
    }  # fmt: skip
    project.catalogue["state"] = {"url": "s3://acme-drills/state", "endpoint": address, **PLACES}
    project.write()


def test_a_drill_needs_no_more_and_backups_are_out_of_reach(
    tmp_path: Path, account: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, client, enforce = account
    project = Project(tmp_path / "project")
    _in_buckets(project, address, client("s3"))
    iam = client("iam")
    iam.create_user(UserName="drills")
    iam.put_user_policy(UserName="drills", PolicyName="role", PolicyDocument=ROLE.read_text())
    key = iam.create_access_key(UserName="drills")["AccessKey"]
    enforce()
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    project.environment.update(keys)
    for name, value in keys.items():
        monkeypatch.setenv(name, value)
    assert main(["baseline", "init", "--catalogue", str(project.path)]) == 0
    run = project.run()
    assert run.status == 0, run.screen
    assert "ledger: entry 1" in run.screen

    s3 = client("s3", *keys.values())
    backup = s3.list_objects_v2(Bucket="acme-backups")["Contents"][0]["Key"]
    refused = {
        "change a backup": lambda: s3.put_object(Bucket="acme-backups", Key=backup, Body=b""),
        "delete a backup": lambda: s3.delete_object(Bucket="acme-backups", Key=backup),
        "delete an entry": lambda: s3.delete_object(Bucket="acme-drills", Key="state/ledger/000000000001.json"),
        "write elsewhere": lambda: s3.put_object(Bucket="acme-drills", Key="elsewhere", Body=b""),
    }
    for attempt in refused.values():
        with pytest.raises(ClientError, match="AccessDenied"):
            attempt()


def test_the_role_is_for_one_environment_of_one_repository() -> None:
    (statement,) = json.loads(TRUST.read_text())["Statement"]
    conditions = statement["Condition"]
    assert list(conditions) == ["StringEquals"]  # and not StringLike
    subject = conditions["StringEquals"]["token.actions.githubusercontent.com:sub"]
    assert subject.count(":environment:") == 1 and "*" not in subject
