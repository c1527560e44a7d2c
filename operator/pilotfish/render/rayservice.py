"""A pool as a KubeRay RayService (ray.io/v1): a head, workers with the engines, and Serve's autoscaling over them."""

import json
from collections.abc import Mapping
from typing import Any

from pilotfish.api import ModelPool
from pilotfish.render import labels
from pilotfish.render.context import RenderContext
from pilotfish.render.podtemplate import PRESTOP_SECONDS, pod_template, with_revision

WORKER_GROUP = "replicas"
_HEAD_RESOURCES = {"requests": {"cpu": "500m", "memory": "2Gi"}}


def rayservice(
    pool: ModelPool, context: RenderContext, application: Mapping[str, Any], *, minimum: int, maximum: int
) -> tuple[dict[str, Any], str]:
    """The RayService of `minimum` to `maximum` engine replicas of `application`, and the revision of its pods.

    An engine replica takes `spec.nodes` workers. The application is the whole of `serveConfigV2`: KubeRay hands a
    change of it to the running cluster, and Serve restarts replicas only where the application's arguments differ.
    """
    workers, revision = with_revision(pod_template(pool, context, _worker()))
    manifest = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": labels.child_metadata(pool),
        "spec": {
            "upgradeStrategy": {"type": "NewCluster"},
            # JSON is YAML: sorted JSON gives equal text for equal applications
            "serveConfigV2": json.dumps({"applications": [application]}, sort_keys=True),
            "rayClusterConfig": {
                "rayVersion": context.ray_version,
                "authOptions": {"mode": "token"},
                "enableInTreeAutoscaling": minimum != maximum,
                "headGroupSpec": {
                    "rayStartParams": {"num-cpus": "0", "dashboard-host": "0.0.0.0"},  # noqa: S104 - a NetworkPolicy guards it
                    "template": _head(pool, context),
                },
                "workerGroupSpecs": [
                    {
                        "groupName": WORKER_GROUP,
                        "replicas": minimum * pool.spec.nodes,
                        "minReplicas": minimum * pool.spec.nodes,
                        "maxReplicas": maximum * pool.spec.nodes,
                        "rayStartParams": {},
                        "template": workers,
                    }
                ],
            },
        },
    }
    return manifest, revision


def _head(pool: ModelPool, context: RenderContext) -> dict[str, Any]:
    container = {
        "name": "ray-head",
        "ports": [
            {"name": "gcs-server", "containerPort": 6379, "protocol": "TCP"},
            {"name": "dashboard", "containerPort": labels.DASHBOARD_PORT, "protocol": "TCP"},
            {"name": "client", "containerPort": 10001, "protocol": "TCP"},
            {"name": "serve", "containerPort": labels.SERVE_PORT, "protocol": "TCP"},
        ],
    }
    template = pod_template(pool, context, container, accelerated=False)
    spec = template["spec"]
    # The head runs no engine: it needs neither weights nor an engine's memory.
    head = {**spec["containers"][0], "resources": _HEAD_RESOURCES}
    return {**template, "spec": {**spec, "initContainers": [], "containers": [head]}}


def _worker() -> dict[str, Any]:
    return {
        "name": "ray-worker",
        "ports": [{"name": "http", "containerPort": labels.SERVE_PORT, "protocol": "TCP"}],
        "lifecycle": {"preStop": {"sleep": {"seconds": PRESTOP_SECONDS}}},
    }
