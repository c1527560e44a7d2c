"""Weights: from an address to a folder that an engine loads.

Sources (plugins) find and read files. This package does what all sources share: it chooses files, copies and resumes,
verifies, converts, and keeps a cache that several processes share. Nothing here starts an engine or calls Kubernetes.
"""

from pilotfish.weights.fetching import ensure, revision_of
from pilotfish.weights.progress import Phase, Progress, Report

__all__ = ["Phase", "Progress", "Report", "ensure", "revision_of"]
