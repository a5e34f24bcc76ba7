"""What is taken from a run that has the escrowed keys alone, and what it is given instead."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.support.plans import planned_copy, planned_target

from restore_drill.break_glass import BreakGlass, begin
from restore_drill.catalogue.break_glass import BreakGlassModel
from restore_drill.errors import SecretUnavailable, UsageProblem
from restore_drill.plan import Plan
from restore_drill.secrets import SecretReference
from restore_drill.stores.base import StoreSettings

VAULT = {"openssl": {"password": SecretReference("env", "VAULT"), "cipher": "aes-256-cbc"}}


def plan(**model: object) -> Plan:
    target = planned_target(planned_copy())
    copies = tuple(replace(copy, decrypt=VAULT) for copy in target.copies)
    given = BreakGlassModel.model_validate(model) if model else None
    targets = (replace(target, copies=copies),)
    return Plan("targets.yaml", "0" * 64, targets, StoreSettings("state", "file:///s"), "reports", break_glass=given)


def test_only_what_is_named_or_harmless_stays() -> None:
    environment = {
        "PATH": "/bin", "LC_ALL": "C", "HOME": "/home/me", "AWS_SECRET_ACCESS_KEY": "x", "SSH_AUTH_SOCK": "/s",
        "VAULT_TOKEN": "x", "GITHUB_TOKEN": "x", "GITHUB_RUN_ID": "7", "PASSPHRASE": "x", "MY_PATH": "x",
    }  # fmt: skip
    _, found = begin(plan(environment=["PASSPHRASE", "NOT_SET"]), environment)
    home = environment.pop("HOME")
    assert home != "/home/me" and not list(Path(home).iterdir()) and Path(home).stat().st_mode & 0o077 == 0
    assert environment == {
        "PATH": "/bin", "LC_ALL": "C", "GITHUB_RUN_ID": "7", "PASSPHRASE": "x", "AWS_EC2_METADATA_DISABLED": "true"
    }  # fmt: skip
    assert (found.environment, found.removed) == (("PASSPHRASE",), 5)


#: As pipelines, terminals and programs set them.
HARMLESS = [
    "PATH", "LD_LIBRARY_PATH", "VIRTUAL_ENV", "TMPDIR", "DOCKER_HOST", "USER", "LOGNAME", "LANG", "LANGUAGE", "LC_ALL",
    "LC_TIME", "TZ", "TERM", "COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "PY_COLORS", "PYTHON", "PYTHONPATH",
    "PYTHONHASHSEED", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "CI", "CI_NODE_INDEX", "CI_NODE_TOTAL", "CI_JOB_URL",
    "CI_COMMIT_SHA", "JOB_COMPLETION_INDEX", "BUILD_URL", "GIT_COMMIT", "GITHUB_RUN_ID", "GITHUB_SERVER_URL",
    "GITHUB_REPOSITORY", "GITHUB_SHA", "GITHUB_STEP_SUMMARY",
]  # fmt: skip
ALIKE = [
    "path", "XPATH", "PATHS", "MY_PATH", "LC_", "LC", "PYTEST_", "PYTEST", "PYTHON_TOKEN", "CI_JOB_TOKEN",
    "CI_REGISTRY_PASSWORD", "CI_NODE", "JOB", "BUILD_TOKEN", "GIT_TOKEN", "GITHUB_", "GITHUB_TOKEN", "GITHUB_SHAX",
    "DOCKER_AUTH_CONFIG", "DOCKER_HOST_KEY", "USERNAME", "XDG_RUNTIME_DIR",
]  # fmt: skip


def test_what_finds_programs_and_names_the_job_stays_and_nothing_that_is_called_alike() -> None:
    environment = dict.fromkeys([*HARMLESS, *ALIKE], "x")
    _, found = begin(plan(environment=[]), environment)
    assert environment.keys() - {"HOME", "AWS_EC2_METADATA_DISABLED"} == set(HARMLESS)
    assert found.removed == len(ALIKE)


def test_an_escrowed_key_takes_the_place_of_the_vaults_and_settings_stay() -> None:
    escrow = {"openssl": {"password": "env:SAFE"}}
    found, how = begin(plan(decrypt=escrow), {})
    (copy,) = found.targets[0].copies
    assert copy.decrypt == {"openssl": {"password": SecretReference("env", "SAFE"), "cipher": "aes-256-cbc"}}
    assert list(how.escrow.values()) == [("openssl: env:SAFE",)] and "NO KEY" not in how.described()


def test_what_has_no_escrowed_key_says_so_when_it_is_asked_for() -> None:
    found, how = begin(plan(decrypt={"age": {"identity": "env:SAFE"}}), {})
    (copy,) = found.targets[0].copies
    with pytest.raises(SecretUnavailable, match=r"no key in escrow opens \S+/nas: openssl"):
        copy.decrypt["openssl"]["password"].resolve()  # type: ignore[union-attr]
    assert "NO KEY IN ESCROW for 1 of 1 encrypted copies" in how.described()


def test_a_catalogue_without_escrow_is_refused() -> None:
    environment = {"SSH_AUTH_SOCK": "/s"}
    with pytest.raises(UsageProblem, match="the catalogue names none"):
        begin(plan(), environment)
    assert environment == {"SSH_AUTH_SOCK": "/s"}


def test_which_key_opened_what_is_told_by_key() -> None:
    drills = [{"target": "a", "copy": copy, "keys": keys} for copy, keys in (("nas", ["k"]), ("s3", ["k"]), ("t", []))]
    found = BreakGlass(("A",), 3, {"a/nas": ("age: file:/k",)}).as_evidence(drills)
    assert found == {
        "environment": ["A"], "removed": 3, "escrow": {"a/nas": ["age: file:/k"]}, "opened": {"k": ["a/nas", "a/s3"]}
    }  # fmt: skip
