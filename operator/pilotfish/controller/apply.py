"""Carrying an outcome out: only what differs is written, and only what is ours is touched."""

from collections.abc import Mapping

from pilotfish.controller.mirror import Key, Mirror, owner_of, slim
from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import Refused
from pilotfish.kube.resources import BY_KIND
from pilotfish.reconcile.drift import needs_apply, without_strangers
from pilotfish.reconcile.outcome import Manifest, ObjectKey, Outcome


class Applier:
    """Writes a pool's objects to the API server."""

    def __init__(self, client: KubeClient, mirror: Mirror) -> None:
        self._client, self._mirror = client, mirror

    async def make_so(self, key: Key, outcome: Outcome, children: Mapping[ObjectKey, Manifest]) -> None:
        """Apply what differs, then delete what should go: nothing goes while what takes its place is refused.

        Raises Refused, Conflict and Unavailable.
        """
        for manifest in outcome.manifests:
            await self._apply(manifest, children.get(ObjectKey.of(manifest)))
        for gone in outcome.deletions:
            await self._delete(gone, children[gone])

    async def _delete(self, key: ObjectKey, child: Manifest) -> None:
        if child["metadata"].get("deletionTimestamp"):
            return
        await self._client.delete(BY_KIND[key.kind], key.namespace, key.name, uid=child["metadata"]["uid"])

    async def _apply(self, manifest: Manifest, seen: Manifest | None) -> None:
        key = ObjectKey.of(manifest)
        resource = BY_KIND[key.kind]
        live = seen or self._mirror.written(key) or await self._client.find(resource, key.namespace, key.name)
        if live is not None:
            _check_ours(manifest, live)
        if needs_apply(manifest, live):
            made = slim(await self._client.apply(resource, manifest))
            alone = without_strangers(made, manifest)
            if alone != made:
                made = slim(await self._client.merge(resource, alone))
            self._mirror.wrote(key, made)


def _check_ours(manifest: Manifest, live: Manifest) -> None:
    """An object of the same name that is somebody else's is left as it is."""
    owner, wanted = owner_of(live), owner_of(manifest)
    if owner is None or wanted is None or owner["uid"] != wanted["uid"]:
        kind, name = manifest["kind"], manifest["metadata"]["name"]
        raise Refused(
            f"{kind} {name!r} is there already and does not belong to this pool: delete it, or rename the pool"
        )
