"""Finds, loads and checks plugins by entry point; `builtin` has those that come with Pilotfish."""
