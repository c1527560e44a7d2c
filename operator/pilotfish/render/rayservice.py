"""A pool as a KubeRay RayService (ray.io/v1): a head, workers with the engines, and Serve's autoscaling over them.

A change of a running pool takes one of two ways. Serve's configuration (engine arguments, replicas, bounds) is
sent to the running Ray cluster, which replaces replicas one after the other and requests workers when it needs them. A
change of the pods (image, weights, resources) makes KubeRay start a second Ray cluster and switch to it.
"""

import json
from collections.abc import Mapping
from typing import Any

from pilotfish.api import ModelPool
from pilotfish.render import labels
from pilotfish.render.context import RenderContext
from pilotfish.render.podtemplate import (
    DRAIN_SECONDS,
    PRESTOP_SECONDS,
    container_security,
    pod_template,
    with_revision,
)
from pilotfish.render.serve_application import engine_processes

WORKER_GROUP = "replicas"
INGRESS_RESOURCES = {"pilotfish-ingress": 0.01}
"""Ray's resource for the ingress. Only heads have it, so the ingress survives the loss of a worker."""
_HEAD_RAY_RESOURCES = {"CPU": "0", "pilotfish-ingress": "1"}
_OBJECT_STORE = {"object-store-memory": str(256 * 1024**2)}
"""Size of Ray's object store. Its default is a third of the node's memory, more than /dev/shm has."""
_HEAD_PARAMS = {"dashboard-host": "0.0.0.0", **_OBJECT_STORE}  # noqa: S104 - a NetworkPolicy restricts access
_HEAD_RESOURCES = {"requests": {"cpu": "500m", "memory": "2Gi"}}
_LIFECYCLE = {"preStop": {"sleep": {"seconds": PRESTOP_SECONDS}}}
_AUTOSCALER_RESOURCES = {"requests": {"cpu": "100m", "memory": "512Mi"}, "limits": {"memory": "1Gi"}}
_IDLE_SECONDS = 120
"""Seconds until an idle worker is removed: longer than Serve takes to drain its proxy."""
_MOST_WORKERS = 2000
"""Twice the maximum of replicas, because rollouts create new ones beside the old. Serve's bounds apply first."""
_ACCOUNT_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"


def rayservice(
    pool: ModelPool, context: RenderContext, application: Mapping[str, Any], *, replicas: int
) -> tuple[dict[str, Any], str]:
    """The RayService that starts with `replicas` engine replicas of `application`, and the revision of its pods.

    An engine replica takes `spec.nodes` workers. KubeRay does not resize the worker groups of a running Ray cluster:
    Ray's autoscaler creates and removes workers within Serve's bounds.
    """
    template, revision = with_revision(pod_template(pool, context, _worker()))
    manifest = {
        "apiVersion": "ray.io/v1",
        "kind": "RayService",
        "metadata": labels.child_metadata(pool),
        "spec": {
            "upgradeStrategy": {"type": "NewCluster"},
            "rayClusterDeletionDelaySeconds": DRAIN_SECONDS,
            # JSON is YAML, and sorted JSON gives equal strings for equal applications
            "serveConfigV2": json.dumps({"applications": [application]}, sort_keys=True),
            "rayClusterConfig": {
                "rayVersion": context.ray_version,
                "authOptions": {"mode": "token"},
                "enableInTreeAutoscaling": True,
                "autoscalerOptions": _autoscaler(),
                "headGroupSpec": {
                    "rayStartParams": _HEAD_PARAMS,
                    "resources": _HEAD_RAY_RESOURCES,
                    "template": _head(pool, context),
                },
                "workerGroupSpecs": [
                    {
                        "groupName": WORKER_GROUP,
                        "replicas": replicas * pool.spec.nodes,
                        "minReplicas": 0,
                        "maxReplicas": _MOST_WORKERS * pool.spec.nodes,
                        "rayStartParams": _worker_params(pool),
                        "template": template,
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
        "lifecycle": _LIFECYCLE,
    }
    template = pod_template(pool, context, container, accelerated=False)
    spec = template["spec"]
    # The head runs no engine, so it needs neither weights nor the engine's memory.
    head = {**spec["containers"][0], "resources": _HEAD_RESOURCES}
    volumes = [*spec["volumes"], _account()]
    return {**template, "spec": {**spec, "initContainers": [], "containers": [head], "volumes": volumes}}


def _worker() -> dict[str, Any]:
    return {
        "name": "ray-worker",
        # Not "http", which a Deployment's Service selects: both exist while a pool changes its runtime.
        "ports": [{"name": "serve", "containerPort": labels.SERVE_PORT, "protocol": "TCP"}],
        # KubeRay's own probe runs wget in the container, which fails under load because the engine has the CPU.
        "readinessProbe": {
            "httpGet": {"path": "/-/healthz", "port": "serve"},
            "periodSeconds": 2,
            "failureThreshold": 3,
            "timeoutSeconds": 5,
        },
        "lifecycle": _LIFECYCLE,
    }


def _worker_params(pool: ModelPool) -> dict[str, str]:
    """Ray's CPUs of a worker: its part of one engine, and one for Serve's actor, too few for a second engine."""
    params = {"num-cpus": str(-(-engine_processes(pool) // pool.spec.nodes) + 1), **_OBJECT_STORE}
    if pool.spec.accelerator:
        params["num-gpus"] = str(pool.spec.accelerator.count)
    return params


def _autoscaler() -> dict[str, Any]:
    """Ray's autoscaler, in a separate container beside the head. Only it may call the API server."""
    return {
        "version": "v2",
        "idleTimeoutSeconds": _IDLE_SECONDS,
        "resources": _AUTOSCALER_RESOURCES,
        "securityContext": container_security(),
        "env": [{"name": "HOME", "value": "/tmp"}],  # noqa: S108 - the pod's own volume
        "volumeMounts": [
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own volume
            {"name": "account", "mountPath": _ACCOUNT_PATH, "readOnly": True},
        ],
    }


def _account() -> dict[str, Any]:
    """The head's service account token, mounted as Kubernetes does, but not in the container that runs models."""
    return {
        "name": "account",
        "projected": {
            "sources": [
                {"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}},
                {
                    "configMap": {
                        "name": "kube-root-ca.crt",
                        "items": [{"key": "ca.crt", "path": "ca.crt"}],
                    }
                },
                {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}},
            ]
        },
    }
