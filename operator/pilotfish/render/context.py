"""What rendering needs to know besides the resource: the installation's choices."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pilotfish.api.modelpool import Runtime


@dataclass(frozen=True)
class RenderContext:
    """The installation, as far as it shows in what is made of a pool."""

    pool_image: str
    """Image with Ray, vLLM and the `pilotfish` command."""
    namespace: str = "pilotfish-system"
    """Where operator and gateway run."""
    pull_policy: str = "IfNotPresent"
    runtime: Runtime = Runtime.AUTO
    """The runtime of pools that leave it to the installation."""
    kuberay: bool = False
    """Whether the API server serves KubeRay's kinds."""
    kuberay_namespace: str | None = None
    """Where KubeRay's operator runs; None: its pods are known by their labels alone."""
    accelerators: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels of the nodes that have an accelerator, by its type."""
    peer_labels: Mapping[str, str] = field(default_factory=lambda: {"app.kubernetes.io/part-of": "pilotfish"})
    """Labels of the operator's and the gateway's pods, the only ones that may reach pools."""
    cache_claim: str | None = None
    """A volume claim for fetched weights that all pods of a namespace share; None: each pod fetches its own."""
    traces_endpoint: str | None = None
    """OTLP address that engines export to."""
    ray_version: str = "2.60.0"
