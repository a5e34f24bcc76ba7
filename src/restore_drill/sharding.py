"""One plan spread over several runs, on machines that know nothing of each other: which run drills which target."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

#: How targets are spread without a plan file; part of a plan's digest, so that runs that spread them in different ways
#: are never joined.
METHOD = "rendezvous/1"
_FORM = re.compile(r"(\d{1,6})/(\d{1,6})")
_AUTO = re.compile(r"auto(?:/(\d{1,6}))?")


@dataclass(frozen=True, slots=True)
class Shard:
    """A run's part of a plan.

    Attributes:
        index: Which part, from 1.
        total: Of how many.
        plan: Digest of what all of them together were asked for, see :func:`plan_digest`.
        assigned: The shard of each target, where a plan file says so; ``None``: its name decides.
        plan_file: SHA-256 of that file.
        whole: Whether nothing but the file says what is drilled: what other shards have need not even be collected.
    """

    index: int
    total: int
    plan: str = ""
    assigned: Mapping[str, int] | None = field(default=None, compare=False, repr=False)
    plan_file: str = ""
    whole: bool = False

    def __str__(self) -> str:
        return f"{self.index} of {self.total}"

    def has(self, name: str) -> bool:
        """Whether something belongs to it, as its name says."""
        return shard_of(name, self.total) == self.index

    def drills(self, target: str) -> bool:
        """Whether it drills a target."""
        return self.has(target) if self.assigned is None else self.assigned.get(target) == self.index

    def as_evidence(self) -> dict[str, int | str]:
        """As it stands in evidence."""
        found: dict[str, int | str] = {"index": self.index, "total": self.total, "plan": self.plan}
        return found | ({"plan_file": self.plan_file} if self.plan_file else {})


def shard_of(name: str, total: int) -> int:
    """The shard that drills a target, from 1: the one that wins the draw of its name (rendezvous hashing).

    The others' places do not matter: a target that is added or removed moves no other one, and one shard more takes
    over its share and moves nothing else.
    """
    return max(range(1, total + 1), key=lambda index: hashlib.sha256(f"{index}\0{name}".encode()).digest())


def parse(text: str, environment: Mapping[str, str], shards: int = 0) -> Shard:
    """Read ``2/5``, or ``auto``: what the pipeline says.

    That is ``CI_NODE_INDEX`` and ``CI_NODE_TOTAL`` (GitLab's names, from 1), or ``JOB_COMPLETION_INDEX`` (a Kubernetes
    Indexed Job's, from 0). A pod is not told of how many it is one: ``auto/5`` says so, or the plan that was made.

    Args:
        text: What was asked for.
        environment: The pipeline's variables.
        shards: Of how many shards the plan was made, 0 where that is open.

    Raises:
        ValueError: It is neither, or the pipeline does not say.
    """
    asked = _AUTO.fullmatch(text)
    if asked is None:
        return _read(text, f"{text!r} is no shard")
    total = int(asked[1] or shards)
    job = environment.get("JOB_COMPLETION_INDEX", "")
    node, nodes = environment.get("CI_NODE_INDEX", ""), environment.get("CI_NODE_TOTAL", "")
    if job and (node or nodes):
        raise ValueError("both JOB_COMPLETION_INDEX and CI_NODE_INDEX or _TOTAL are set: write which shard this is")
    if job:
        return _of_job(job, total)
    if nodes == "1" and not node:  # a job that is not parallel
        node = "1"
    if total and nodes not in ("", str(total)):
        raise ValueError(f"CI_NODE_TOTAL={nodes}, and there are {total} shards")
    return _read(f"{node}/{nodes or total}", f"CI_NODE_INDEX={node} and CI_NODE_TOTAL={nodes} say no shard")


def _of_job(job: str, total: int) -> Shard:
    if not total:
        raise ValueError(
            "JOB_COMPLETION_INDEX does not say of how many: write auto/8, or make the plan with --shards 8"
        )
    index = str(int(job) + 1) if re.fullmatch(r"\d{1,6}", job) else job
    return _read(f"{index}/{total}", f"JOB_COMPLETION_INDEX={job} is none of {total} shards, which it counts from 0")


def plan_digest(catalogue: str, selection: Sequence[tuple[str, str]], method: str = METHOD) -> str:
    """The digest by which runs know that they are parts of one plan.

    Args:
        catalogue: SHA-256 of the catalogue.
        selection: What was selected of it, as pairs of an option and its value.
        method: How targets are spread.
    """
    plan = {"method": method, "catalogue": catalogue, "selection": sorted(selection)}
    return hashlib.sha256(json.dumps(plan, sort_keys=True, ensure_ascii=True).encode()).hexdigest()


def _read(text: str, problem: str) -> Shard:
    match = _FORM.fullmatch(text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise ValueError(f"{problem}; write 2/5 for the second of five, or auto where the pipeline says which")
    return Shard(int(match[1]), int(match[2]))
