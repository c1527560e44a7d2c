"""Reporting: a status that differs is applied, and a change of Ready or Degraded is recorded as an Event."""

import logging
from collections.abc import Mapping
from typing import Any

from pilotfish.base.keys import Key
from pilotfish.controller.mirror import CachedObject, Mirror
from pilotfish.kube import events
from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import KubeError, NotFound

logger = logging.getLogger(__name__)

_RECORDED = ("Ready", "Degraded")
_QUIET = frozenset({"Pending", "Loading", "Whole", "NoPath"})


class Reporter:
    """Writes statuses and Events."""

    def __init__(self, client: KubeClient, mirror: Mirror, instance: str) -> None:
        self._client, self._mirror, self._instance = client, mirror, instance

    async def report(self, key: Key, seen: CachedObject, status: Mapping[str, Any]) -> None:
        """Apply the status, unless the resource has it already. Raises KubeError."""
        before = seen.raw.get("status", {})
        if _has(before, status):
            return
        metadata = seen.raw["metadata"]
        manifest = {
            "apiVersion": seen.raw["apiVersion"],
            "kind": seen.raw["kind"],
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": metadata["uid"]},
            "status": status,
        }
        try:
            made = await self._client.apply_status(self._mirror.kinds.types[key.kind], manifest)
        except NotFound:
            logger.info("%s: deleted while its status was being written", key)
            return
        self._mirror.reported(key, self._mirror.parse(made))
        await self._record_turns(key, seen, before, status)

    async def _record_turns(
        self, key: Key, seen: CachedObject, before: Mapping[str, Any], status: Mapping[str, Any]
    ) -> None:
        for kind in _RECORDED:
            was, now = _condition(before, kind), _condition(status, kind)
            if kind == "Degraded" and _condition(status, "Ready").get("status") != "True":
                continue
            turned = (was.get("status"), was.get("reason")) != (now.get("status"), now.get("reason"))
            if not turned or now.get("reason", "Pending") in _QUIET:
                continue
            warning = (now["status"] == "False") == (kind == "Ready")
            try:
                await events.record(
                    self._client,
                    seen.raw,
                    reason=now["reason"],
                    note=now.get("message") or f"{kind} is {now['status']}",
                    warning=warning,
                    instance=self._instance,
                    moment=now["lastTransitionTime"],
                )
            except KubeError as error:
                # The status has the same message: an Event that cannot be written must not hold up the rest.
                logger.warning("%s: the Event was not recorded: %s", key, error)


def _has(live: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Whether the live status is `status`, ignoring conditions of others."""
    ours = {condition["type"]: condition for condition in status["conditions"]}
    theirs = {condition["type"]: condition for condition in live.get("conditions") or [] if condition["type"] in ours}
    figures = {name: value for name, value in status.items() if name != "conditions"}
    seen = {name: value for name, value in live.items() if name != "conditions"}
    return figures == seen and ours == theirs


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found: list[Mapping[str, Any]] = status.get("conditions") or []
    return next((condition for condition in found if condition["type"] == kind), {})
