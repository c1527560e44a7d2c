"""What a reconcile decides, and what it decides from: plain values, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pilotfish.api import AutoscalingPolicy
from pilotfish.api.validation import Fault
from pilotfish.reconcile.scaling import ScalingMemory
from pilotfish.render.context import RenderContext

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON."""


@dataclass(frozen=True, order=True)
class ObjectKey:
    """One Kubernetes object: `apiVersion`, kind, namespace and name."""

    api_version: str
    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Manifest) -> "ObjectKey":
        """The key of a manifest."""
        metadata = manifest["metadata"]
        return cls(manifest["apiVersion"], manifest["kind"], metadata.get("namespace") or "", metadata["name"])


@dataclass(frozen=True)
class Context:
    """The installation and the moment."""

    render: RenderContext
    now: str
    """RFC 3339, in UTC, whole seconds."""
    gateway_url: str | None = None
    """The address that clients call, ending in /v1."""


@dataclass(frozen=True)
class ExternalCheck:
    """What the API of an external pool said when it was last asked which models it has."""

    reachable: bool
    message: str


@dataclass(frozen=True)
class Proof:
    """Whether a RayService has answered since its engines came up, and what it said instead."""

    answered: bool
    message: str = ""


@dataclass(frozen=True)
class ObservedPool:
    """What is there of a pool."""

    faults: tuple[Fault, ...] = ()
    """What the installed plugins and engines refuse of the spec."""
    children: Mapping[ObjectKey, Manifest] = field(default_factory=dict)
    pods: tuple[Manifest, ...] = ()
    policy: AutoscalingPolicy | None = None
    scaling: ScalingMemory | None = None
    """Requests in flight, as far as they are known; None: nobody has said."""
    clock: float = 0.0
    """Seconds, on the clock of `scaling`."""
    external: ExternalCheck | None = None
    proof: Proof = Proof(answered=False)
    """Counts for a RayService alone: pods of a Deployment prove by their readiness that they answered."""
    refusal: str = ""
    """The API server's words, where it just refused what the pool needs."""


@dataclass(frozen=True)
class Outcome:
    """What should be: objects to apply and to delete, the status to report, and when to look again."""

    status: Mapping[str, Any]
    manifests: tuple[Manifest, ...] = ()
    deletions: tuple[ObjectKey, ...] = ()
    requeue_after: float | None = None
    """Seconds until the next look, None: when something changes."""
    scaling: ScalingMemory | None = None
    """What the scaling rule wants to remember."""
