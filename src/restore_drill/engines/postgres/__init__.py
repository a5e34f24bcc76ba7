"""PostgreSQL: dumps of ``pg_dump`` and ``pg_dumpall``, and base backups, on a server of its own inside a sandbox."""
