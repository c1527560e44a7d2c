"""What tests of the operator declare, and how they see that it was acted on."""

from controlplane import Api, Refused

POOL = {"tier": "Small", "model": {"uri": "package://weights/model.gguf"}, "replicas": 1}
CHILDREN = (("networking.k8s.io/v1", "NetworkPolicy"), ("v1", "Service"), ("apps/v1", "Deployment"))
START_SECONDS = 90


def a_pool(namespace: str, name: str = "small", **spec: object) -> dict:
    return {
        "apiVersion": "pilotfish.dev/v1alpha1",
        "kind": "ModelPool",
        "metadata": {"name": name, "namespace": namespace},
        "spec": POOL | spec,
    }


def child(version: str, kind: str, namespace: str, pool: str = "small") -> dict:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": f"{pool}-pool", "namespace": namespace}}


def deployment(namespace: str, pool: str = "small") -> dict:
    return child("apps/v1", "Deployment", namespace, pool)


def there(api: Api, manifest: dict) -> dict | None:
    try:
        return api.get(manifest)
    except Refused as error:
        if error.status == 404:
            return None
        raise


def condition(api: Api, manifest: dict, kind: str) -> dict:
    found = (there(api, manifest) or {}).get("status", {}).get("conditions", [])
    return next((entry for entry in found if entry["type"] == kind), {})


def settled(api: Api, pool: dict) -> bool:
    """Whether the pool has been acted on: its objects are there and its status is of this generation."""
    live = api.get(pool)
    name, namespace = live["metadata"]["name"], live["metadata"]["namespace"]
    seen = live.get("status", {}).get("observedGeneration")
    return seen == live["metadata"]["generation"] and all(
        there(api, child(version, kind, namespace, name)) for version, kind in CHILDREN
    )


def wait_settled(api: Api, pool: dict) -> None:
    api.wait(f"{pool['metadata']['name']} being acted on", lambda: settled(api, pool), seconds=START_SECONDS)
