"""Kopf's part: watch, index, and put keys on the queue. No timers, daemons or delete handlers, hence no finalizers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import kopf

from pilotfish.api import ModelRouter
from pilotfish.controller.edges import Edges
from pilotfish.controller.mirror import (
    Entry,
    Key,
    Mirror,
    entry,
    key_of,
    pool_of_child,
    pool_of_pod,
    references,
    slim,
)
from pilotfish.kube import resources
from pilotfish.kube.credentials import Credentials
from pilotfish.reconcile.outcome import Manifest, ObjectKey

Enqueue = Callable[[Key], Awaitable[None]]

_IDLE_SECONDS = 0.2
_POD_FIELDS = ("phase", "podIP", "reason", "message", "conditions", "initContainerStatuses", "containerStatuses")


def build_registry(
    mirror: Mirror, enqueue: Enqueue, credentials: Credentials, stopping: asyncio.Event
) -> kopf.OperatorRegistry:
    """The handlers: they feed `mirror`, hand the keys that an event concerns to `enqueue`, and set `stopping`."""
    registry = kopf.OperatorRegistry()

    @kopf.on.startup(registry=registry)
    def start(settings: kopf.OperatorSettings, **kwargs: Any) -> None:
        configure(settings)
        mirror.bind(kwargs)

    @kopf.on.cleanup(registry=registry)
    def stop(**_: Any) -> None:
        stopping.set()

    @kopf.on.login(registry=registry)
    def login(**_: Any) -> kopf.ConnectionInfo:
        return connection(credentials)

    _index(registry)
    _watch(registry, mirror, enqueue)
    return registry


def _watch(registry: kopf.OperatorRegistry, mirror: Mirror, enqueue: Enqueue) -> None:
    edges = Edges(mirror)
    for resource in resources.OURS:

        @kopf.on.event(resource.group, resource.version, resource.plural, registry=registry, id=f"on-{resource.plural}")
        async def on_ours(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002 - Kopf's name
            for key in edges.concerned(body, gone=type == "DELETED"):
                await enqueue(key)

    for child in resources.CHILDREN:

        @kopf.on.event(
            child.group, child.version, child.plural, registry=registry, id=f"on-{child.plural}", when=_is_child
        )
        async def on_child(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002 - Kopf's name
            if type == "DELETED":
                mirror.forget(ObjectKey.of(body))
            if key := pool_of_child(body):
                await enqueue(key)

    @kopf.on.event(resources.PODS.version, resources.PODS.plural, registry=registry, id="on-pods", when=_is_pod)
    async def on_pod(body: kopf.Body, **_: Any) -> None:
        if key := pool_of_pod(body):
            await enqueue(key)


def _index(registry: kopf.OperatorRegistry) -> None:
    for resource in resources.OURS:
        where = (resource.group, resource.version, resource.plural)

        @kopf.index(*where, registry=registry, id="entries")
        async def entries(body: kopf.Body, **_: Any) -> dict[Key, Entry]:
            return {key_of(body): entry(body)}

        @kopf.index(*where, registry=registry, id="referrers")
        async def referrers(body: kopf.Body, **_: Any) -> dict[Key, Key]:
            found = entry(body).resource
            return dict.fromkeys(references(found), key_of(body)) if found else {}

    @kopf.index(
        resources.MODEL_ROUTERS.group,
        resources.MODEL_ROUTERS.version,
        resources.MODEL_ROUTERS.plural,
        registry=registry,
        id="served",
    )
    async def served(body: kopf.Body, **_: Any) -> dict[str, Key]:
        found = entry(body).resource
        return dict.fromkeys(found.served_names, key_of(body)) if isinstance(found, ModelRouter) else {}

    for child in resources.CHILDREN:

        @kopf.index(child.group, child.version, child.plural, registry=registry, id="children", when=_is_child)
        async def children(body: kopf.Body, **_: Any) -> dict[Key, Manifest]:
            key = pool_of_child(body)
            return {key: slim(body)} if key else {}

    @kopf.index(resources.PODS.version, resources.PODS.plural, registry=registry, id="pods", when=_is_pod)
    async def pods(body: kopf.Body, **_: Any) -> dict[Key, Manifest]:
        key = pool_of_pod(body)
        return {key: _slim_pod(body)} if key else {}


def configure(settings: kopf.OperatorSettings) -> None:
    """Keep Kopf from writing anything, and let a watch that hangs be opened anew."""
    settings.posting.enabled = False
    # Rights to watch CRDs are not needed: a KubeRay that comes or goes ends the process, and the next one sees it.
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = _NoDiffs()
    # Kopf's workers wait for each other until everything is indexed: a limit on them below the number of objects would
    # keep them waiting for ever. They only put keys on our queue, whose workers are bounded.
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 320
    settings.watching.connect_timeout = 5
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 5


class _NoDiffs(kopf.DiffBaseStorage):
    """Keeps no last-seen state: no handler asks what changed, and to tell it every object would be copied."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        return None


def connection(credentials: Credentials) -> kopf.ConnectionInfo:
    """Our credentials as Kopf wants them. Kopf asks again when the API server no longer takes a rotated token."""
    authorization = credentials.headers().get("Authorization", "")
    return kopf.ConnectionInfo(
        server=credentials.server,
        ca_path=credentials.ca_path,
        insecure=credentials.insecure,
        certificate_path=credentials.certificate_path,
        private_key_path=credentials.key_path,
        token=authorization.removeprefix("Bearer ") or None,
        default_namespace=credentials.namespace,
    )


def _is_child(body: Mapping[str, Any], **_: Any) -> bool:
    return pool_of_child(body) is not None


def _is_pod(body: Mapping[str, Any], **_: Any) -> bool:
    return pool_of_pod(body) is not None


def _slim_pod(body: Mapping[str, Any]) -> dict[str, Any]:
    names = ("name", "namespace", "uid", "labels", "annotations", "creationTimestamp", "deletionTimestamp")
    metadata, status = body["metadata"], body.get("status", {})
    return {
        "metadata": {name: metadata[name] for name in names if name in metadata},
        "status": {name: status[name] for name in _POD_FIELDS if name in status},
    }
