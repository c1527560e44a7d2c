"""Keys of Secrets, for HTTP headers."""

import base64
import binascii
from collections.abc import Mapping
from typing import Any

from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import KubeError, NotFound
from pilotfish.render.resources import SECRETS


async def secret_value(client: KubeClient, namespace: str, name: str, key: str) -> str:
    """The value of one key of a Secret, as `api_key` reads it. Raises KubeError."""
    return api_key(await client.get(SECRETS, namespace, name), name, key)


def api_key(secret: Mapping[str, Any], name: str, key: str) -> str:
    """The value of `key` in a Secret (as JSON), without surrounding white space.

    Raises NotFound if it is missing, KubeError if it is not valid in an HTTP header. Neither contains the value.
    """
    encoded = (secret.get("data") or {}).get(key)
    if encoded is None:
        raise NotFound(f"Secret {name!r} has no key {key!r}")
    try:
        value = base64.b64decode(encoded).decode("ascii").strip()
    except (binascii.Error, UnicodeDecodeError):
        value = ""
    if not value or not value.isprintable():
        raise KubeError(f"key {key!r} of Secret {name!r} must be one line of printable ASCII characters")
    return value
