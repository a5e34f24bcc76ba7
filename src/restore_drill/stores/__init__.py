"""Bytes at rest: where copies are kept. One store a file; :mod:`restore_drill.stores.base` is the contract."""
