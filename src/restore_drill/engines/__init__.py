"""Bring one kind of system back to life and examine it. One engine a file; ``base`` is the contract."""
