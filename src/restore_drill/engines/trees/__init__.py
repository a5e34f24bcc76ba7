"""Looking at restored file trees: walking, globs, manifests, overlaying one tree on another."""
