"""Volumes: the state of an application, put back into a named volume and tried with the application's own image.

The archive is unpacked and looked at as a tree, as the ``files`` engine does. What came of it is brought into a volume
of the container engine, which is mounted where the application keeps its data; its own command is started over it,
without a network, and is tried from inside. All of it goes with the sandbox.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final

from restore_drill.engines.base import Linked, Restored, RestoreOptions, Sample
from restore_drill.engines.files import FilesEngine, RestoredFiles
from restore_drill.engines.volume_application import Application
from restore_drill.errors import CouldNotVerify, UsageProblem
from restore_drill.model import Payload, PayloadForm, Stage
from restore_drill.sandboxes.base import Need, Sandbox, Volume

_MOUNT: Final = re.compile(r"(?:/[\w.+-]+)+", re.ASCII)
#: Places of a container that are not an application's.
_TAKEN: Final = ("/drill", "/proc", "/sys", "/dev", "/etc", "/bin", "/lib", "/usr")
_VARIABLE: Final = re.compile(r"[A-Za-z_]\w{0,100}", re.ASCII)
_USER: Final = re.compile(r"[\w.-]{1,60}(?::\d{1,9})?", re.ASCII)
_OPTIONS: Final = ("mount", "command", "environment", "user", "not_archived")
#: What both finds take.
_COUNT: Final = 'cd "$0" && for t in f d l; do find . -type $t -exec printf %.0s. {} + | wc -c; done'


@dataclass(frozen=True, slots=True)
class _Settings:
    """What the catalogue says of the application.

    Attributes:
        mount: Where it keeps its data.
        command: What is started; ``None`` for the image's own, empty for nothing.
        environment: Variables besides the image's.
        user: The account, ``""`` for the image's own.
    """

    mount: str
    command: tuple[str, ...] | None
    environment: Mapping[str, str]
    user: str


class VolumeEngine(FilesEngine):
    """A Docker volume and the application over it.

    Options: ``mount`` (where the application keeps its data), ``command`` (default: the image's own; ``[]`` starts
    nothing), ``environment`` (variables besides the image's), ``user`` (default: the image's own, nobody where that is
    root), ``not_archived`` as for ``files``. The image is the target's ``sandbox: {image: ...}``.
    """

    name: ClassVar[str] = "volume"
    forms: ClassVar[tuple[PayloadForm, ...]] = (PayloadForm.TREE,)
    sandboxes: ClassVar[tuple[str, ...]] = ("container",)
    checks: ClassVar[frozenset[str]] = frozenset({"files", "newest", "smoke"})
    #: The container is the application's own, whose image has nothing of ours.
    functions_inside: ClassVar[bool] = False
    required_options: ClassVar[Mapping[str, str]] = {"mount": "/var/lib/app"}
    image_required: ClassVar[bool] = True
    chains: ClassVar[bool] = True

    def link(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Linked:
        """Make one tree of a chain; see :meth:`FilesEngine.link`."""
        _settings(options.settings)
        return super().link(payloads, sandbox, _of_files(options))

    def restore(self, payloads: Sequence[Payload], sandbox: Sandbox, options: RestoreOptions) -> Restored:
        """Bring the tree into a volume, and start the application over it where something will be asked of it.

        Raises:
            BackupFailed: Not a single file came back, or the trees of a chain do not fit together.
            CouldNotVerify: There is no container engine or image, or the volume cannot be made.
            UsageProblem: The catalogue gives this engine an option that it does not have, or lacks one.
        """
        settings, until = _settings(options.settings), time.monotonic() + options.deadline
        tree = super().restore(payloads, sandbox, _of_files(options))
        assert isinstance(tree, RestoredFiles)  # noqa: S101 - what the engine of files makes
        need = Need(
            system="the application",
            user=settings.user,
            programs=("sh",),
            volumes=(Volume(settings.mount, tree.path, owned=options.owned),),
        )
        ground = sandbox.equip(need)
        application = Application(sandbox, ground, settings.command, settings.environment)
        _compare(application, settings.mount, tree, until)
        if "smoke" in options.wanted:
            application.start(max(1.0, until - time.monotonic()))
        return RestoredVolume(tree, application, settings.mount, dict(ground.facts))

    @classmethod
    def samples(cls) -> Iterator[Sample]:
        """A good volume and damaged ones; see :mod:`restore_drill.engines.volume_samples`."""
        from restore_drill.engines.volume_samples import samples

        yield from samples()


class RestoredVolume(Restored):
    """A volume, and the application over it."""

    def __init__(self, tree: RestoredFiles, application: Application, mount: str, programs: Mapping[str, Any]) -> None:
        self._tree = tree
        self._application = application
        self.facts = {**tree.facts, "volume": mount, "application": application.state, "programs": programs}
        self.notes = [*tree.notes, *application.notes]

    def files(self, rule: Mapping[str, Any]) -> dict[str, Any]:
        """Look at the tree that the volume was filled with; see :meth:`RestoredFiles.files`.

        What the application has changed in the volume since is not the backup's.
        """
        return self._tree.files(rule)

    def entries(self, rule: Mapping[str, Any], deadline: float) -> Iterator[tuple[Any, ...]]:
        """The regular files of the tree that the volume was filled with; see :meth:`Restored.entries`."""
        return self._tree.entries(rule, deadline)

    def smoke(self, rule: Mapping[str, Any], deadline: float) -> dict[str, Any]:
        """Try the application; see :meth:`Restored.smoke`."""
        return self._application.run(rule["run"], deadline) if "run" in rule else self._application.ask(rule, deadline)

    @property
    def path(self) -> Any:
        """The tree that the volume was filled with."""
        return self._tree.path


def _compare(application: Application, mount: str, tree: RestoredFiles, until: float) -> None:
    """Whether the volume holds as many files, directories and links as the tree, seen from inside.

    Raises:
        CouldNotVerify: It does not.
    """
    found = application.exec(["sh", "-c", _COUNT, mount], max(1.0, until - time.monotonic()))
    numbers = found.stdout.split()
    if found.stderr.strip() or len(numbers) != 3 or not all(number.isdigit() for number in numbers):
        application.notes.append("the application's account cannot read all of the volume: see its owners and modes")
        return
    facts = tree.facts
    seen = tuple(int(number) for number in numbers)
    # The root is a directory of the volume and none of the tree's.
    if seen != (facts["files"], facts["directories"] + 1, facts["links"]):
        raise CouldNotVerify(
            f"the volume holds {seen[0]} files, {seen[1] - 1} directories and {seen[2]} links, and was filled with "
            f"{facts['files']}, {facts['directories']} and {facts['links']}",
            remedy="Look at the container engine's log, and for room on its disk.",
            stage=Stage.RESTORE,
        )


def _of_files(options: RestoreOptions) -> RestoreOptions:
    settings = {name: value for name, value in options.settings.items() if name == "not_archived"}
    return replace(options, settings=settings)


def _settings(given: Mapping[str, Any]) -> _Settings:
    if unknown := sorted(given.keys() - set(_OPTIONS)):
        raise UsageProblem(
            f"the volume engine has no option {', '.join(unknown)}", remedy=f"It has {', '.join(_OPTIONS)}."
        )
    mount, command = given.get("mount", ""), given.get("command")
    environment, user = given.get("environment", {}), given.get("user", "")
    good = {
        "mount": isinstance(mount, str) and bool(_MOUNT.fullmatch(mount)) and not _is_taken(mount),
        "command": command is None
        or (isinstance(command, list | tuple) and all(isinstance(one, str) for one in command)),
        "environment": isinstance(environment, Mapping) and all(map(_is_variable, environment.items())),
        "user": isinstance(user, str) and (not user or bool(_USER.fullmatch(user))),
    }
    if wrong := [name for name, fine in good.items() if not fine]:
        raise UsageProblem(
            f"the volume engine's option {wrong[0]} {'is missing' if wrong[0] not in given else 'has a wrong value'}",
            remedy="Write it like this: engine_options: {mount: /var/lib/app, command: [app, serve], environment: "
            "{APP_MODE: drill}, user: app}.",
        )
    return _Settings(mount, None if command is None else tuple(command), dict(environment), user)


def _is_taken(mount: str) -> bool:
    parts = mount.split("/")
    return "." in parts or ".." in parts or any(mount == place or mount.startswith(f"{place}/") for place in _TAKEN)


def _is_variable(pair: tuple[Any, Any]) -> bool:
    name, value = pair
    return isinstance(name, str) and bool(_VARIABLE.fullmatch(name)) and isinstance(value, str) and "\0" not in value
