"""Labels, annotations and names of the Kubernetes objects of a resource."""

from typing import Any

from pilotfish.api import API_VERSION, GROUP, ModelPool, Resource

FIELD_MANAGER = "pilotfish"
"""The field manager of server-side apply."""

POOL_LABEL = f"{GROUP}/pool"
"""Label of all objects of a pool: the pool's name."""
PLUGIN_LABEL = f"{GROUP}/plugin"
"""Label of the Job of a plugin and of its pods: the AdaptationPlugin's name."""
MANAGED_BY_LABEL = "app.kubernetes.io/managed-by"
NAME_LABEL = "app.kubernetes.io/name"
COMPONENT_LABEL = "app.kubernetes.io/component"

PREPARATION_LABELS = {NAME_LABEL: "pilotfish", COMPONENT_LABEL: "preparation"}
"""Labels of the Jobs of all plugins, and of their pods."""

APPLIED_ANNOTATION = f"{GROUP}/applied"
"""Digest of the last applied manifest, from which a field that is no longer wanted is detected."""
REVISION_ANNOTATION = f"{GROUP}/revision"
"""Annotation of a pool's pods: digest of what they run."""

SERVE_PORT = 8000
"""Port of a pool's replicas for OpenAI requests."""
HEALTH_PORT = 8001
"""Port of a replica's readiness and liveness probes."""
DASHBOARD_PORT = 8265
"""Port of Ray's dashboard."""


def child_name(pool: ModelPool) -> str:
    """Name of the pool's Deployment or RayService, Service and NetworkPolicy; at most 45 characters."""
    return f"{pool.name}-pool"


def serve_service_name(pool: ModelPool) -> str:
    """Name of the Service that KubeRay makes for the pool's Serve proxies."""
    return f"{child_name(pool)}-serve-svc"


def selector(pool: ModelPool) -> dict[str, str]:
    """Labels that select the pool's pods."""
    return {POOL_LABEL: pool.name}


def labels(pool: ModelPool) -> dict[str, str]:
    """Labels of everything made of the pool."""
    return {**selector(pool), NAME_LABEL: "pilotfish", COMPONENT_LABEL: "pool", MANAGED_BY_LABEL: FIELD_MANAGER}


def owner_reference(owner: Resource) -> dict[str, Any]:
    """The resource as controlling owner. Its deletion does not wait for its children: nothing blocks a deletion."""
    return {
        "apiVersion": API_VERSION,
        "kind": owner.kind,
        "name": owner.name,
        "uid": owner.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }


def child_metadata(pool: ModelPool, name: str | None = None) -> dict[str, Any]:
    """Metadata of something made of the pool."""
    return {
        "name": name or child_name(pool),
        "namespace": pool.metadata.namespace,
        "labels": labels(pool),
        "ownerReferences": [owner_reference(pool)],
    }
