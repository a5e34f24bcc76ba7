"""restore-drill: prove that backups can be restored."""

__version__ = "0.1.0"
