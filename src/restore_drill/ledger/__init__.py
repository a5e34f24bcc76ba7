"""The ledger: every run's evidence, chained and signed, in ``state:``; nothing in it is ever changed or deleted."""
