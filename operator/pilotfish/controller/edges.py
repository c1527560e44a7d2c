"""Which resources to look at when one of ours changes: what one names, others tell in their statuses."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pilotfish.api import ModelPool, ModelRouter
from pilotfish.controller.mirror import Key, Mirror, entry, key_of, references

_COUNTED = frozenset({"AutoscalingPolicy", "AdaptationPlugin"})
"""A policy counts its pools, a plugin its routers."""


@dataclass(frozen=True)
class _Named:
    counted: frozenset[Key] = frozenset()
    served: frozenset[str] = frozenset()

    def __or__(self, other: "_Named") -> "_Named":
        return _Named(self.counted | other.counted, self.served | other.served)


class Edges:
    """Remembers what each resource named when it was last seen: who is no longer named is concerned as well."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._before: dict[Key, _Named] = {}

    def concerned(self, body: Mapping[str, Any], *, gone: bool) -> tuple[Key, ...]:
        """The resource itself, those that name it, those it names or named, and routers that want or wanted a name."""
        key = key_of(body)
        named = _named(body)
        touched = named | self._before.pop(key, _Named())
        if gone:
            self._mirror.forget(key)
        elif named != _Named():
            self._before[key] = named
        found = (key, *self._mirror.referrers(key), *touched.counted, *self._mirror.serving(touched.served))
        return tuple(dict.fromkeys(found))


def _named(body: Mapping[str, Any]) -> _Named:
    found = entry(body).resource
    if not isinstance(found, (ModelPool, ModelRouter)):
        return _Named()
    served = found.served_names if isinstance(found, ModelRouter) else ()
    return _Named(frozenset(key for key in references(found) if key.kind in _COUNTED), frozenset(served))
