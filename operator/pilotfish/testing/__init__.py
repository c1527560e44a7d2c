"""Helpers for tests of Pilotfish and of its plugins. Nothing in production imports them."""
