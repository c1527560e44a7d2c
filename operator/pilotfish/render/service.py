"""The Service of a pool's replicas, whose EndpointSlices the gateway balances over."""

from typing import Any

from pilotfish.api import ModelPool
from pilotfish.render import labels


def service(pool: ModelPool) -> dict[str, Any]:
    """A ClusterIP Service over the pool's ready pods. The gateway reads its endpoints and balances by load itself."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": labels.child_metadata(pool),
        "spec": {
            "type": "ClusterIP",
            "selector": labels.selector(pool),
            "ports": [{"name": "http", "port": labels.SERVE_PORT, "targetPort": "http", "protocol": "TCP"}],
        },
    }
