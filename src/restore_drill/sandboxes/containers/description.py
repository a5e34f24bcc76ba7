"""What evidence says about a container: as the engine reports it after the start, not as it was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from restore_drill.errors import CouldNotVerify
from restore_drill.sandboxes.base import Need, SandboxOptions
from restore_drill.sandboxes.containers import images
from restore_drill.sandboxes.containers.client import Engine
from restore_drill.sandboxes.containers.making import Made

#: Images that are named in one line.
_LISTED: Final = 12


def describe(made: Made) -> dict[str, Any]:
    """Facts about a running container."""
    state, host = made.keeper.state, made.keeper.state.get("HostConfig") or {}
    account = made.keeper.account
    return {
        "engine": {
            "name": made.engine.kind,
            "version": str(made.engine.version.get("Version", "")),
            "api": made.engine.api.api_version,
            "storage": str(made.engine.about.get("Driver", "")),
            "remote": made.remote,
        },
        **made.image.facts(),
        "network": network(state),
        "authentication": "none: no password and no key exists, servers listen on a Unix socket only",
        "user": f"{account.name} ({account.spec})",
        "capabilities": sorted(host.get("CapAdd") or ()) if _drops_all(host) else ["not dropped"],
        "no_new_privileges": any("no-new-privileges" in option for option in host.get("SecurityOpt") or ()),
        "first_process": "init" if made.init else "cat",
        "limits": {
            "memory": host.get("Memory"),
            "tasks": host.get("PidsLimit"),
            "cpus": (host.get("NanoCpus") or 0) / 10**9 or None,
            "disk": made.bounds.disk,
        },
        "mounts": [
            {"at": mount.get("Destination"), "kind": mount.get("Type"), "writable": bool(mount.get("RW"))}
            for mount in state.get("Mounts") or ()
        ],
    }


def inspect(engine: Engine, options: SandboxOptions) -> str:
    """An engine in a few words, and the image that is asked for.

    Raises:
        CouldNotVerify: The image is not there and may not be pulled.
    """
    words = f"{engine.kind} {engine.version.get('Version', '')}"
    # Without a version nothing is known of an image that depends on it: only what there is to choose from.
    if not options.image or "{" in options.image:
        here = images.present(engine, options.image)
        listed = ", ".join(here[:_LISTED]) + (f" and {len(here) - _LISTED} more" if here[_LISTED:] else "")
        what = f"images of {options.image}" if options.image else "stand-ins"
        return f"{words}, images are pulled: {options.pull}; {what} here: {listed or 'none'}"
    try:
        image = images.resolve(engine, Need("a restore"), replace(options, pull="never"))
    except CouldNotVerify:
        if options.pull == "never":
            raise
        return f"{words}, {options.image} will be pulled"
    return f"{words}, {options.image} is there ({image.id[:19]})"


def network(state: Mapping[str, Any]) -> str:
    """``none`` when the engine reports no network at all, else what it reports."""
    settings = state.get("NetworkSettings") or {}
    networks = settings.get("Networks") or {}
    addresses = [settings.get("IPAddress"), settings.get("GlobalIPv6Address")]
    addresses += [each.get(key) for each in networks.values() for key in ("IPAddress", "GlobalIPv6Address")]
    names = sorted(name for name in networks if name != "none")
    if not names and not any(addresses) and not any((settings.get("Ports") or {}).values()):
        return "none"
    return ", ".join(names) or "not none"


def _drops_all(host: Mapping[str, Any]) -> bool:
    dropped = {str(name).upper().removeprefix("CAP_") for name in host.get("CapDrop") or ()}
    # Podman answers with every single name.
    return ("ALL" in dropped or len(dropped) > 10) and not host.get("Privileged")
