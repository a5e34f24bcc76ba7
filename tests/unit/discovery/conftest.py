"""The command line, called in this process."""

from __future__ import annotations

from tests.unit.cli.conftest import command as command
