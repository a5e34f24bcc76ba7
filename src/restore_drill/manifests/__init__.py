"""Lists of a tree's files with their digests, kept inside the tree. One format a file; ``base`` is the contract."""
