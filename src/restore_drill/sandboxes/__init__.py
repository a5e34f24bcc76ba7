"""Where a snapshot is brought back: an isolated process over a private directory. ``base`` is the contract."""
