"""Decisions about what should exist, as plain functions from desired and observed state."""
