"""Assertions on a restored system. One check a file; ``base`` is the contract."""
