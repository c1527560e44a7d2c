"""Weights: from an address to a folder that an engine loads.

Sources (plugins) find and read; here is what is the same for all of them: choosing files, copying and resuming,
checking, converting, and a cache that several processes share. Nothing here starts an engine or talks to Kubernetes.
"""

from pilotfish.weights.fetching import ensure, revision_of
from pilotfish.weights.progress import Phase, Progress, Report

__all__ = ["Phase", "Progress", "Report", "ensure", "revision_of"]
