"""Reports: one module a format, each a pure function of evidence documents and of what stands in the ledger."""
