"""Logging, metrics and tracing. Imports nothing from the layers."""
