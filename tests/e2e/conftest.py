"""A real cluster, on demand: KUBECONFIG names it, PILOTFISH_E2E_IMAGE and _POOL_IMAGE the images in its registry."""

import os

import pytest
from realcluster import Cluster

VARIABLES = ("KUBECONFIG", "PILOTFISH_E2E_IMAGE", "PILOTFISH_E2E_POOL_IMAGE")


@pytest.fixture(scope="module")
def cluster() -> Cluster:
    """The cluster, or a skip that says what is missing."""
    missing = [name for name in VARIABLES if not os.environ.get(name)]
    if missing:
        pytest.skip(f"a real cluster is tested only when asked for: set {', '.join(missing)}")
    return Cluster(os.environ["PILOTFISH_E2E_IMAGE"], os.environ["PILOTFISH_E2E_POOL_IMAGE"])
