"""Measures what the project promises about speed, each against its baseline in the same run; see README.md."""
