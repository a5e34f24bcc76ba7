"""Byte streams that hold file trees. One format a file; ``base`` is the contract, ``tree`` writes safely."""
