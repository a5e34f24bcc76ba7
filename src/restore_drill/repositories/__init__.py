"""How snapshots are laid out in a store. One layout a file; ``base`` is the contract."""
