"""Byte streams in, byte streams out: compression and encryption. One codec a file; ``base`` is the contract."""
