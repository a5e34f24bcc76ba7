"""The ``mysql`` and ``mariadb`` engines: what a payload is, and which server it wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar

from restore_drill.engines.base import EmptyServer, Engine, Restored, RestoreOptions, Sample
from restore_drill.engines.mysql.recognise import MARIADB, recognise
from restore_drill.model import Payload, PayloadForm
from restore_drill.sandboxes.base import Sandbox


class MysqlEngine(Engine):
    """Dumps of MySQL and MariaDB, loaded into a server of the family and version that the dump names.

    Options: ``server`` (``mysql`` or ``mariadb``, when it is not to be the dump's own), ``version`` (``"10.11"``, when
    it is not to be the dump's own), ``database`` (the one that is examined by default, when several come back),
    ``lower_case_table_names`` (1 for what was dumped from Windows or macOS).
    """

    name: ClassVar[str] = "mysql"
    forms: ClassVar[tuple[PayloadForm, ...]] = (PayloadForm.FILE,)
    sandboxes: ClassVar[tuple[str, ...]] = ("container", "directory")
    checks: ClassVar[frozenset[str]] = frozenset({"integrity", "structure", "rows", "query", "newest"})
    programs: ClassVar[tuple[str, ...]] = ("mysqld", "mysql")
    strictness: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"foreign_elsewhere": "foreign keys to tables of databases that the backup does not hold"}
    )
    #: The family whose server is taken whatever the dump says; ``""``: the dump's.
    family: ClassVar[str] = ""

    @classmethod
    def recognises(cls, head: bytes) -> str | None:
        """By the first lines that dump programs write; a physical backup's stream, too, so that it is told as such."""
        return recognise(head)

    def restore(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Restored:
        """Load it into a fresh server; see :mod:`.loading`.

        Raises:
            BackupFailed: It is cut short, a statement of it fails, or nothing came back.
            CouldNotVerify: A program, an image or the deadline was missing, or the server is not like the one that was
                backed up.
            UsageProblem: The catalogue gives this engine an option that it does not have.
        """
        from restore_drill.engines.mysql import loading

        return loading.restore(payloads[-1], sandbox, options, self.family)

    @classmethod
    def offers_server(cls, facts: Mapping[str, Any]) -> bool:  # noqa: ARG003 - there is no other way
        """Always: dumps are loaded into one."""
        return True

    def empty_server(self, sandbox: Sandbox, options: RestoreOptions, facts: Mapping[str, Any]) -> EmptyServer:
        """A server of the family and version that the drill's own restore was into; see :mod:`.empty`."""
        from restore_drill.engines.mysql.empty import EmptyMysql

        return EmptyMysql(sandbox, options, facts)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """A good dump of MySQL and damaged ones; see :mod:`.samples`."""
        from restore_drill.engines.mysql.samples import mysql_samples

        yield from mysql_samples()


class MariadbEngine(MysqlEngine):
    """The same, into a server of MariaDB also where the dump does not say so or is MySQL's."""

    name: ClassVar[str] = "mariadb"
    programs: ClassVar[tuple[str, ...]] = ("mariadbd", "mariadb")
    #: Clients of MySQL's own do not send a password to a server that takes their connection for one over a socket.
    port: ClassVar[int] = 3306
    family: ClassVar[str] = MARIADB

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """A good dump of MariaDB and damaged ones; see :mod:`.samples`."""
        from restore_drill.engines.mysql.samples import mariadb_samples

        yield from mariadb_samples()
