"""From a place full of backups to a catalogue: series by their names, engines by their bytes, each with a reason."""
