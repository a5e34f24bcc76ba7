"""Recovery: the order in which targets are brought back, runbooks, and the documents that are drilled."""
