"""The key of an object: its kind, its namespace and its name. It is the same in manifests, caches and the cluster."""

from collections.abc import Mapping
from typing import Any, NamedTuple

DEFAULT_NAMESPACE = "default"
"""Namespace of an object whose manifest names none."""


class Key(NamedTuple):
    """One object. Keys are ordered by kind, namespace and name."""

    kind: str
    namespace: str
    name: str

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "Key":
        """The key of an object given as JSON."""
        metadata = manifest["metadata"]
        return cls(manifest["kind"], metadata.get("namespace") or "", metadata["name"])

    @classmethod
    def parse(cls, kind: str, path: str) -> "Key":
        """The key of the object of `kind` at `path`, which is `namespace/name`. Raises ValueError."""
        namespace, slash, name = path.partition("/")
        if not (namespace and slash and name):
            raise ValueError(f"{path!r} must be namespace/name")
        return cls(kind, namespace, name)

    @property
    def path(self) -> str:
        """`namespace/name`, as the gateways' HTTP API writes the key of a pool or of a router."""
        return f"{self.namespace}/{self.name}"

    def beside(self, kind: str, name: str) -> "Key":
        """The key of another object of the same namespace."""
        return Key(kind, self.namespace, name)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"
