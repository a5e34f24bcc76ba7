"""What the ``container`` sandbox is made of: the engine's interface, streams, watching, reaping."""
