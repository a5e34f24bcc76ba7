"""Which image a container is made from: the catalogue's, the version's, or a stand-in of ours; present or pulled."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from restore_drill.errors import CouldNotVerify
from restore_drill.printable import printable
from restore_drill.sandboxes.base import Need, SandboxOptions
from restore_drill.sandboxes.containers import references
from restore_drill.sandboxes.containers.client import Engine, Missing
from restore_drill.sandboxes.containers.pulling import PullFailed, pull
from restore_drill.sandboxes.containers.references import Reference

#: Stand-ins built on this machine (``fixtures/images``) are of this namespace; nothing of it is ever pulled.
STAND_INS: Final = "restore-drill"
#: What processors run besides their own kind.
_RUNS: Final[Mapping[str, frozenset[str]]] = {"amd64": frozenset({"386"}), "arm64": frozenset({"arm"})}
_LABELS: Final = (
    "org.opencontainers.image.version",
    "org.opencontainers.image.revision",
    "restore-drill.image.version",
)
_LABEL_LIMIT: Final = 120


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is in the engine.

    Attributes:
        reference: The name by which it was found.
        id: What a container is made from; no tag that moves in between leads elsewhere.
        digests: What registries call it, ``postgres@sha256:…``; none for one that no registry gave.
        created: When it was made, as it says itself.
        platform: ``linux/amd64``.
        user: The account that it names for its programs.
        environment: Variables that it sets.
        volumes: Directories for which the engine makes volumes unless something else is mounted there.
        labels: Those that say what it is.
        pulled: Whether it was pulled just now.
        pull_seconds: How long that took.
    """

    reference: str
    id: str
    digests: tuple[str, ...] = ()
    created: str = ""
    platform: str = ""
    user: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[str, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    pulled: bool = False
    pull_seconds: float = 0.0

    def facts(self) -> dict[str, Any]:
        """What evidence says about it."""
        return {
            "image": self.reference,
            "image_id": self.id,
            "image_digests": list(self.digests),
            "image_created": self.created,
            "image_platform": self.platform,
            "image_labels": dict(self.labels),
            "image_pulled": self.pulled,
            **({"image_pull_seconds": round(self.pull_seconds, 3)} if self.pulled else {}),
        }


def resolve(engine: Engine, need: Need, options: SandboxOptions) -> Image:
    """The image for what an engine needs; it is in the container engine afterwards.

    The catalogue's image is the only candidate where there is one. Otherwise it is the one of the backup's version, or
    a stand-in of that name: whoever built one has no registry, and waiting for one that does not answer is no use.

    Raises:
        CouldNotVerify: There is none, and it may not or cannot be pulled; or it is not what it is pinned to, or made
            for other processors.
    """
    wanted = _wanted(need, options)
    candidates = [wanted]
    if not options.image and not wanted.digest:
        candidates.append(references.parse(f"{STAND_INS}/{wanted.last}"))
    if options.pull != "always" or wanted.digest or _is_stand_in(wanted):
        for candidate in candidates:
            if found := _present(engine, candidate):
                return _fitting(engine, found)
    if options.pull == "never" or _is_stand_in(wanted):
        raise _absent(engine, wanted, _why_absent(engine, wanted), need)
    return _fitting(engine, _pulled(engine, wanted, need))


def present(engine: Engine, template: str) -> list[str]:
    """Names of the images in the container engine that a template may stand for, or of all stand-ins without one."""
    parts = re.split(r"\{[^}]*\}", template or f"{STAND_INS}/{{any}}")
    fitting = re.compile(r"[A-Za-z0-9._:/-]+".join(map(re.escape, parts)))
    with engine.asking("list its images"):
        listed: list[dict[str, Any]] = engine.api.images()
    names = {str(name) for each in listed for name in each.get("RepoTags") or ()}
    # Podman says localhost/ before what no registry gave.
    return sorted(printable(name) for name in names if fitting.fullmatch(name.removeprefix("localhost/")))


def _wanted(need: Need, options: SandboxOptions) -> Reference:
    template = options.image or need.image
    if not template:
        raise CouldNotVerify(
            f"no image is known for {need.system}",
            remedy="Name one in the target's sandbox: {kind: container, image: …}.",
        )
    try:
        text = references.fill(template, system=need.system, version=need.version) if options.image else template
        return references.parse(text)
    except ValueError as problem:
        raise CouldNotVerify(
            f"the image's name {problem}", looked_at=template, remedy="Mend image in the target's sandbox."
        ) from problem


def _is_stand_in(reference: Reference) -> bool:
    return not reference.registry and reference.repository.startswith(f"{STAND_INS}/")


def _present(engine: Engine, wanted: Reference) -> Image | None:
    """The image, when the engine has it; a pinned one only by its digest, whatever its tag leads to by now."""
    if not wanted.digest:
        return _inspect(engine, wanted.named, wanted)
    if found := _inspect(engine, f"{wanted.place}@{wanted.digest}", wanted):
        return found
    # What was imported or built here has no digest of a registry: its id is the digest of its configuration.
    found = _inspect(engine, wanted.named, wanted)
    return found if found and found.id.removeprefix("sha256:") == wanted.digest.removeprefix("sha256:") else None


def _pulled(engine: Engine, wanted: Reference, need: Need) -> Image:
    clock = time.monotonic()
    try:
        pull(engine, wanted)
    except PullFailed as problem:
        why = f"the image {wanted} is not in the container engine and cannot be pulled: {problem.meaning}"
        raise _absent(engine, wanted, why, need, said=problem.said, first=f"{problem.remedy}; or ") from problem
    found = _present(engine, wanted)
    if found is None:
        raise _absent(engine, wanted, f"the image {wanted} was pulled, and the engine does not have it", need)
    return replace(found, pulled=True, pull_seconds=time.monotonic() - clock)


def _why_absent(engine: Engine, wanted: Reference) -> str:
    if wanted.digest and (other := _inspect(engine, wanted.named, wanted)):
        return f"the image {wanted.named} in the container engine is not the one that it is pinned to but {other.id}"
    return f"the image {wanted} is not in the container engine, and may not be pulled"


def _absent(
    engine: Engine, wanted: Reference, why: str, need: Need, *, said: str = "", first: str = ""
) -> CouldNotVerify:
    ways = [f"pull it beforehand (docker pull {wanted})"]
    if _is_stand_in(wanted) or not wanted.registry:
        ways.append("build a stand-in from Debian's packages (fixtures/images in restore-drill's repository)")
    if need.programs and not need.volumes:  # a directory has no volumes
        ways.append("set sandbox: directory, which runs this machine's own programs")
    if _is_stand_in(wanted):
        del ways[0]
    choice = f"{', '.join(ways[:-1])}, or {ways[-1]}" if len(ways) > 1 else ways[0]
    remedy = f"{first}{choice}" if first else choice[0].upper() + choice[1:]
    return CouldNotVerify(why, looked_at=f"{engine.host}: {said}" if said else engine.host, remedy=f"{remedy}.")


def _inspect(engine: Engine, name: str, wanted: Reference) -> Image | None:
    try:
        with engine.asking("show an image"):
            described: dict[str, Any] = engine.api.inspect_image(name)
    except Missing:
        return None
    configuration = described.get("Config") or {}
    labels = configuration.get("Labels") or {}
    return Image(
        str(wanted),
        str(described["Id"]),
        digests=tuple(sorted(described.get("RepoDigests") or ())),
        created=str(described.get("Created") or ""),
        platform=f"{described.get('Os', '')}/{described.get('Architecture', '')}",
        user=str(configuration.get("User") or ""),
        environment=dict(line.partition("=")[::2] for line in configuration.get("Env") or ()),
        volumes=tuple(sorted(configuration.get("Volumes") or ())),
        labels={name: printable(str(labels[name]))[:_LABEL_LIMIT] for name in _LABELS if name in labels},
    )


def _fitting(engine: Engine, image: Image) -> Image:
    """The image itself.

    Raises:
        CouldNotVerify: The engine's processors do not run it, or only emulated: slowly, and with other floating point.
    """
    system, processor = str(engine.version.get("Os") or ""), str(engine.version.get("Arch") or "")
    if not system or not processor:
        return image
    others = {f"{system}/{other}" for other in _RUNS.get(processor, ())}
    if image.platform in {f"{system}/{processor}", *others}:
        return image
    raise CouldNotVerify(
        f"the image {image.reference} is made for {image.platform}, and the container engine runs {system}/{processor}",
        looked_at=image.id,
        remedy=f"Pull it anew: docker pull --platform {system}/{processor} {image.reference}; or name another image.",
    )
