"""How a person gets a snapshot out of a store, by the client that people have for it, and knows that it is whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from restore_drill.plan import PlannedCopy
from restore_drill.recovery.book import Command, Drilled, Parts, Stored, Variable, WrittenStep, below, is_chosen, keyed
from restore_drill.recovery.prose import quoted


def fetch(drilled: Drilled, parts: Parts, took: str) -> WrittenStep:
    """Copy everything that it is restored from into ``fetched/``."""
    copy = drilled.copy
    scheme = copy.settings.url.partition(":")[0].lower()
    if scheme == "file":
        parts.takes(Variable("BACKUP_DIR", f"where the store `{copy.store_name}` is mounted", _path(copy)))
        commands = [_from_disk(copy, stored) for stored in drilled.stored]
        parts.needs("cp")
    else:
        parts.takes(Variable("BACKUP_URL", f"the store `{copy.store_name}`", copy.settings.url.rstrip("/")))
        client = _CLIENTS.get(scheme, _rclone)
        if copy.pattern.is_split:
            parts.by_hand.append("The snapshot lies in parts: fetch each of them, and join them in order by `cat`.")
        commands = [Command(client(copy, stored, parts)) for stored in drilled.stored]
    about = f"From the store `{copy.store_name}`, with an account that may read it and nothing else."
    return WrittenStep("Fetch the snapshot", (_INTO, *commands), about, took)


def verify(drilled: Drilled, parts: Parts) -> WrittenStep:
    """Hold the digests against those of the bytes that were drilled; only what has them goes on."""
    stored = drilled.stored
    digests = tuple(f"{each.sha256}  {each.name}" for each in stored if each.sha256 and not each.is_directory)
    parts.needs("sha256sum")
    commands = [Command('cd "$WORK_DIR"/fetched')]
    if digests:
        commands.append(Command("sha256sum --check --strict -", digests))
    if not drilled.is_proved and not stored[0].is_directory:
        parts.takes(Variable("SNAPSHOT_SHA256", "the SHA-256 that the backup job recorded of it"))
        commands.append(Command(f'echo "$SNAPSHOT_SHA256  {stored[0].name}" | sha256sum --check --strict -'))
    about = "Each digest is that of the bytes that were examined in the drill. **Stop here if one differs.**"
    bare = [each for each in stored if not each.sha256 and not each.is_directory]
    if drilled.is_proved and bare:
        parts.by_hand.append(f"The record has no digest of {len(bare)} of the objects: they are not verified here.")
    if not drilled.is_proved:
        about = "No drill has recorded a digest: it must come from whoever made the backup."
    for tree in (each for each in stored if each.is_directory):
        manifest = str(drilled.facts("fetch").get("manifest", ""))
        if manifest:
            inner = f"(cd {tree.name} && sha256sum --check --strict --quiet {quoted(manifest)})"
            commands.append(Command(inner))
            about = (
                "The directory is held against its own list of digests. That it is what the drill examined is not "
                "shown by it: whoever changes the files can change the list."
            )
        else:
            about = "The snapshot is a directory without a list of digests: whether it is whole, counting will tell."
    commands.append(Command(f"mv -- {' '.join(each.name for each in stored)} ../verified/"))
    return WrittenStep("Verify the digests", tuple(commands), about)


_INTO: Final = Command('cd "$WORK_DIR"')


def _path(copy: PlannedCopy) -> str:
    path = copy.settings.url.removeprefix("file:")
    return (path.removeprefix("//") if path.startswith("///") else path).rstrip("/") or "/"


def _from_disk(copy: PlannedCopy, stored: Stored) -> Command:
    if stored.is_directory:
        return Command(f"cp -a -- {below('BACKUP_DIR', stored.key.rstrip('/'))} fetched/{stored.name}")
    if copy.pattern.is_split:
        return Command(_joined(stored))
    return Command(f"cp -- {below('BACKUP_DIR', stored.key)} fetched/{stored.name}")


def _joined(stored: Stored) -> str:
    """All parts one after the other, without what lies beside them; the digest is that of the whole."""
    parts = f"{below('BACKUP_DIR', stored.key)}*"
    beside = "*.sha256|*.sha512|*.md5|*.sha1|*.asc|*.sig"
    each = f'case "$part" in {beside}) ;; *) cat -- "$part" ;; esac'
    return f"for part in {parts}; do {each}; done >fetched/{stored.name}"


def _s3(copy: PlannedCopy, stored: Stored, parts: Parts) -> str:
    parts.needs("aws")
    if copy.store.endpoint is not None:
        parts.takes(Variable("AWS_ENDPOINT_URL", "the address of the service", str(copy.store.endpoint)))
    if copy.store.region:
        parts.takes(Variable("AWS_REGION", "its region", copy.store.region))
    for name, reference in (copy.store.credentials or {}).items():
        parts.takes(Variable(f"AWS_{name.upper()}", "the reader's credentials", f"what {reference} holds"))
    if copy.store.profile:
        parts.takes(Variable("AWS_PROFILE", "the reader's credentials", copy.store.profile))
    if stored.is_directory:
        return f"aws s3 cp --only-show-errors --recursive {_url(stored.key)} fetched/{stored.name}/"
    return f"aws s3 cp --only-show-errors {_url(stored.key)} fetched/{stored.name}"


def _gcs(copy: PlannedCopy, stored: Stored, parts: Parts) -> str:
    parts.needs("gcloud")
    if set("*?[") & {*copy.settings.url, *stored.key}:
        parts.cautions.append("`gcloud storage` takes `*`, `?` and `[` in a name for wildcards: one object must match.")
    if stored.is_directory:
        return f"gcloud storage cp --recursive {_url(stored.key.rstrip('/'))} fetched/{stored.name}"
    return f"gcloud storage cp {_url(stored.key)} fetched/{stored.name}"


def _azure(copy: PlannedCopy, stored: Stored, parts: Parts) -> str:
    parts.needs("az")
    account = str(copy.store.options.get("account", ""))
    parts.takes(Variable("AZURE_STORAGE_ACCOUNT", "the storage account", account))
    container, _, prefix = copy.settings.url.removeprefix("az://").partition("/")
    prefix = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    name = keyed(prefix, stored.key)
    where = f"--only-show-errors --container-name {quoted(container)}"
    if stored.is_directory:
        parts.cautions.append("`az storage blob download-batch` keeps whole names below the directory that it fills.")
        return f"az storage blob download-batch {where} --pattern {name}* --destination fetched/{stored.name}"
    return f"az storage blob download {where} --name {name} --file fetched/{stored.name}"


def _sftp(copy: PlannedCopy, stored: Stored, parts: Parts) -> str:
    parts.needs("scp")
    url = urlsplit(copy.settings.url)
    host = f"[{url.hostname}]" if ":" in str(url.hostname) else str(url.hostname)
    host = f"{url.username}@{host}" if url.username else host
    port = f"-P {url.port} " if url.port else ""
    home = url.path.startswith("/~/")
    root = url.path.removeprefix("/~/") if home else url.path
    # scp expands wildcards at the far end, and its older protocol hands the whole path to a shell there.
    path = keyed(f"{host}:{_escaped(root.rstrip('/'))}/", _escaped(stored.key.rstrip("/")))
    parts.cautions.append("`scp` must find the server's key in `known_hosts`, and the reader's key in the agent.")
    return f"scp {'-r ' if stored.is_directory else ''}-q {port}{path} fetched/{stored.name}"


def _http(copy: PlannedCopy, stored: Stored, parts: Parts) -> str:
    parts.needs("curl")
    if copy.store.credentials:
        parts.cautions.append("The web server asks for credentials: `curl --netrc` takes them from `~/.netrc`.")
    login = "--netrc " if copy.store.credentials else ""
    address = below("BACKUP_URL", stored.key if is_chosen(stored.key) else quote(stored.key))
    return f"curl --fail --silent --show-error --location {login}--output fetched/{stored.name} {address}"


def _rclone(copy: PlannedCopy, stored: Stored, parts: Parts) -> str:
    parts.needs("rclone")
    remote = copy.settings.url.removeprefix("rclone:").rstrip("/")
    verb = "copy" if stored.is_directory else "copyto"
    return f"rclone {verb} {keyed(f'{remote}/', stored.key)} fetched/{stored.name}"


def _escaped(path: str) -> str:
    return path if is_chosen(path) else re.sub(r"([^\w./-])", r"\\\1", path)


def _url(key: str) -> str:
    return below("BACKUP_URL", key)


_CLIENTS: Final[Mapping[str, Callable[[PlannedCopy, Stored, Parts], str]]] = {
    "s3": _s3, "gs": _gcs, "az": _azure, "sftp": _sftp, "http": _http, "https": _http, "rclone": _rclone,
}  # fmt: skip
