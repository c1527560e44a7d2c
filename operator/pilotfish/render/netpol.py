"""Who may reach a pool's pods: the gateway and the operator, and, where Ray spans pods, KubeRay and these pods."""

from typing import Any

from pilotfish.api import ModelPool
from pilotfish.render import labels
from pilotfish.render.context import RenderContext

KUBERAY_LABELS = {labels.COMPONENT_LABEL: "kuberay-operator"}
"""On the pods of its operator, installed by its chart or by its manifests."""
_NAMESPACE_NAME = "kubernetes.io/metadata.name"


def network_policy(pool: ModelPool, context: RenderContext, *, spans_pods: bool) -> dict[str, Any]:
    """Ingress rules of the pool's pods. Egress is left open: weights come from addresses that only the user knows."""
    ours = {
        "namespaceSelector": {"matchLabels": {_NAMESPACE_NAME: context.namespace}},
        "podSelector": {"matchLabels": dict(context.peer_labels)},
    }
    rules: list[dict[str, Any]] = [{"from": [ours], "ports": [_tcp(labels.SERVE_PORT)]}]
    if spans_pods:
        # Ray's dashboard runs code for whoever reaches it: KubeRay's operator alone needs it, to configure Serve.
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
