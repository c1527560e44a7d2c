"""The inputs and results of reconcile decisions: plain values, no I/O."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pilotfish.api import AdaptationPlugin, AutoscalingPolicy, ModelPool
from pilotfish.api.validation import Fault
from pilotfish.base.keys import Key
from pilotfish.reconcile.scaling import ScalingMemory
from pilotfish.render.context import RenderContext

Manifest = Mapping[str, Any]
"""A Kubernetes object as JSON."""


@dataclass(frozen=True)
class Context:
    """The installation, and the current time."""

    render: RenderContext
    now: str
    """RFC 3339, in UTC, whole seconds."""
    gateway_url: str | None = None
    """The address that clients call, ending in /v1."""


@dataclass(frozen=True)
class ExternalCheck:
    """The last answer of an external pool's API to the question which models it has."""

    reachable: bool
    message: str


@dataclass(frozen=True)
class Proof:
    """Whether a RayService has answered since its engines started, and why the last request was not answered."""

    answered: bool
    message: str = ""


@dataclass(frozen=True)
class Observed:
    """What is observed of a resource of any kind."""

    faults: tuple[Fault, ...] = ()
    """Faults of the spec that depend on the installed plugins."""
    missing: tuple[Key, ...] = ()
    """Unresolved references."""
    children: Mapping[Key, Manifest] = field(default_factory=dict)
    """Objects that were made for the resource."""
    refusal: str = ""
    """The API server's message, if it just rejected an object of the resource."""


@dataclass(frozen=True)
class Sibling:
    """A pool that shares a budget with another one, and its load."""

    pool: ModelPool
    scaling: ScalingMemory | None


@dataclass(frozen=True)
class ObservedPool(Observed):
    """What is observed of a pool."""

    pods: tuple[Manifest, ...] = ()
    policy: AutoscalingPolicy | None = None
    siblings: tuple["Sibling", ...] = ()
    """The other pools of the policy, where it has a budget."""
    plugins: tuple[AdaptationPlugin, ...] = ()
    """Those of `spec.logits` that exist."""
    scaling: ScalingMemory | None = None
    """Requests in flight, None where no gateway reports them."""
    clock: float = 0.0
    """Seconds, on the clock of `scaling`."""
    external: ExternalCheck | None = None
    proof: Proof = Proof(answered=False)
    """Of a RayService alone: pods of a Deployment are ready only after they answered."""


@dataclass(frozen=True)
class Outcome:
    """What should be: objects to apply and to delete, the status to report, and when to reconcile again."""

    status: Mapping[str, Any]
    manifests: tuple[Manifest, ...] = ()
    deletions: tuple[Key, ...] = ()
    requeue_after: float | None = None
    """Seconds until the next reconcile; None: when something changes."""
    scaling: ScalingMemory | None = None
    """What the scaling rule remembers of a pool that follows load."""
