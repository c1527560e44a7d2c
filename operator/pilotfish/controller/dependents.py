"""Which resources are reconciled when one of ours changes: those whose conditions or statuses depend on it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pilotfish.base.keys import Key
from pilotfish.controller.mirror import Mirror


@dataclass(frozen=True)
class _Named:
    """What a resource named: objects that count it, and names that it claims."""

    counting: frozenset[Key] = frozenset()
    claims: frozenset[str] = frozenset()

    def __or__(self, other: "_Named") -> "_Named":
        return _Named(self.counting | other.counting, self.claims | other.claims)


class Dependents:
    """Remembers what each resource named when it was last seen, because what is no longer named changes as well."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._before: dict[Key, _Named] = {}

    def of(self, body: Mapping[str, Any], *, gone: bool) -> tuple[Key, ...]:
        """The resource, those that refer to it, those that count it or did, and those that claim a name of it."""
        key = Key.of(body)
        named = self._named(body)
        touched = named | self._before.pop(key, _Named())
        if gone:
            self._mirror.forget(key)
        elif named != _Named():
            self._before[key] = named
        found = (key, *self._mirror.referrers(key), *touched.counting, *self._mirror.claimants(touched.claims))
        return tuple(dict.fromkeys(found))

    def _named(self, body: Mapping[str, Any]) -> _Named:
        kinds = self._mirror.kinds
        resource = self._mirror.parse(body).resource
        if resource is None:
            return _Named()
        keys = (reference.key for reference in kinds.references(resource))
        return _Named(
            frozenset(key for key in keys if kinds[key.kind].counts_referrers), frozenset(kinds.claims(resource))
        )
