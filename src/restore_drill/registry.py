"""What can be plugged in, by name: built-ins listed lazily here, third parties through entry points.

A third party registers ``[project.entry-points."restore_drill.engines"] name = "package.module:Class"``.
Nothing is imported before it is asked for.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.util
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any

from restore_drill.errors import CouldNotVerify, UsageProblem

if TYPE_CHECKING:
    from restore_drill.stores.base import Store

#: plug → name → ("module:Class", the extra that installs what it needs, or "").
BUILT_IN: dict[str, dict[str, tuple[str, str]]] = {
    "stores": {
        "file": ("restore_drill.stores.local:LocalStore", ""),
        "s3": ("restore_drill.stores.s3:S3Store", ""),
        "sftp": ("restore_drill.stores.sftp:SftpStore", "sftp"),
        "http": ("restore_drill.stores.http:HttpStore", ""),
        "https": ("restore_drill.stores.http:HttpStore", ""),
        "az": ("restore_drill.stores.azure:AzureStore", "azure"),
        "gs": ("restore_drill.stores.gcs:GcsStore", "gcs"),
        "rclone": ("restore_drill.stores.rclone:RcloneStore", "rclone"),
    },
    "codecs": {
        "gzip": ("restore_drill.codecs.gzip:GzipCodec", ""),
        "xz": ("restore_drill.codecs.xz:XzCodec", ""),
        "zstd": ("restore_drill.codecs.zstd:ZstdCodec", ""),
        "bzip2": ("restore_drill.codecs.bzip2:Bzip2Codec", ""),
        "lz4": ("restore_drill.codecs.lz4:Lz4Codec", "lz4"),
        "lzip": ("restore_drill.codecs.lzip:LzipCodec", ""),
        "zip": ("restore_drill.codecs.zip:ZipCodec", ""),
        "7z": ("restore_drill.codecs.sevenzip:SevenZipCodec", ""),
        "age": ("restore_drill.codecs.age:AgeCodec", ""),
        "openpgp": ("restore_drill.codecs.openpgp:OpenPgpCodec", ""),
        "openssl": ("restore_drill.codecs.openssl:OpensslCodec", ""),
    },
    "archives": {
        "tar": ("restore_drill.archives.tar:TarArchive", ""),
        "zip": ("restore_drill.archives.zip:ZipArchive", ""),
        "7z": ("restore_drill.archives.sevenzip:SevenZipArchive", ""),
    },
    "manifests": {
        "hashdeep": ("restore_drill.manifests.hashdeep:HashdeepManifest", ""),
        "bagit": ("restore_drill.manifests.bagit:BagitManifest", ""),
        "mtree": ("restore_drill.manifests.mtree:MtreeManifest", ""),
        "rclone": ("restore_drill.manifests.rclone:RcloneManifest", ""),
        "sums": ("restore_drill.manifests.sums:SumsManifest", ""),
    },
    "signatures": {
        "gpg": ("restore_drill.signatures.gpg:GpgSignature", ""),
        "minisign": ("restore_drill.signatures.minisign:MinisignSignature", ""),
        "cosign": ("restore_drill.signatures.cosign:CosignSignature", ""),
    },
    "repositories": {
        "objects": ("restore_drill.repositories.objects:ObjectRepository", ""),
        "generations": ("restore_drill.repositories.generations:GenerationRepository", ""),
        "prefixes": ("restore_drill.repositories.prefixes:PrefixRepository", ""),
    },
    "sandboxes": {
        "directory": ("restore_drill.sandboxes.directory:DirectorySandbox", ""),
        "container": ("restore_drill.sandboxes.container:ContainerSandbox", ""),
    },
    "engines": {
        "sqlite": ("restore_drill.engines.sqlite:SqliteEngine", ""),
        "files": ("restore_drill.engines.files:FilesEngine", ""),
        "csv": ("restore_drill.engines.csv:CsvEngine", ""),
        "ndjson": ("restore_drill.engines.ndjson:NdjsonEngine", ""),
        "parquet": ("restore_drill.engines.parquet:ParquetEngine", "parquet"),
        "git": ("restore_drill.engines.git:GitEngine", ""),
        "ldif": ("restore_drill.engines.ldif:LdifEngine", ""),
        "etcd": ("restore_drill.engines.etcd:EtcdEngine", ""),
        "redis": ("restore_drill.engines.redis:RedisEngine", ""),
        "volume": ("restore_drill.engines.volume:VolumeEngine", ""),
        "postgres": ("restore_drill.engines.postgres.engine:PostgresEngine", ""),
        "mysql": ("restore_drill.engines.mysql.engine:MysqlEngine", ""),
        "mariadb": ("restore_drill.engines.mysql.engine:MariadbEngine", ""),
    },
    "checks": {
        "integrity": ("restore_drill.checks.integrity:IntegrityCheck", ""),
        "structure": ("restore_drill.checks.structure:StructureCheck", ""),
        "rows": ("restore_drill.checks.rows:RowCountCheck", ""),
        "query": ("restore_drill.checks.query:QueryCheck", ""),
        "files": ("restore_drill.checks.files:FilesCheck", ""),
        "newest": ("restore_drill.checks.newest:NewestRecordCheck", ""),
        "smoke": ("restore_drill.checks.smoke:SmokeCheck", ""),
    },
}


@cache
def _installed() -> Any:
    return entry_points()  # reads what is known of every installed package: once is enough


@cache
def _third_party(plug: str) -> dict[str, EntryPoint]:
    return {point.name: point for point in _installed().select(group=f"restore_drill.{plug}")}


def names(plug: str) -> list[str]:
    """The registered names of a plug, built-ins first."""
    return [*BUILT_IN[plug], *(name for name in _third_party(plug) if name not in BUILT_IN[plug])]


def load(plug: str, name: str) -> Any:
    """Import the class registered under a name.

    Raises:
        UsageProblem: Nothing is registered under it; the message suggests the nearest name.
        CouldNotVerify: The library it needs is not installed (the remedy names the extra), or what is registered does
            not exist.
    """
    if name in BUILT_IN[plug]:
        target, extra = BUILT_IN[plug][name]
        return _import(plug, name, target, extra)
    if name in _third_party(plug):
        return _import(plug, name, _third_party(plug)[name].value, "")
    near = difflib.get_close_matches(name, names(plug), 1)
    hint = f"Did you mean {near[0]}?" if near else f"Registered are {', '.join(names(plug))}."
    raise UsageProblem(f"{plug} has nothing called {name!r}", remedy=hint)


def store_of(scheme: str) -> Any:
    """The class of the store that serves urls of a scheme.

    Third parties are imported only for one that no built-in has.

    Raises:
        UsageProblem: No store of this scheme is registered.
        CouldNotVerify: The library it needs is not installed.
    """
    if scheme not in BUILT_IN["stores"]:
        for name in names("stores"):
            if name not in BUILT_IN["stores"] and scheme in load("stores", name).schemes:
                return load("stores", name)
    return load("stores", scheme)


def store_class(url: str) -> type[Store]:
    """The class that serves a url.

    Raises:
        UsageProblem: No store of this scheme is registered.
        CouldNotVerify: The library it needs is not installed.
    """
    return store_of(url.partition(":")[0].lower())  # type: ignore[no-any-return]


def library(module: str, needed_by: str, extra: str) -> Any:
    """Import a library that only some users need, or a module of ours that rests on one.

    Args:
        module: Its whole name.
        needed_by: What is of no use without it, in words: ``an sftp: store``.
        extra: The extra that installs it.

    Raises:
        CouldNotVerify: It is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as problem:
        raise CouldNotVerify(
            f"{needed_by} needs {problem.name or module}, which is not installed",
            remedy=f"pip install 'pytest-restore-drill[{extra}]'",
        ) from problem


