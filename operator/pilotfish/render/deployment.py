"""A pool as a Deployment: each pod is a Ray cluster with one engine replica. No other operator is needed."""

import json
from collections.abc import Mapping
from typing import Any

from pilotfish.api import ModelPool
from pilotfish.api.modelpool import Rollout, RolloutType, Task
from pilotfish.render import labels
from pilotfish.render.context import RenderContext
from pilotfish.render.podtemplate import DRAIN_SECONDS, PRESTOP_SECONDS, pod_template, with_revision
from pilotfish.render.serve_application import serve_tracing_environment

APPLICATION_VARIABLE = "PILOTFISH_APPLICATION"
"""Environment variable with the Serve application, as JSON."""
TASK_VARIABLE = "PILOTFISH_TASK"
"""Environment variable with the pool's task, which defines the readiness request."""
DRAIN_VARIABLE = "PILOTFISH_DRAIN_SECONDS"
"""Environment variable with the seconds for requests in progress to finish when the pod stops."""
_LOADING_SECONDS = 3600
_STRATEGIES: dict[RolloutType, dict[str, Any]] = {
    RolloutType.SURGE: {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
    RolloutType.RECREATE: {"type": "Recreate"},
}


def deployment(
    pool: ModelPool, context: RenderContext, application: Mapping[str, Any], replicas: int
) -> tuple[dict[str, Any], str]:
    """The Deployment of `replicas` pods that each run `application`, and the revision of its pods.

    A pod is ready once its engine has answered. The revision depends only on what pods run: a change of replicas
    restarts no pod.
    """
    template, revision = with_revision(pod_template(pool, context, _container(application, pool.spec.task, context)))
    rollout = pool.spec.rollout or Rollout()
    manifest = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": labels.child_metadata(pool),
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels.selector(pool)},
            "strategy": _STRATEGIES[rollout.type],
            "progressDeadlineSeconds": _LOADING_SECONDS,
            "revisionHistoryLimit": 2,
            "template": template,
        },
    }
    return manifest, revision


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


def _container(application: Mapping[str, Any], task: Task, context: RenderContext) -> dict[str, Any]:
    env = [
        {"name": APPLICATION_VARIABLE, "value": json.dumps(application, sort_keys=True)},
        {"name": TASK_VARIABLE, "value": task},
        {"name": DRAIN_VARIABLE, "value": str(DRAIN_SECONDS)},
    ]
    if context.traces_endpoint:
        tracing = serve_tracing_environment(context.traces_endpoint)
        env += [{"name": name, "value": value} for name, value in tracing.items()]
    return {
        "name": "engine",
        "command": ["pilotfish", "serve-pool"],
        "env": env,
        "ports": [
            {"name": "http", "containerPort": labels.SERVE_PORT, "protocol": "TCP"},
            {"name": "health", "containerPort": labels.HEALTH_PORT, "protocol": "TCP"},
        ],
        "readinessProbe": _probe("/readyz", period=2, failures=2),
        "livenessProbe": _probe("/livez", period=10, failures=6),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRESTOP_SECONDS}}},
    }


def _probe(path: str, *, period: int, failures: int) -> dict[str, Any]:
    return {
        "httpGet": {"path": path, "port": "health"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": 5,
    }
