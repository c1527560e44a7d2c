"""Single values out of Secrets and ConfigMaps."""

import base64

from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import NotFound
from pilotfish.kube.resources import SECRETS


async def secret_value(client: KubeClient, namespace: str, name: str, key: str) -> str:
    """The value of one key of a Secret. Raises KubeError; NotFound names what is missing, never what is there."""
    secret = await client.get(SECRETS, namespace, name)
    encoded = secret.get("data", {}).get(key)
    if encoded is None:
        raise NotFound(f"Secret {name!r} in {namespace!r} has no key {key!r}")
    return base64.b64decode(encoded).decode()
