"""Acme's plugins for Pilotfish."""
