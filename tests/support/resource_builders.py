"""Builders of what a cluster may hold."""

from pilotfish.api import AdaptationPlugin, AutoscalingPolicy, ModelPool, ModelRouter
from pilotfish.base.keys import Key
from pilotfish.reconcile.outcome import Context
from pilotfish.render.context import RenderContext
from pilotfish.render.labels import POOL_LABEL, REVISION_ANNOTATION

API = {"apiVersion": "pilotfish.dev/v1alpha1"}
NOW = "2026-01-01T00:00:00Z"
CASCADE = {
    "type": "Cascade",
    "cascade": {
        "stages": [
            {"poolRef": {"name": "small"}, "accept": {"scorer": {"name": "logprob"}, "thresholdPermille": 600}},
            {"poolRef": {"name": "large"}},
        ]
    },
}


def metadata(name, **more):
    return {"name": name, "namespace": "team", "uid": f"uid-{name}", "generation": 3} | more


def a_pool(name="small", *, status=None, **spec):
    spec = {"tier": "Small", "model": {"uri": "package://weights/model.gguf"}, "replicas": 1} | spec
    spec = {key: value for key, value in spec.items() if value is not None}
    body = {**API, "kind": "ModelPool", "metadata": metadata(name), "spec": spec}
    return ModelPool.model_validate(body | ({"status": status} if status else {}))


def an_external(name="frontier"):
    external = {"baseURL": "https://api.example.com/v1", "model": "m"}
    return a_pool(name, model=None, replicas=None, external=external)


def a_router(name="assistant", *pools, created=NOW, **spec):
    weighted = {"pools": [{"poolRef": {"name": pool}, "weight": 1} for pool in pools]}
    spec = {"strategy": {"type": "Weighted", "weighted": weighted}} | spec
    return ModelRouter.model_validate(
        {**API, "kind": "ModelRouter", "metadata": metadata(name, creationTimestamp=created), "spec": spec}
    )


def a_plugin(name="handbook", **spec):
    return AdaptationPlugin.model_validate(
        {**API, "kind": "AdaptationPlugin", "metadata": metadata(name), "spec": {"type": "retrieval"} | spec}
    )


def a_policy(name="follow-load", **spec):
    base = {"minReplicas": 1, "maxReplicas": 8, "signals": [{"type": "OngoingRequests", "target": 16}]}
    return AutoscalingPolicy.model_validate(
        {**API, "kind": "AutoscalingPolicy", "metadata": metadata(name), "spec": base | spec}
    )


def a_context(**render):
    return Context(RenderContext(pool_image="pool:1", **render), NOW, gateway_url="http://gateway/v1")


def a_pod(name="small-1", *, pool="small", revision="", ready=False, conditions=(), init=(), containers=()):
    found = [{"type": "Ready", "status": "True" if ready else "False"}, *conditions]
    if ready:
        found.append({"type": "Initialized", "status": "True"})
    return {
        "metadata": {
            "name": name,
            "namespace": "team",
            "labels": {POOL_LABEL: pool},
            "annotations": {REVISION_ANNOTATION: revision},
            "creationTimestamp": NOW,
        },
        "status": {"conditions": found, "initContainerStatuses": list(init), "containerStatuses": list(containers)},
    }


def children(outcome):
    """The outcome's manifests as the API server would hold them."""
    return {Key.of(manifest): manifest for manifest in outcome.manifests}


def condition(outcome, kind):
    return next(item for item in outcome.status["conditions"] if item["type"] == kind)


def says(outcome, kind):
    found = condition(outcome, kind)
    return found["status"], found["reason"]
