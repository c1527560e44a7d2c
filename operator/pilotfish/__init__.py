"""Pilotfish serves small and large language models as one."""

__version__ = "0.1.0"
