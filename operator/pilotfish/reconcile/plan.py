"""What a pool is made of, between deciding it and reporting it."""

from dataclasses import dataclass

from pilotfish.reconcile.outcome import Manifest
from pilotfish.reconcile.scaling import Decision


@dataclass(frozen=True)
class Plan:
    """A pool's runtime, its objects, the revision of its pods, the replicas that should run, and why that many."""

    runtime: str | None
    manifests: tuple[Manifest, ...] = ()
    revision: str | None = None
    desired: int = 0
    decision: Decision | None = None
