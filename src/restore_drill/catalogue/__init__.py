"""``targets.yaml``: what is backed up and what must hold. YAML in, frozen models out, every error at once."""
