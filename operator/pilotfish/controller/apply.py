"""Applies an outcome: writes only what differs, and only objects that belong to the operator."""

from collections.abc import Mapping

from pilotfish.base.keys import Key
from pilotfish.controller.mirror import Mirror, slim
from pilotfish.kube.client import KubeClient
from pilotfish.kube.errors import Refused
from pilotfish.reconcile.drift import needs_apply, without_strangers
from pilotfish.reconcile.outcome import Manifest, Outcome


class Applier:
    """Writes the objects that are made for a resource to the API server."""

    def __init__(self, client: KubeClient, mirror: Mirror) -> None:
        self._client, self._mirror = client, mirror

    async def make_so(self, outcome: Outcome, children: Mapping[Key, Manifest]) -> None:
        """Apply what differs, then delete what should go: nothing is deleted while its replacement is rejected.

        Raises Refused, Conflict and Unavailable.
        """
        for manifest in outcome.manifests:
            await self._apply(manifest, children.get(Key.of(manifest)))
        for gone in outcome.deletions:
            await self._delete(gone, children[gone])

    async def _delete(self, key: Key, child: Manifest) -> None:
        if child["metadata"].get("deletionTimestamp"):
            return
        await self._client.delete(
            self._mirror.kinds.types[key.kind], key.namespace, key.name, uid=child["metadata"]["uid"]
        )

    async def _apply(self, manifest: Manifest, seen: Manifest | None) -> None:
        key = Key.of(manifest)
        resource = self._mirror.kinds.types[key.kind]
        live = seen or self._mirror.unseen(key) or await self._client.find(resource, key.namespace, key.name)
        if live is not None:
            self._check_ours(manifest, live)
        if needs_apply(manifest, live):
            made = slim(await self._client.apply(resource, manifest))
            alone = without_strangers(made, manifest)
            if alone != made:
                made = slim(await self._client.merge(resource, alone))
            self._mirror.applied(key, made)

    def _check_ours(self, manifest: Manifest, live: Manifest) -> None:
        """An object with the same name that does not belong to the resource is not changed."""
        owner, wanted = self._mirror.kinds.owner(live), self._mirror.kinds.owner(manifest)
        if wanted is None or owner != wanted:
            kind, name = manifest["kind"], manifest["metadata"]["name"]
            whose = f"this {wanted[0].kind}" if wanted else "a resource of ours"
            raise Refused(f"{kind} {name!r} exists and does not belong to {whose}: delete it, or rename the resource")
