"""Decisions about requests, as plain functions over values: no I/O, no clock, no event loop."""
