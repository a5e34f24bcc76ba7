"""The contract: what the runbook of every kind of system has, from the opened artifacts on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from restore_drill.engines.base import UNNAMED
from restore_drill.recovery.book import Command, Drilled, Parts, Variable, WrittenStep
from restore_drill.recovery.prose import quoted


def needed(condition: str, otherwise: str) -> Command:
    """What must hold; a shell that only stops would say nothing, and look as if all were well."""
    return Command(f"{{ {condition} || {{ echo {quoted(f'STOPPED: {otherwise}')} >&2; false; }}; }}")


CD = Command('cd "$WORK_DIR"')
#: Made as soon as something outside of the work directory is changed. What rolls back needs it: pasted where nothing
#: was put in place, it would take away what runs, and have something older than that in its stead.
CHANGED = Command('touch "$WORK_DIR"/changed')
IS_CHANGED = needed('test -e "$WORK_DIR"/changed', "nothing was changed from this work directory")
TAKEN_BACK = Command('rm -- "$WORK_DIR"/changed')
REFUSES = "It refuses where nothing was changed: `$WORK_DIR/changed` says that something was."
COMPARED = "`diff` says nothing when it holds what the drill found; `<` is what is expected, `>` what was answered."


class System(ABC):
    """One target's system.

    Args:
        drilled: What its last passed drill measured.
        places: Where each opened artifact lies, relative to the work directory, in the order of restoring.
        parts: What the steps need is noted here.
    """

    def __init__(self, drilled: Drilled, places: Sequence[str], parts: Parts) -> None:
        self.drilled, self.places, self.parts = drilled, list(places), parts

    @property
    @abstractmethod
    def name(self) -> str:
        """What ``runbook.restored`` of the catalogue calls what is there in the end."""

    @abstractmethod
    def restore(self) -> list[WrittenStep]:
        """From the opened artifacts to a system beside the old one."""

    @abstractmethod
    def verify(self) -> WrittenStep:
        """Ask it what the drill asked it; leaves a sign in ``accepted/`` that the next step needs."""

    @abstractmethod
    def go_live(self) -> WrittenStep:
        """Put it in the place of the old one, which is kept."""

    @abstractmethod
    def roll_back(self) -> WrittenStep:
        """Have the old one again."""


class Placed(System):
    """What lives at a path: it is restored as ``restored/NAME`` and moved to ``$RESTORE_DIR/NAME``."""

    #: What lies beside it and belongs to the old one, so that it must go with it.
    beside: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The target's name."""
        return self.drilled.target.name

    def accept(self) -> Command:
        """What was verified goes on."""
        return Command(f"mv -- restored/{self.name} accepted/{self.name}")

    def go_live(self) -> WrittenStep:
        """Keep the old one as NAME.before, move the new one there."""
        self.parts.takes(Variable("RESTORE_DIR", "the directory in which the system lives", "/srv/restore"))
        kept = [f"{{ [ ! -e {each} ] || mv -- {each} {each}.before; }}" for each in self._names()]
        commands = [
            accepted(self.name),
            Command('mkdir -p -- "$RESTORE_DIR"'),
            Command('cd "$RESTORE_DIR"'),
            *[needed(f"[ ! -e {each}.before ]", f"{each}.before is kept already") for each in self._names()],
            CHANGED,
            *[Command(each) for each in kept],
            Command(f'mv -- "$WORK_DIR"/accepted/{self.name} {self.name}'),
        ]
        about = (
            f"Stop what uses `{self.name}` first. What is there now is kept as `{self.name}.before`; one that is kept "
            "already is never overwritten. Owner and mode of the new one are set by hand, as the old one has them."
        )
        return WrittenStep("Put it in its place", tuple(commands), about)

    def roll_back(self) -> WrittenStep:
        """Set the new one aside, take the old one back."""
        aside = f"{self.name}.rejected"
        commands = [
            IS_CHANGED,
            Command('cd "$RESTORE_DIR"'),
            needed(f"[ ! -e {aside} ]", f"{aside} is kept already"),
            Command(f"{{ [ ! -e {self.name} ] || mv -- {self.name} {aside}; }}"),
            *[Command(f"{{ [ ! -e {each} ] || mv -- {each} {each}.rejected; }}") for each in self._names()[1:]],
            *[Command(f"{{ [ ! -e {each}.before ] || mv -- {each}.before {each}; }}") for each in self._names()],
            TAKEN_BACK,
        ]
        about = (
            f"Stop what uses it. What was restored is kept as `{aside}`, `{self.name}.before` is put back. {REFUSES}"
        )
        return WrittenStep("Take back what was there before", tuple(commands), about)

    def _names(self) -> list[str]:
        return [self.name, *(f"{self.name}{ending}" for ending in self.beside)]


class Served(System):
    """What lives in a server: its answers are compared with those that the drill was given."""

    def compared(self, client: str, asking: Callable[[str], str]) -> WrittenStep:
        """As many rows as the drill counted.

        Args:
            client: What asks the restored database, and answers with one line a statement.
            asking: The statement that answers ``TABLE|ROWS`` for a table.
        """
        counts = labelled(self.drilled.counts())
        asked = tuple(asking(table) for table, _ in counts) or ("select 1;",)
        expected = tuple(f"{table}|{count}" for table, count in counts) or ("1",)
        commands = (
            CD,
            Command(f"{client} >answers", asked),
            Command("diff - answers", expected),
            Command(f"touch accepted/{self.drilled.target.name}"),
        )
        return WrittenStep("Ask the database", commands, COMPARED)

    def absent(self, asked: str) -> tuple[Command, Command]:
        """Stop where something of that name exists; what is asked for it is a word of bash."""
        return Command(f'there="$({asked})"'), needed('test -z "$there"', "a database of that name exists")

    def hand_over(self) -> WrittenStep:
        """Going live where it was restored under its own name: only what was verified is handed over."""
        commands = (accepted(self.drilled.target.name),)
        return WrittenStep("Hand it over", commands, "Start what uses it, when this command ends well.")


def databases(drilled: Drilled) -> list[str]:
    """The databases that the backup has names for, the one that was examined first."""
    facts = of_restore(drilled)
    unnamed = facts.get("unnamed", (UNNAMED,))  # evidence from before it was told: by the name alone
    return [str(each) for each in facts.get("databases") or () if each not in unnamed and str(each).isprintable()]


def stands_in(drilled: Drilled) -> bool:
    """Whether the drill had to make roles or accounts that the backup speaks of and lacks."""
    facts = of_restore(drilled)
    # Evidence from before it was told may be of such a drill: the step makes what the dump speaks of, or nothing.
    return bool(facts.get("stood_in", bool(facts)))


def of_restore(drilled: Drilled) -> Mapping[str, Any]:
    """What the engine said of the restore."""
    return drilled.facts("restore").get("facts") or {}


def accepted(name: str) -> Command:
    """Nothing goes live but what was verified."""
    return needed(f'test -e "$WORK_DIR"/accepted/{name}', "it was not verified in this work directory")


def labelled(counts: dict[str, int]) -> list[tuple[str, int]]:
    """Tables that can be written on one line, in order, with their rows."""
    return sorted((table, count) for table, count in counts.items() if table.isprintable())


def literal(text: str) -> str:
    """A text of SQL."""
    return "'" + text.replace("'", "''") + "'"


def identifier(text: str) -> str:
    """A name of SQL."""
    return '"' + text.replace('"', '""') + '"'
