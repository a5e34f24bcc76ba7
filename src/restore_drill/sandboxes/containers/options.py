"""What a target may ask of its container, by the name that this package knows it under."""

from restore_drill.sandboxes.base import SandboxOptions as ContainerOptions

__all__ = ["ContainerOptions"]
