"""What the watches have seen: Kopf's indexes, and the responses to our own writes until the watches bring them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import kopf

from pilotfish.api import Resource
from pilotfish.api.validation import Fault
from pilotfish.base.keys import Key
from pilotfish.reconcile.kinds import KINDS, KindTable
from pilotfish.reconcile.outcome import Manifest


@dataclass(frozen=True)
class CachedObject:
    """A resource of ours: its JSON without managed fields, and its typed form, or the faults why there is none."""

    raw: Mapping[str, Any]
    resource: Resource | None
    faults: tuple[Fault, ...] = ()

    @property
    def version(self) -> int:
        """Grows with every change of the object."""
        return version(self.raw)

    @property
    def going(self) -> bool:
        """Whether the object is being deleted."""
        return bool(self.raw["metadata"].get("deletionTimestamp"))


def version(raw: Mapping[str, Any]) -> int:
    """The resource version, which Kubernetes promises to grow within a kind."""
    return int(raw["metadata"].get("resourceVersion") or 0)


def slim(body: Mapping[str, Any]) -> dict[str, Any]:
    """The object without managed fields, which are its largest part and are not read."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {**body, "metadata": metadata}


@dataclass
class Mirror:
    """The cluster as seen. `bind` gives it Kopf's indexes; until then it is empty."""

    kinds: KindTable = KINDS
    _objects: Mapping[Key, Iterable[CachedObject]] = field(default_factory=dict)
    _referrers: Mapping[Key, Iterable[Key]] = field(default_factory=dict)
    _claimants: Mapping[str, Iterable[Key]] = field(default_factory=dict)
    _children: Mapping[Key, Iterable[Manifest]] = field(default_factory=dict)
    _pods: Mapping[Key, Iterable[Manifest]] = field(default_factory=dict)
    _reported: dict[Key, CachedObject] = field(default_factory=dict)
    _applied: dict[Key, Manifest] = field(default_factory=dict)

    def bind(self, indices: Mapping[str, kopf.Index[Any, Any]]) -> None:
        """Read from these from now on."""
        self._objects, self._referrers = indices["objects"], indices["referrers"]
        self._claimants, self._children, self._pods = indices["claimants"], indices["children"], indices["pods"]

    def parse(self, body: Mapping[str, Any]) -> CachedObject:
        """Parse an object of ours. An invalid status counts as none, because it is written again anyway."""
        raw = slim(body)
        resource, faults = self.kinds.parse(raw)
        if any(fault.path[:1] == ("status",) for fault in faults):
            resource, faults = self.kinds.parse({name: value for name, value in raw.items() if name != "status"})
        return CachedObject(raw, resource, faults)

    def find(self, key: Key) -> CachedObject | None:
        """The resource, None if there is none."""
        seen = _first(self._objects.get(key))
        reported = self._reported.get(key)
        if seen is not None and reported is not None and reported.version > seen.version:
            return reported
        self._reported.pop(key, None)
        return seen

    def referrers(self, key: Key, kind: str | None = None) -> tuple[Key, ...]:
        """Resources that refer to `key`."""
        found = self._referrers.get(key) or ()
        return tuple(referrer for referrer in found if kind is None or referrer.kind == kind)

    def claimants(self, names: Iterable[str]) -> tuple[Key, ...]:
        """Resources that claim one of `names`."""
        return tuple(dict.fromkeys(key for name in names for key in self._claimants.get(name) or ()))

    def children(self, key: Key, uid: str) -> dict[Key, Manifest]:
        """What was made for the resource with this uid."""
        seen = [child for child in self._children.get(key) or () if self.kinds.owner(child) == (key, uid)]
        by_key = {Key.of(child): child for child in seen}
        return {made: self._newer(made, child) for made, child in by_key.items()}

    def pods(self, key: Key) -> tuple[Manifest, ...]:
        """The pods of the resource."""
        return tuple(self._pods.get(key) or ())

    def uids(self) -> set[str]:
        """Uids of everything that was seen and not seen to be deleted."""
        ours = {cached.raw["metadata"]["uid"] for store in self._objects.values() for cached in store}
        theirs = (*self._children.values(), *self._pods.values())
        return ours | {each["metadata"]["uid"] for store in theirs for each in store}

    def reported(self, key: Key, resource: CachedObject) -> None:
        """Remember the response to a write of a status until the watch brings the resource."""
        self._reported[key] = resource

    def forget(self, key: Key) -> None:
        """Forget a deleted resource."""
        self._reported.pop(key, None)

    def applied(self, key: Key, child: Manifest) -> None:
        """Remember the response to a write of a child until the watch brings it."""
        self._applied[key] = child

    def forget_child(self, key: Key) -> None:
        """Forget a deleted child."""
        self._applied.pop(key, None)

    def unseen(self, key: Key) -> Manifest | None:
        """A child that was applied and that the watch has not brought yet."""
        return self._applied.get(key)

    def _newer(self, key: Key, seen: Manifest) -> Manifest:
        applied = self._applied.get(key)
        if applied is not None and version(applied) > version(seen):
            return applied
        self._applied.pop(key, None)
        return seen


def _first(store: Iterable[CachedObject] | None) -> CachedObject | None:
    return next(iter(store), None) if store is not None else None
