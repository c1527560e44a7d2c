"""Preparing: from the documents of an AdaptationPlugin to the folder that its plugin computes from them.

This package reads documents and writes folders. `local` and `reconcile` decide when.
"""

from pilotfish.preparing.folders import PreparedFolder, PreparedFolders
from pilotfish.preparing.work import Preparation, prepare

__all__ = ["Preparation", "PreparedFolder", "PreparedFolders", "prepare"]
