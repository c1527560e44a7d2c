"""Reporting: a status that differs is applied, and a turn of Ready is told as an Event."""

import logging
from collections.abc import Mapping
from typing import Any

from pilotfish.controller.mirror import Entry, Key, Mirror, entry
from pilotfish.kube import events
from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import KubeError, NotFound
from pilotfish.kube.resources import BY_KIND

logger = logging.getLogger(__name__)

_TOLD = ("Ready", "Degraded")
_QUIET = frozenset({"Pending", "Loading", "Whole", "NoPath"})


class Reporter:
    """Writes statuses and Events."""

    def __init__(self, client: KubeClient, mirror: Mirror, instance: str) -> None:
        self._client, self._mirror, self._instance = client, mirror, instance

    async def report(self, key: Key, seen: Entry, status: Mapping[str, Any]) -> None:
        """Make the resource's status say `status`; nothing is written when it does. Raises KubeError."""
        before = seen.raw.get("status", {})
        if _says(before, status):
            return
        metadata = seen.raw["metadata"]
        manifest = {
            "apiVersion": seen.raw["apiVersion"],
            "kind": seen.raw["kind"],
            "metadata": {"name": key.name, "namespace": key.namespace, "uid": metadata["uid"]},
            "status": status,
        }
        try:
            self._mirror.wrote(key, entry(await self._client.apply_status(BY_KIND[key.kind], manifest)))
        except NotFound:
            logger.info("%s: gone while its status was being written", key)
            return
        await self._tell(key, seen, before, status)

    async def _tell(self, key: Key, seen: Entry, before: Mapping[str, Any], status: Mapping[str, Any]) -> None:
        for kind in _TOLD:
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
                # The status holds the same words: an Event that cannot be written must not hold up the rest.
                logger.warning("%s: no event: %s", key, error)


def _says(live: Mapping[str, Any], status: Mapping[str, Any]) -> bool:
    """Whether the live status is `status`, conditions that are not ours left aside."""
    ours = {condition["type"]: condition for condition in status["conditions"]}
    theirs = {condition["type"]: condition for condition in live.get("conditions") or [] if condition["type"] in ours}
    figures = {name: value for name, value in status.items() if name != "conditions"}
    seen = {name: value for name, value in live.items() if name != "conditions"}
    return figures == seen and ours == theirs


def _condition(status: Mapping[str, Any], kind: str) -> Mapping[str, Any]:
    found: list[Mapping[str, Any]] = status.get("conditions") or []
    return next((condition for condition in found if condition["type"] == kind), {})
