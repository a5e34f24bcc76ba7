"""Kinds of systems: how a person brings each of them back, asks it, puts it in its place, and takes that back."""
