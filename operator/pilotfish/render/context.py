"""Settings of the installation that rendering needs."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pilotfish.api.modelpool import Runtime


@dataclass(frozen=True)
class RenderContext:
    """Settings of the installation that affect the objects of a pool."""

    pool_image: str
    """Image with Ray, vLLM and the `pilotfish` command."""
    namespace: str = "pilotfish-system"
    """Where operator and gateway run."""
    pull_policy: str = "IfNotPresent"
    runtime: Runtime = Runtime.AUTO
    """The runtime of pools with runtime Auto."""
    kuberay: bool = False
    """Whether the API server serves KubeRay's kinds."""
    kuberay_namespace: str | None = None
    """Namespace of KubeRay's operator; None: its pods are selected by labels only."""
    accelerators: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Labels of the nodes that have an accelerator, by its type."""
    peer_labels: Mapping[str, str] = field(default_factory=lambda: {"app.kubernetes.io/part-of": "pilotfish"})
    """Labels of the pods of operator and gateway, which may reach pools."""
    cache_claim: str | None = None
    """Name of a PersistentVolumeClaim for fetched weights in each namespace; None: each pod fetches them."""
    image: str = ""
    """Image of the Jobs of plugins, which has the installed plugins."""
    prepared_claim: str | None = None
    """Name of a PersistentVolumeClaim for what plugins prepare, in each namespace; None: nothing is prepared."""
    traces_endpoint: str | None = None
    """OTLP/HTTP endpoint of the engines."""
    ray_version: str = "2.60.0"
