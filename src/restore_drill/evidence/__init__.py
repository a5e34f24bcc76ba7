"""The immutable record of drills: facts as files while they run, one evidence document when a run ends."""
