"""Kinds of detached signatures, verified with public keys that the catalogue pins."""
