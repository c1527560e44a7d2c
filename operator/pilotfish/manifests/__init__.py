"""Reads and checks manifests in files and folders. Every fault has its file and line.

No network access. The plugin registry knows what is installed.
"""

from pilotfish.manifests.corev1 import KeyedData
from pilotfish.manifests.loading import Loaded, Problem, load, load_apart, load_text

__all__ = ["KeyedData", "Loaded", "Problem", "load", "load_apart", "load_text"]
