"""A real kube-apiserver with its etcd, for tests: where the programs come from, their processes, and a small client."""

from controlplane.binaries import Unavailable, find_programs
from controlplane.client import Api, Refused
from controlplane.crds import install_crds, open_crd, our_crds
from controlplane.server import ControlPlane, Request

__all__ = [
    "Api",
    "ControlPlane",
    "Refused",
    "Request",
    "Unavailable",
    "find_programs",
    "install_crds",
    "open_crd",
    "our_crds",
]
