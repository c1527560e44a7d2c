"""Manifests in files and folders: read, checked, and every fault told with its file and line.

Nothing here talks to anyone; what is installed is asked of the plugin registry.
"""

from pilotfish.manifests.corev1 import KeyedData
from pilotfish.manifests.loading import Loaded, Problem, load, load_apart

__all__ = ["KeyedData", "Loaded", "Problem", "load", "load_apart"]
