"""After a run, or by the calendar: find out what changed, tell it, reset the dead-man's switches.

The memory is updated before anything is sent (what is to be sent is claimed, so that two runs at once do not tell the
same) and once more after it. When the state cannot be had everything that is broken is told: rather twice than never.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from restore_drill import __version__
from restore_drill.alerting import due, judging, memory, message, pings, sending
from restore_drill.errors import RestoreDrillError, unexpected
from restore_drill.printable import printable
from restore_drill.quantities import format_duration
from restore_drill.secrets import redact
from restore_drill.state import State, open_state
from restore_drill.whole_files import write_whole

if TYPE_CHECKING:
    from restore_drill.alerting.due import Item
    from restore_drill.alerting.sending import Outcome
    from restore_drill.ledger.base import Entry
    from restore_drill.plan import Plan
    from restore_drill.policy.population import Population

#: Name and version of ``reports/<run>/alerts.json``.
FORM = "restore-drill/alerts/1"
#: Takes messages and pings, and says what became of each by name.
Sender = Callable[[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]], Mapping[str, "Outcome"]]
#: Seconds within which a ping is tried again.
_PING_DEADLINE = 30.0
#: Seconds after which a run says nothing of today any more: a directory may still hold what last night left.
_STALE = 12 * 3600.0


@dataclass(slots=True)
class Delivery:
    """What became of the alerts and pings of a run.

    Attributes:
        sent: Title of the message by channel.
        undelivered: Why not, by channel; a ping that was not accepted is ``ping TIER``.
        pinged: Tiers whose switch was reset; ``TIER (fail)`` where its ``fail_url`` was requested.
        withheld: Why a tier was not pinged, by tier.
        problems: What else went wrong: the state could not be read or written.
        dry: What would be sent, by channel; only when asked not to send.
    """

    sent: dict[str, str] = field(default_factory=dict)
    undelivered: dict[str, str] = field(default_factory=dict)
    pinged: list[str] = field(default_factory=list)
    withheld: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    dry: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def undelivered_count(self) -> int:
        """How many channels and pings did not get through."""
        return len(self.undelivered)

    def lines(self) -> list[str]:
        """What a person is told at the end of a run."""
        lines = [f"alert sent to {name}: {title}" for name, title in self.sent.items()]
        lines += [f"ALERT NOT DELIVERED to {name}: {why}" for name, why in self.undelivered.items()]
        lines += [f"alerts: {problem}" for problem in self.problems]
        lines += [f"pinged: {', '.join(self.pinged)}"] if self.pinged else []
        lines += [f"ping withheld for {tier}: {why}" for tier, why in self.withheld.items()]
        return [printable(redact(line)) for line in lines]

    def as_json(self) -> dict[str, Any]:
        """As ``reports/<run>/alerts.json`` has it: names of channels, never a URL."""
        return {
            "form": FORM,
            "sent": [{"channel": name, "title": title} for name, title in self.sent.items()],
            "undelivered": [{"channel": name, "why": why} for name, why in self.undelivered.items()],
            "pinged": self.pinged,
            "withheld": [{"tier": tier, "why": why} for tier, why in self.withheld.items()],
            "problems": self.problems,
        }


def deliver(
    plan: Plan,
    documents: Sequence[Mapping[str, Any]],
    *,
    population: Population | None = None,
    ledger: Entry | None = None,
    directory: Path | None = None,
    now: float | None = None,
    dry: bool = False,
    send: Sender = sending.send,
) -> Delivery:
    """Tell what a run changed, and ping. Never raises, and changes no verdict.

    Args:
        plan: Names the channels.
        documents: Evidence in the ledger's order: what was written on behalf of crashed runs, then this run's own.
        population: Says what is overdue.
        ledger: This run's entry.
        directory: The run's, where ``alerts.json`` is written.
        now: Seconds since the epoch (default: the clock).
        dry: Only find out what would be sent.
        send: Brings messages and pings on their way.
    """
    delivery = Delivery()
    if not plan.alerts and not plan.pings:
        return delivery
    try:
        work = _Work(plan, delivery, time.time() if now is None else now, dry=dry, send=send)
        refused = work.alert(documents, population, ledger)
        if documents:
            work.ping(documents[-1], refused)
    except Exception as problem:  # a mistake of ours here must not cost the run its verdict and its reports
        delivery.problems.append(redact(str(unexpected(problem))))
    if directory is not None and not dry:
        _write(directory / "alerts.json", delivery)
    return delivery


def alert_overdue(
    plan: Plan,
    population: Population,
    *,
    documents: Sequence[Mapping[str, Any]] = (),
    ledger: Entry | None = None,
    now: float | None = None,
    dry: bool = False,
    send: Sender = sending.send,
) -> Delivery:
    """Tell what is overdue now, and whatever somebody could not be told before. Never raises.

    ``documents`` is evidence written just now on behalf of runs that crashed; the rest is as in :func:`deliver`.
    """
    return deliver(plan, documents, population=population, ledger=ledger, now=now, dry=dry, send=send)


def try_channels(plan: Plan, *, send: Sender = sending.send) -> Delivery:
    """Send every channel a message that says it is a test; pings are left alone, since that would reset a switch."""
    delivery = Delivery()
    text = "This is a test of the channel: nothing is wrong."
    content = message.test_message(text, f"sent by restore-drill {__version__}")
    jobs = [_job(name, plan, content) for name in plan.alerts]
    for name, outcome in send(jobs, ()).items():
        if outcome.sent:
            delivery.sent[name] = content["title"]
        else:
            delivery.undelivered[name] = _why(outcome)
    return delivery


def _write(path: Path, delivery: Delivery) -> None:
    text = json.dumps(delivery.as_json(), indent=1, ensure_ascii=False) + "\n"
    try:
        write_whole(path, redact(text).encode())
    except OSError as problem:
        delivery.problems.append(f"{path.name} cannot be written: {problem.strerror}")


class _Work:
    """One delivery."""

    def __init__(self, plan: Plan, delivery: Delivery, now: float, *, dry: bool, send: Sender) -> None:
        self._plan = plan
        self._delivery = delivery
        self._now = now
        self._dry = dry
        self._send = send
        self._claimed: dict[str, list[Item]] = {}

    # --- alerts -------------------------------------------------------------------------------------------------------

    def alert(
        self, documents: Sequence[Mapping[str, Any]], population: Population | None, ledger: Entry | None
    ) -> set[str]:
        """Send one message a channel; returns the channels that were not reached."""
        if not self._plan.alerts:
            return set()

        def change(raw: bytes | None) -> bytes:
            try:
                return self._learned(memory.decode(raw), documents, population)
            except (KeyError, TypeError, ValueError, AttributeError):
                # A memory in which something is missing would keep every alert back, night after night.
                return self._learned(memory.empty(), documents, population)

        state = self._update(change)
        last = documents[-1] if documents else None
        footer = message.footer(last, ledger)
        demo = bool(last and last["run"].get("estate") == "demo")
        messages = {
            name: message.message(items, now=self._now, footer=footer, demo=demo)
            for name, items in self._claimed.items() if items
        }  # fmt: skip
        if self._dry:
            self._delivery.dry = messages
            return set()
        outcomes = self._send([_job(name, self._plan, each) for name, each in messages.items()], ()) if messages else {}
        self._remember(state, outcomes)
        for name, each in messages.items():
            if outcomes[name].sent:
                self._delivery.sent[name] = each["title"]
            else:
                self._delivery.undelivered[name] = _why(outcomes[name])
        return set(self._delivery.undelivered)

    def _learned(
        self, known: memory.Memory, documents: Iterable[Mapping[str, Any]], population: Population | None
    ) -> bytes:
        """Bring the memory up to date and claim what is to be told; begun anew when another run was faster."""
        plan = self._plan
        for document in documents:
            memory.learn(known, document, self._now)
        if population is not None:
            memory.look_at_calendar(known, population.current, self._now, plan.catalogue)
        memory.forget(known, self._has, plan.catalogue, plan.alerts, self._now)
        due.waive(known, plan)
        self._claimed = {
            name: due.due(known, plan, name, channel, self._now) for name, channel in plan.alerts.items()
        }  # fmt: skip
        for name, items in self._claimed.items():
            due.claim(known, name, items, self._now, sure=False)
        return memory.encode(known)

    def _has(self, target: str, copy: str) -> bool:
        planned = self._plan.by_name.get(target)
        return planned is not None and (not copy or copy in planned.copies_by_name)

    def _update(self, change: Any) -> State | None:
        """Change the memory; without a state, work with an empty one."""
        try:
            state = open_state(self._plan.state)
            if self._dry:
                change(state.read(memory.NAME))
            else:
                state.update(memory.NAME, change)
        except RestoreDrillError as problem:
            self._delivery.problems.append(f"what was told before is not known, so it may be told again: {problem}")
            change(None)
            return None
        return state

    def _remember(self, state: State | None, outcomes: Mapping[str, Outcome]) -> None:
        """Note who was told."""
        if state is None or not outcomes:
            return

        def change(raw: bytes | None) -> bytes:
            known = memory.decode(raw)
            for name, outcome in outcomes.items():
                if outcome.sent:
                    due.claim(known, name, self._claimed[name], self._now, sure=True)
                else:
                    due.give_back(known, name, self._claimed[name])
            memory.forget(known, self._has, self._plan.catalogue, self._plan.alerts, self._now)
            return memory.encode(known)

        try:
            state.update(memory.NAME, change)
        except RestoreDrillError as problem:
            self._delivery.problems.append(f"who was told could not be noted, so it may be told again: {problem}")

    # --- pings --------------------------------------------------------------------------------------------------------

    def ping(self, document: Mapping[str, Any], refused: set[str]) -> None:
        """Reset the switch of every tier that is wholly good, unless a channel of it was not reached."""
        jobs = []
        age = self._now - judging.ended(document)
        stale = f"this evidence is {format_duration(age // 60 * 60)} old" if age > _STALE else ""
        for tier, ping in self._plan.pings.items():
            ruling = pings.rule(self._plan, document, tier)
            deaf = sorted(name for name in refused if tier in (self._plan.alerts[name].tiers or (tier,)))
            why = ruling.why or stale or (f"{', '.join(deaf)} could not be told what changed" if deaf else "")
            if why and ruling.touched:
                self._delivery.withheld[tier] = why
            if not why:
                jobs.append(_ping_job(tier, ping, ping.url, document))
            elif ping.fail_url is not None and ruling.bad:
                jobs.append(_ping_job(f"{tier} (fail)", ping, ping.fail_url, document))
        if self._dry:
            self._delivery.pinged = [job["name"] for job in jobs]
            return
        for name, outcome in self._send((), jobs).items() if jobs else ():
            if outcome.sent:
                self._delivery.pinged.append(name)
            else:
                self._delivery.undelivered[f"ping {name}"] = _why(outcome)


def _job(name: str, plan: Plan, content: Mapping[str, Any]) -> dict[str, Any]:
    channel = plan.alerts[name]
    deadline = channel.deadline.total_seconds()
    return {"name": name, "url": channel.url, "deadline": deadline, "pauses": sending.pauses(deadline), **content}


def _ping_job(name: str, ping: Any, url: Any, document: Mapping[str, Any]) -> dict[str, Any]:
    timeout = ping.timeout.total_seconds()
    deadline = min(_PING_DEADLINE, 3 * timeout)
    counts = ", ".join(f"{count} {verdict}" for verdict, count in document.get("counts", {}).items() if count)
    return {
        "name": name, "url": url, "method": ping.method, "timeout": timeout, "deadline": deadline,
        "pauses": sending.pauses(deadline)[:3], "body": f"run {document['run']['id']}: {counts}\n",
        "agent": f"restore-drill/{__version__}",
    }  # fmt: skip


def _why(outcome: Outcome) -> str:
    tries = f" ({outcome.attempts} attempts)" if outcome.attempts > 1 else ""
    return f"{outcome.why or 'it was not accepted'}{tries}"
