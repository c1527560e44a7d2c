"""Kopf's part: watch, index, and put keys on the queue. No timers, daemons or delete handlers, and so no finalizers."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

import kopf

from pilotfish.base.keys import Key
from pilotfish.controller.dependents import Dependents
from pilotfish.controller.mirror import CachedObject, Mirror, slim
from pilotfish.kube.credentials import Credentials
from pilotfish.reconcile.outcome import Manifest
from pilotfish.render.resources import PODS, ResourceType

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

    _index(registry, mirror)
    _watch(registry, mirror, enqueue)
    return registry


def _watch(registry: kopf.OperatorRegistry, mirror: Mirror, enqueue: Enqueue) -> None:
    dependents, kinds = Dependents(mirror), mirror.kinds

    async def on_ours(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002 - Kopf's name
        for key in dependents.of(body, gone=type == "DELETED"):
            await enqueue(key)

    async def on_child(body: kopf.Body, type: str | None, **_: Any) -> None:  # noqa: A002 - Kopf's name
        if type == "DELETED":
            mirror.forget_child(Key.of(body))
        if owner := kinds.owner(body):
            await enqueue(owner[0])

    async def on_pod(body: kopf.Body, **_: Any) -> None:
        if key := kinds.pod_owner(body):
            await enqueue(key)

    for kind in kinds:
        kopf.on.event(*_at(kind.type), registry=registry, id=f"on-{kind.type.plural}")(on_ours)
    for child in kinds.children:
        kopf.on.event(*_at(child), registry=registry, id=f"on-{child.plural}", when=_when(kinds.owner))(on_child)
    kopf.on.event(*_at(PODS), registry=registry, id="on-pods", when=_when(kinds.pod_owner))(on_pod)


def _index(registry: kopf.OperatorRegistry, mirror: Mirror) -> None:
    kinds = mirror.kinds

    async def objects(body: kopf.Body, **_: Any) -> dict[Key, CachedObject]:
        return {Key.of(body): mirror.parse(body)}

    async def referrers(body: kopf.Body, **_: Any) -> dict[Key, Key]:
        found = mirror.parse(body).resource
        return {reference.key: Key.of(body) for reference in kinds.references(found)} if found else {}

    async def claimants(body: kopf.Body, **_: Any) -> dict[str, Key]:
        found = mirror.parse(body).resource
        return dict.fromkeys(kinds.claims(found), Key.of(body)) if found else {}

    async def children(body: kopf.Body, **_: Any) -> dict[Key, Manifest]:
        owner = kinds.owner(body)
        return {owner[0]: slim(body)} if owner else {}

    async def pods(body: kopf.Body, **_: Any) -> dict[Key, Manifest]:
        key = kinds.pod_owner(body)
        return {key: _slim_pod(body)} if key else {}

    for kind in kinds:
        for index in (objects, referrers, claimants):
            kopf.index(*_at(kind.type), registry=registry, id=index.__name__)(index)
    for child in kinds.children:
        kopf.index(*_at(child), registry=registry, id="children", when=_when(kinds.owner))(children)
    kopf.index(*_at(PODS), registry=registry, id="pods", when=_when(kinds.pod_owner))(pods)


def _when(owner: Callable[[Mapping[str, Any]], object]) -> Callable[..., bool]:
    """Kopf's filter: objects that have an owner."""

    def when(body: Mapping[str, Any], **_: Any) -> bool:
        return owner(body) is not None

    return when


def _at(found: ResourceType) -> tuple[str, str, str]:
    return found.group, found.version, found.plural


def configure(settings: kopf.OperatorSettings) -> None:
    """Keep Kopf from writing anything, and reopen watches that hang."""
    settings.posting.enabled = False
    # Watching CRDs is not needed: the process restarts when KubeRay is installed or removed.
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.persistence.diffbase_storage = _NoDiffs()
    # Kopf's workers wait for each other until everything is indexed, so a limit below the number of objects would
    # deadlock. They only put keys on our queue, whose workers are bounded.
    settings.queueing.worker_limit = None
    settings.queueing.idle_timeout = _IDLE_SECONDS
    settings.watching.server_timeout = 290
    settings.watching.client_timeout = 320
    settings.watching.connect_timeout = 5
    settings.networking.request_timeout = 60
    settings.networking.connect_timeout = 5


class _NoDiffs(kopf.DiffBaseStorage):
    """Keeps no last-seen state, which would copy every object. No handler needs to know what changed."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return cast("kopf.BodyEssence", {})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        return None


def connection(credentials: Credentials) -> kopf.ConnectionInfo:
    """Our credentials for Kopf, which asks again when the API server rejects a rotated token."""
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


def _slim_pod(body: Mapping[str, Any]) -> dict[str, Any]:
    names = ("name", "namespace", "uid", "labels", "annotations", "creationTimestamp", "deletionTimestamp")
    metadata, status = body["metadata"], body.get("status", {})
    return {
        "metadata": {name: metadata[name] for name in names if name in metadata},
        "status": {name: status[name] for name in _POD_FIELDS if name in status},
    }
