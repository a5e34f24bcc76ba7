"""How a person decrypts and decompresses what was fetched: one program a layer, from the outside in."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from restore_drill.plan import PlannedCopy
from restore_drill.recovery.book import Command, Drilled, Parts, Stored, Variable, WrittenStep, digest
from restore_drill.recovery.prose import code, quoted
from restore_drill.repositories.names import peeled

_ENCRYPTS: Final = ("age", "openpgp", "openssl")
#: As packages of p7zip call it, or those of 7-Zip itself.
SEVENZIP: Final = '"$(command -v 7z || command -v 7zz)"'
#: Layer → the program and how it writes what it decompresses to its standard output.
_DECOMPRESS: Final = {
    "gzip": "gzip --decompress --stdout", "xz": "xz --decompress --stdout", "bzip2": "bzip2 --decompress --stdout",
    "zstd": "zstd --decompress --stdout --quiet --long=31", "lz4": "lz4 --decompress --stdout --quiet",
    "lzip": "lzip --decompress --stdout", "zip": "unzip -p", "7z": f"{SEVENZIP} x -so",
}  # fmt: skip


def opened(drilled: Drilled, parts: Parts) -> tuple[list[WrittenStep], list[str]]:
    """Steps that decrypt and decompress, and where in the work directory each artifact lies after them."""
    places = [f"verified/{stored.name}" for stored in drilled.stored]
    steps: list[WrittenStep] = []
    layers = [list(stored.layers) for stored in drilled.stored]
    ends = [_encodings(stored) for stored in drilled.stored]
    at = [0] * len(places)
    while any(place < end for place, end in zip(at, ends, strict=True)):
        decrypting = any(
            layers[index][at[index]]["format"] in _ENCRYPTS for index in range(len(places)) if at[index] < ends[index]
        )
        commands: list[Command] = []
        for index, stored in enumerate(drilled.stored):
            if at[index] >= ends[index] or (layers[index][at[index]]["format"] in _ENCRYPTS) != decrypting:
                continue
            layer, result = layers[index][at[index]], _result(places[index], "decrypted" if decrypting else "opened")
            open_it = _decrypt if decrypting else _decompress
            commands += open_it(drilled.copy, layer, places[index], result, parts)
            at[index] += 1
            if not decrypting and at[index] == ends[index] and (line := _inner(stored, at[index], result)):
                commands.append(line)
            places[index] = result
        steps.append(_step(commands, decrypting=decrypting))
    return steps, places


def _step(commands: list[Command], *, decrypting: bool) -> WrittenStep:
    about = "The key comes from where the variable says; it stands in no command." if decrypting else ""
    return WrittenStep("Decrypt" if decrypting else "Decompress", (Command('cd "$WORK_DIR"'), *commands), about)


def _encodings(stored: Stored) -> int:
    """How many layers are peeled off: all but the innermost, which the engine, or tar, reads."""
    return 0 if stored.is_directory else max(0, len(stored.layers) - 1)


def _inner(stored: Stored, index: int, result: str) -> Command | None:
    """What comes out must be what came out in the drill, where that is known."""
    known = digest(stored.layers[index].get("sha256")) if index < len(stored.layers) else ""
    return Command("sha256sum --check --strict --quiet -", (f"{known}  {result}",)) if known else None


def _result(place: str, directory: str) -> str:
    name = place.rpartition("/")[2]
    _, bare = next(peeled(name), ("", f"{name}.plain"))
    return f"{directory}/{bare}"


def _decompress(copy: PlannedCopy, layer: Mapping[str, Any], source: str, result: str, parts: Parts) -> list[Command]:
    name = str(layer["format"])
    if name not in _DECOMPRESS:
        parts.by_hand.append(f"No program is known that reads the format {code(name)}: open `{source}` by hand.")
        said = quoted(f"{source} must be opened by hand: {name}")
        return [Command(f"{{ echo {said} >&2; false; }}")]
    command = _DECOMPRESS[name]
    if name in ("zip", "7z") and layer.get("opened_by"):
        key = _key(copy, name, "password", parts)
        parts.needs("7z")
        return [Command(f'{SEVENZIP} x -so -p"$(cat {key})" {source} >{result}')]
    parts.needs("7z" if name == "7z" else command.split()[0])
    return [Command(f"{command} {source} >{result}")]


def _decrypt(copy: PlannedCopy, layer: Mapping[str, Any], source: str, result: str, parts: Parts) -> list[Command]:
    return _HOW[str(layer["format"])](copy, layer, source, result, parts)


def _age(copy: PlannedCopy, layer: Mapping[str, Any], source: str, result: str, parts: Parts) -> list[Command]:
    parts.needs("age")
    if layer.get("opened_by") == "passphrase":
        parts.by_hand.append("`age` asks for the passphrase on the terminal.")
        return [Command(f"age --decrypt --output {result} {source}")]
    if layer.get("opened_by"):
        parts.cautions.append(f"The key that opened it in the drill is that of {code(layer['opened_by'])}.")
    return [Command(f"age --decrypt --identity {_key(copy, 'age', 'identity', parts)} --output {result} {source}")]


def _gpg(copy: PlannedCopy, layer: Mapping[str, Any], source: str, result: str, parts: Parts) -> list[Command]:
    parts.needs("gpg", "gpgconf")
    given = copy.decrypt.get("openpgp", {})
    commands = [Command('export GNUPGHOME="$WORK_DIR"/gnupg'), Command('mkdir -p -m 700 "$GNUPGHOME"')]
    passphrase = ""
    if "passphrase" in given:
        passphrase = f" --pinentry-mode loopback --passphrase-file {_key(copy, 'openpgp', 'passphrase', parts)}"
    if layer.get("opened_by") != "passphrase":
        commands.append(Command(f"gpg --batch --quiet{passphrase} --import {_key(copy, 'openpgp', 'key', parts)}"))
    commands.append(Command(f"gpg --batch --quiet{passphrase} --output {result} --decrypt {source}"))
    return [*commands, Command("gpgconf --kill gpg-agent")]


def _openssl(copy: PlannedCopy, layer: Mapping[str, Any], source: str, result: str, parts: Parts) -> list[Command]:
    parts.needs("openssl")
    made = " -pbkdf2" + (f" -iter {int(layer['iterations'])}" if layer.get("iterations") else "")
    cipher, hashed = quoted(f"-{layer.get('cipher', 'aes-256-cbc')}"), quoted(str(layer.get("digest", "sha256")))
    how = f"{cipher} -md {hashed}"
    how += (made if layer.get("kdf") == "pbkdf2" else "") + (" -a" if layer.get("base64") else "")
    key = _key(copy, "openssl", "password", parts)
    return [Command(f"openssl enc -d {how} -pass file:{key} -in {source} -out {result}")]


_HOW: Final[Mapping[str, Callable[[PlannedCopy, Mapping[str, Any], str, str, Parts], list[Command]]]] = {
    "age": _age, "openpgp": _gpg, "openssl": _openssl,
}  # fmt: skip


def _key(copy: PlannedCopy, codec: str, name: str, parts: Parts) -> str:
    """The variable that names the file with a key; where the key is kept is no secret, the key is."""
    variable = f"KEY_{codec}_{name}".upper().replace("-", "_").replace(".", "_")
    reference = copy.decrypt.get(codec, {}).get(name)
    kept = f"what {reference} holds" if reference is not None else "not named in the catalogue"
    parts.takes(Variable(variable, f"a file that only you can read, with the {name} for {codec}", kept))
    return f'"${variable}"'
