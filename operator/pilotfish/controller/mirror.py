"""What the watches have seen, as a reconcile asks for it: Kopf's indexes, and ahead of them our own writes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import kopf

from pilotfish.api import GROUP, AdaptationPlugin, ModelPool, ModelRouter, Resource
from pilotfish.api.validation import Fault, parse_resource
from pilotfish.reconcile.outcome import Manifest, ObjectKey
from pilotfish.render import labels


class Key(NamedTuple):
    """One resource of ours."""

    kind: str
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True)
class Entry:
    """A resource of ours: its JSON without what only bulks it up, and its typed form, or why there is none."""

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
    """The object without managed fields, which are its largest part and are not looked at."""
    metadata = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
    return {**body, "metadata": metadata}


def entry(body: Mapping[str, Any]) -> Entry:
    """Parse an object of ours. A status that our models refuse counts as none, as it is written anew anyway."""
    raw = slim(body)
    resource, faults = parse_resource(raw)
    if any(fault.path[:1] == ("status",) for fault in faults):
        resource, faults = parse_resource({name: value for name, value in raw.items() if name != "status"})
    return Entry(raw, resource, faults)


def key_of(body: Mapping[str, Any]) -> Key:
    """The key of an object of ours."""
    metadata = body["metadata"]
    return Key(body["kind"], metadata["namespace"], metadata["name"])


def owner_of(body: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The reference to the ModelPool that controls the object."""
    for reference in body["metadata"].get("ownerReferences") or []:
        if reference["kind"] == "ModelPool" and reference["apiVersion"].startswith(f"{GROUP}/"):
            found: Mapping[str, Any] = reference
            return found
    return None


def pool_of_child(body: Mapping[str, Any]) -> Key | None:
    """The pool that the object was made of."""
    owner = owner_of(body)
    return Key("ModelPool", body["metadata"]["namespace"], owner["name"]) if owner else None


def pool_of_pod(body: Mapping[str, Any]) -> Key | None:
    """The pool whose replica the pod is, or a part of it."""
    name = (body["metadata"].get("labels") or {}).get(labels.POOL_LABEL)
    return Key("ModelPool", body["metadata"]["namespace"], name) if name else None


def references(resource: Resource) -> tuple[Key, ...]:
    """What the resource names, and what it waits for to be there or ready."""
    namespace = resource.metadata.namespace or ""
    match resource:
        case ModelPool():
            policy = resource.spec.autoscaling_policy_ref
            return (Key("AutoscalingPolicy", namespace, policy.name),) if policy else ()
        case ModelRouter():
            pools = (Key("ModelPool", namespace, name) for name in resource.pool_names)
            plugins = (Key("AdaptationPlugin", namespace, use.plugin_ref.name) for use in resource.spec.plugins)
            return (*pools, *plugins)
        case AdaptationPlugin():
            return tuple({Key("ModelPool", namespace, ref.name): None for ref in resource.spec.pool_refs})
    return ()


@dataclass
class Mirror:
    """The cluster as seen. `bind` gives it Kopf's indexes; until then it is empty."""

    _entries: Mapping[Key, Iterable[Entry]] = field(default_factory=dict)
    _referrers: Mapping[Key, Iterable[Key]] = field(default_factory=dict)
    _served: Mapping[str, Iterable[Key]] = field(default_factory=dict)
    _children: Mapping[Key, Iterable[Manifest]] = field(default_factory=dict)
    _pods: Mapping[Key, Iterable[Manifest]] = field(default_factory=dict)
    _written: dict[Key | ObjectKey, Entry | Manifest] = field(default_factory=dict)

    def bind(self, indices: Mapping[str, kopf.Index[Any, Any]]) -> None:
        """Read from these from now on."""
        self._entries, self._referrers = indices["entries"], indices["referrers"]
        self._served, self._children, self._pods = indices["served"], indices["children"], indices["pods"]

    def entry(self, key: Key) -> Entry | None:
        """The resource, None if there is none."""
        seen = _first(self._entries.get(key))
        written = self._written.get(key)
        if seen is None:
            self._written.pop(key, None)
            return None
        if isinstance(written, Entry) and written.version > seen.version:
            return written
        self._written.pop(key, None)
        return seen

    def entries(self, keys: Iterable[Key]) -> tuple[Entry, ...]:
        """The resources of `keys` that exist."""
        return tuple(found for key in keys if (found := self.entry(key)))

    def keys(self, kind: str) -> tuple[Key, ...]:
        """All resources of a kind."""
        return tuple(key for key in self._entries if key.kind == kind)

    def referrers(self, key: Key, kind: str | None = None) -> tuple[Key, ...]:
        """Resources that name `key`."""
        found = self._referrers.get(key) or ()
        return tuple(referrer for referrer in found if kind is None or referrer.kind == kind)

    def serving(self, names: Iterable[str]) -> tuple[Key, ...]:
        """Routers that serve one of `names`."""
        return tuple(dict.fromkeys(key for name in names for key in self._served.get(name) or ()))

    def children(self, key: Key, uid: str) -> dict[ObjectKey, Manifest]:
        """What was made of the pool with this uid."""
        seen = [child for child in self._children.get(key) or () if _owned_by(child, uid)]
        by_key = {ObjectKey.of(child): child for child in seen}
        return {object_key: self._newer(object_key, child) for object_key, child in by_key.items()}

    def pods(self, key: Key) -> tuple[Manifest, ...]:
        """The pods of the pool."""
        return tuple(self._pods.get(key) or ())

    def uids(self) -> set[str]:
        """Of everything that was seen and not seen to go."""
        ours = {entry.raw["metadata"]["uid"] for store in self._entries.values() for entry in store}
        theirs = (*self._children.values(), *self._pods.values())
        return ours | {each["metadata"]["uid"] for store in theirs for each in store}

    def wrote(self, key: Key | ObjectKey, what: Entry | Manifest) -> None:
        """Remember an answer to our own write until the watch brings it."""
        self._written[key] = what

    def forget(self, key: Key | ObjectKey) -> None:
        """The object has gone."""
        self._written.pop(key, None)

    def written(self, key: ObjectKey) -> Manifest | None:
        """A child that was written and that the watch has not brought yet."""
        found = self._written.get(key)
        return found if isinstance(found, Mapping) else None

    def _newer(self, key: ObjectKey, seen: Manifest) -> Manifest:
        written = self.written(key)
        if written is not None and version(written) > version(seen):
            return written
        self._written.pop(key, None)
        return seen


def _owned_by(child: Manifest, uid: str) -> bool:
    owner = owner_of(child)
    return owner is not None and owner.get("uid") == uid


def _first(store: Iterable[Entry] | None) -> Entry | None:
    return next(iter(store), None) if store is not None else None
