"""The NetworkPolicy of a pool: which pods reach its pods."""

from typing import Any

from pilotfish.api import ModelPool
from pilotfish.render import labels
from pilotfish.render.context import RenderContext

KUBERAY_LABELS = {labels.COMPONENT_LABEL: "kuberay-operator"}
"""Labels of the pods of KubeRay's operator, installed by its chart or its manifests."""
_NAMESPACE_NAME = "kubernetes.io/metadata.name"


def network_policy(pool: ModelPool, context: RenderContext, *, spans_pods: bool) -> dict[str, Any]:
    """Ingress rules of the pool's pods. Egress is open, because the addresses of weights are not known in advance."""
    ours = {
        "namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: context.namespace}},
        "podSelector": {"matchLabels": dict(context.peer_labels)},
    }
    # The Jobs of plugins ask pools too, in the namespace of the plugin, which is the pool's.
    jobs = {"podSelector": {"matchLabels": dict(labels.PREPARATION_LABELS)}}
    rules: list[dict[str, Any]] = [{"from": [ours, jobs], "ports": [_tcp(labels.SERVE_PORT)]}]
    if spans_pods:
        # Ray's dashboard can run any code. Only KubeRay's operator needs it, to configure Serve.
        namespace = {"matchLabels": {_NAMESPACE_NAME: context.kuberay_namespace}} if context.kuberay_namespace else {}
        kuberay = {"namespaceSelector": namespace, "podSelector": {"matchLabels": KUBERAY_LABELS}}
        rules.append({"from": [kuberay], "ports": [_tcp(labels.DASHBOARD_PORT), _tcp(labels.SERVE_PORT)]})
        rules.append({"from": [{"podSelector": {"matchLabels": labels.selector(pool)}}]})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": labels.child_metadata(pool),
        "spec": {
            "podSelector": {"matchLabels": labels.selector(pool)},
            "policyTypes": ["Ingress"],
            "ingress": rules,
        },
    }


def _tcp(port: int) -> dict[str, Any]:
    return {"port": port, "protocol": "TCP"}
