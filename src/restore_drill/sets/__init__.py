"""Sets: targets that are brought back together, to a common moment, and judged together."""
