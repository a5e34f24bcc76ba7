"""The ``postgres`` engine: what a payload is decides which half of it works."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from restore_drill.engines.base import EmptyServer, Engine, Restored, RestoreOptions, Sample
from restore_drill.engines.postgres.findings import STRICTNESS
from restore_drill.model import Payload, PayloadForm
from restore_drill.sandboxes.base import Sandbox


class PostgresEngine(Engine):
    """PostgreSQL, from logical dumps (:mod:`.logical`) and from physical base backups (:mod:`.physical`)."""

    name: ClassVar[str] = "postgres"
    forms: ClassVar[tuple[PayloadForm, ...]] = (PayloadForm.FILE, PayloadForm.TREE)
    sandboxes: ClassVar[tuple[str, ...]] = ("container", "directory")
    checks: ClassVar[frozenset[str]] = frozenset({"integrity", "structure", "rows", "query", "newest"})
    port: ClassVar[int] = 5432
    depths: ClassVar[tuple[str, ...]] = ("full", "schema", "sample")
    strictness: ClassVar[Mapping[str, str]] = STRICTNESS
    programs: ClassVar[tuple[str, ...]] = ("postgres", "initdb", "psql", "pg_restore")

    @classmethod
    def recognises(cls, head: bytes) -> str | None:
        """By the first bytes of an archive of pg_dump, or the first lines of a script of pg_dump or pg_dumpall."""
        from restore_drill.engines.postgres.recognise import recognise

        return recognise(head)

    def restore(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Restored:
        """Bring it back; see :mod:`.logical` and :mod:`.physical`.

        Raises:
            BackupFailed: It is damaged, a statement of it fails, or nothing came back.
            CouldNotVerify: A program, an image, an extension or the deadline was missing.
            UsageProblem: The catalogue gives this engine an option that it does not have.
        """
        from restore_drill.engines.postgres import logical, physical

        payload = payloads[-1]
        if payload.form is PayloadForm.TREE and physical.looks_physical(payload.path):
            return physical.restore(payload, sandbox, options)
        return logical.restore(payload, sandbox, options)

    @classmethod
    def offers_server(cls, facts: Mapping[str, Any]) -> bool:
        """Of a dump; of a base backup a runbook leaves the data directory."""
        return facts.get("kind") != "physical"

    def empty_server(self, sandbox: Sandbox, options: RestoreOptions, facts: Mapping[str, Any]) -> EmptyServer:
        """A server of the version that the drill's own restore was into; see :mod:`.empty`."""
        from restore_drill.engines.postgres.empty import EmptyPostgres

        return EmptyPostgres(sandbox, options, facts)

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """A good dump and damaged ones; see :mod:`.samples`."""
        from restore_drill.engines.postgres.samples import samples

        yield from samples()
