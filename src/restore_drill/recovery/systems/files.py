"""Trees of files and single files: unpacked, counted, and held against their own lists."""

from __future__ import annotations

from typing import Final

from restore_drill.recovery.book import Command, WrittenStep, digest
from restore_drill.recovery.opening import SEVENZIP
from restore_drill.recovery.prose import quoted
from restore_drill.recovery.systems.base import CD, Placed

_UNPACK: Final = {
    "tar": ("tar", "tar --extract --preserve-permissions --file {source} --directory {into}"),
    "zip": ("unzip", "unzip -q {source} -d {into}"),
    "7z": ("7z", SEVENZIP + " x -bd -bso0 -o{into} {source}"),
}
_CHAINED: Final = _UNPACK["tar"][1].replace("--extract", "--extract --listed-incremental=/dev/null")


class Tree(Placed):
    """A directory: an archive, a chain of archives, or one file by file."""

    def restore(self) -> list[WrittenStep]:
        """Unpack what is packed."""
        into = f"restored/{self.name}"
        commands = [CD, Command(f"mkdir {into}")]
        for stored, place in zip(self.drilled.stored, self.places, strict=True):
            if stored.is_directory:
                commands.append(Command(f"cp -a -- {place}/. {into}/"))
                continue
            inner = stored.formats[-1] if stored.formats else "tar"
            program, command = _UNPACK.get(inner, _UNPACK["tar"])
            self.parts.needs(program)
            chained = inner == "tar" and bool(self.drilled.copy.pattern.kinds)
            commands.append(Command((_CHAINED if chained else command).format(source=place, into=into)))
        about = "As root, owners come back as well." + (
            f" The {len(self.places)} archives of the chain are unpacked one over the other, the full one first."
            if len(self.places) > 1
            else ""
        )
        return [WrittenStep("Unpack it" if len(self.places) == 1 else "Unpack the chain", tuple(commands), about)]

    def verify(self) -> WrittenStep:
        """As many files and bytes as the drill found, and what its own list says."""
        self.parts.needs("find", "awk", "diff")
        found = dict(self.drilled.facts("restore").get("facts") or {})
        unpacked = self.drilled.facts("fetch").get("unpack") or {}
        count = "find . -type f -printf '%s\\n' | awk '{ files += 1; bytes += $1 } END { print files + 0, bytes + 0 }'"
        files, size = found.get("files", unpacked.get("files")), found.get("bytes", unpacked.get("bytes"))
        if unpacked.get("hard_links"):  # how many bytes they count for depends on who counts
            count, size = "find . -type f -printf '.\\n' | awk '{ files += 1 } END { print files + 0 }'", None
        expected = " ".join(str(int(each)) for each in (files, size) if each is not None)
        if files is None:  # nobody has drilled it
            commands = [CD, Command(f'test -n "$(find restored/{self.name} -type f -print -quit)"'), self.accept()]
            return WrittenStep("Count the files", tuple(commands), "No drill has counted them: there is one at least.")
        commands = [CD, Command(f"cd restored/{self.name}"), Command(f"{count} >../../counted")]
        if expected:
            commands.append(Command("diff - ../../counted", (expected,)))
        for manifest in self._manifests():
            self.parts.needs("sha256sum")
            commands.append(Command(f"sha256sum --check --strict --quiet {quoted(manifest)}"))
        commands += [CD, self.accept()]
        about = f"The drill found {files} files" + (f" and {size} bytes" if size is not None else "") + " in it."
        return WrittenStep("Count the files", tuple(commands), about)

    def _manifests(self) -> list[str]:
        """The tree's own list of digests, when the drill held it against the tree and ``sha256sum`` reads it."""
        for check, _, facts, _ in self.drilled.checks():
            listed = facts.get("manifest") if check == "files" else None
            expect = self.drilled.target.model.expect.files
            name = getattr(expect, "manifest", None) if expect else None
            if listed and listed.get("algorithm") == "sha256" and isinstance(name, str) and name.endswith("SUMS"):
                return [name]
        return []


class OneFile(Placed):
    """One file that is loaded by the application itself: an export, a dump of memory, a bundle."""

    def restore(self) -> list[WrittenStep]:
        """It is what was opened."""
        return [WrittenStep("Set the file apart", (CD, Command(f"mv -- {self.places[0]} restored/{self.name}")))]

    def verify(self) -> WrittenStep:
        """It holds the bytes that the drill examined."""
        self.parts.needs("sha256sum")
        layers = self.drilled.stored[0].layers
        known = digest(layers[-1].get("sha256")) if layers else ""
        commands = [CD, Command(f"test -s restored/{self.name}")]
        if known:
            commands.append(Command("sha256sum --check --strict --quiet -", (f"{known}  restored/{self.name}",)))
        if self.drilled.target.model.engine == "redis":
            self.parts.needs("redis-check-rdb")
            commands.append(Command(f"redis-check-rdb restored/{self.name} >checked"))
        if self.drilled.target.model.engine == "git":
            self.parts.needs("git")
            commands.append(Command(f"git bundle list-heads restored/{self.name} >checked"))
        about = "The drill loaded exactly these bytes."
        return WrittenStep("Compare its content", (*commands, self.accept()), about)