def require(plug: str, kind: Any) -> None:
    """Look for the modules that a plug's class names in its ``libraries``, without importing them.

    Raises:
        CouldNotVerify: One is not installed; the remedy names the extra.
    """
    missing = [module for module in kind.libraries if importlib.util.find_spec(module) is None]
    if missing:
        raise _missing(plug, kind.name, missing[0], BUILT_IN[plug].get(kind.name, ("", ""))[1])


def _missing(plug: str, name: str, what: str, extra: str) -> CouldNotVerify:
    remedy = f"pip install 'pytest-restore-drill[{extra}]'" if extra else f"Install the package that has {what}."
    return CouldNotVerify(f"{plug} {name!r} needs {what}, which is not installed", remedy=remedy)


@cache
def _import(plug: str, name: str, target: str, extra: str) -> Any:
    # An entry point may name extras behind its target: "package.module:Class [extra]".
    module, _, attribute = target.partition("[")[0].strip().partition(":")
    try:
        return getattr(importlib.import_module(module), attribute)
    except AttributeError as problem:
        raise CouldNotVerify(
            f"{plug} {name!r} cannot be used: {module} has no {attribute}", remedy="Update the package that brings it."
        ) from problem
    except ImportError as problem:
        raise _missing(plug, name, problem.name or str(problem), extra) from problem
