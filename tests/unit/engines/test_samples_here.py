"""What the probes of engines conclude does not depend on the sandbox that they run in."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.here import here

from restore_drill.engines import etcd_samples
from restore_drill.engines.base import Engine, Restored, RestoreOptions, Sample
from restore_drill.engines.csv import CsvEngine
from restore_drill.engines.etcd import EtcdEngine
from restore_drill.engines.git import GitEngine
from restore_drill.engines.ldif import LdifEngine
from restore_drill.engines.ndjson import NdjsonEngine
from restore_drill.engines.parquet import ParquetEngine
from restore_drill.errors import BackupFailed
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.sandboxes.base import Sandbox

ENGINES: tuple[type[Engine], ...] = (CsvEngine, NdjsonEngine, ParquetEngine, GitEngine, LdifEngine, EtcdEngine)
SAMPLES = [(engine, sample) for engine in ENGINES for sample in engine.samples()]
SETTINGS = {"etcd": etcd_samples.SETTINGS}
BORNE = {Stage.UNPACK: "unpacks", Stage.CHAIN: "chain", Stage.RESTORE: "restores"}


def staged(sample: Sample, sandbox: Sandbox, directory: Path) -> Payload:
    path = sample.build(directory)
    if tarfile.is_tarfile(path):
        with tarfile.open(path) as archive:
            archive.extractall(sandbox.work / "payload-0", filter="data")
        return Payload(PayloadForm.TREE, sandbox.work / "payload-0", "tar", 1)
    shutil.copyfile(path, sandbox.work / "payload-0")
    return Payload(PayloadForm.FILE, sandbox.work / "payload-0", "", path.stat().st_size)


@pytest.mark.parametrize(("engine", "sample"), SAMPLES, ids=[f"{engine.name}-{one.name}" for engine, one in SAMPLES])
def test_samples_are_judged_the_same_here(
    engine: type[Engine], sample: Sample, tmp_path: Path, require_program: Callable[[str], str]
) -> None:
    for name in engine.programs:
        require_program(name)
    sandbox = here(tmp_path / "work")
    payload = staged(sample, sandbox, tmp_path)
    options = RestoreOptions(deadline=60, settings=SETTINGS.get(engine.name, {}))

    def restored_now() -> Restored:
        return engine().restore(engine().link([payload], sandbox, options).payloads, sandbox, options)

    if sample.caught_by in BORNE.values():
        with pytest.raises(BackupFailed) as caught:
            restored_now()
        assert caught.value.stage is not None
        assert (BORNE[caught.value.stage], bool(caught.value.remedy)) == (sample.caught_by, True)
        return
    restored = restored_now()
    assert any(restored.row_counts().values())
    assert restored.structure()
    assert json.loads(json.dumps(restored.facts)) == restored.facts
    if "integrity" in engine.checks:
        assert bool(restored.integrity()["problems"]) is (sample.caught_by == "integrity")
    if "query" in engine.checks:
        tables = restored.query("select name from sqlite_master where type = 'table'")
        assert all(restored.scalar(f'select count(*) from "{name}"') > 0 for (name,) in tables)
