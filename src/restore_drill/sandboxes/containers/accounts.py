"""Which account of an image programs run as."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes.containers import archives
from restore_drill.sandboxes.containers.client import Engine, Missing

#: Nobody, everywhere.
NOBODY: Final = 65534
_LIMIT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Account:
    """An account by name and number."""

    name: str
    user: int
    group: int

    @property
    def spec(self) -> str:
        """As the engine's interface wants it."""
        return f"{self.user}:{self.group}"


def find(engine: Engine, container: str, wanted: str, configured: str) -> Account:
    """The account that programs run as.

    Args:
        engine: Where the container is.
        container: One that was made from the image; it need not run.
        wanted: Name or number, ``""`` for the image's own.
        configured: What the image says; root and nothing lead to nobody.

    Raises:
        CouldNotVerify: The image has no such account.
    """
    name, _, group = (wanted or configured).partition(":")
    if not wanted and name in ("", "0", "root"):
        return Account("nobody", NOBODY, NOBODY)
    if name.isdecimal():
        return Account(name, int(name), int(group) if group.isdecimal() else int(name))
    for line in _passwd(engine, container):
        fields = line.split(":")
        if len(fields) > 3 and fields[0] == name and fields[2].isdecimal() and fields[3].isdecimal():
            return Account(name, int(fields[2]), int(fields[3]))
    raise CouldNotVerify(
        f"the image has no account called {name}",
        looked_at="/etc/passwd of the image",
        remedy="Name an image that has the system with its usual account.",
    )


def _passwd(engine: Engine, container: str) -> list[str]:
    try:
        with engine.asking("show the image's accounts"):
            chunks, _ = engine.api.get_archive(container, "/etc/passwd")
            return archives.first_file(chunks, _LIMIT).decode(errors="replace").splitlines()
    except Missing:
        return []
