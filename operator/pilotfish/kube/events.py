"""Kubernetes Events, for changes of conditions."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import Conflict
from pilotfish.render.resources import EVENTS

_NOTE_LIMIT = 1000


async def record(
    client: KubeClient, about: Mapping[str, Any], *, reason: str, note: str, warning: bool, instance: str, moment: str
) -> None:
    """Create an Event with `note`, once for a `reason` and `moment` (RFC 3339). Raises KubeError."""
    metadata = about["metadata"]
    token = hashlib.sha256(f"{metadata['uid']}/{reason}/{moment}".encode()).hexdigest()[:16]
    event = {
        "apiVersion": EVENTS.api_version,
        "kind": EVENTS.kind,
        "metadata": {"name": f"{metadata['name']}.{token}", "namespace": metadata["namespace"]},
        "eventTime": datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "reportingController": "pilotfish.dev/operator",
        "reportingInstance": instance,
        "action": "Reconcile",
        "reason": reason,
        "note": note[:_NOTE_LIMIT],
        "type": "Warning" if warning else "Normal",
        "regarding": {
            "apiVersion": about["apiVersion"],
            "kind": about["kind"],
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
    try:
        await client.create(EVENTS, event)
    except Conflict:
        return
