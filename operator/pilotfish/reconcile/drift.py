"""Whether an object must be applied: it differs from what is wanted, or what is wanted changed since the last time.

An apply keeps the items that others added to a list. `without_strangers` is the object without them.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from pilotfish.render.labels import APPLIED_ANNOTATION

_UNITS = {
    "m": Decimal("0.001"), "": Decimal(1), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9),
    "T": Decimal(10**12), "P": Decimal(10**15), "Ki": Decimal(2**10), "Mi": Decimal(2**20), "Gi": Decimal(2**30),
    "Ti": Decimal(2**40), "Pi": Decimal(2**50),
}  # fmt: skip
_QUANTITIES = frozenset({"requests", "limits", "sizeLimit"})
_MAPS = frozenset({"labels", "annotations", "matchLabels", "nodeSelector"})
_NOTHING: tuple[Any, ...] = ({}, [], None, "")
"""Values that mean the same as an absent field to the API server, except as values of maps."""
_EVERYTHING_IF_EMPTY = frozenset({"labelSelector", "namespaceSelector", "podSelector"})
_IDENTITIES: tuple[tuple[str, ...], ...] = (
    ("mountPath",), ("containerPort", "protocol"), ("port", "protocol"), ("whenUnsatisfiable", "topologyKey"),
    ("uid",), ("name",),
)  # fmt: skip
"""Fields that identify the items of a list: the first entry whose first field an item has."""
_PRESUMED = {"protocol": "TCP"}


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The manifest with its own digest among its annotations."""
    digest = hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]
    metadata = manifest["metadata"]
    annotations = {**metadata.get("annotations", {}), APPLIED_ANNOTATION: digest}
    return {**manifest, "metadata": {**metadata, "annotations": annotations}}


def needs_apply(wanted: Mapping[str, Any], live: Mapping[str, Any] | None) -> bool:
    """Whether `live` lacks something of `wanted` (a sealed manifest), or was made of another one.

    Fields that the API server or others added are no drift. A field that is no longer wanted changes the digest.
    """
    return live is None or not _covers(live, wanted)


def without_strangers(live: Any, wanted: Any) -> Any:
    """`live` with only the items that the lists of `wanted` have, in that order."""
    if isinstance(live, Mapping) and isinstance(wanted, Mapping):
        ours = {key: without_strangers(live[key], value) for key, value in wanted.items() if key in live}
        return {**live, **ours}
    if isinstance(live, list) and isinstance(wanted, list) and all(map(_identity, wanted)):
        found = {_identity(item): item for item in live}
        return [without_strangers(found.get(_identity(item), item), item) for item in wanted]
    return live


def _identity(item: Any) -> tuple[Any, ...] | None:
    if not isinstance(item, Mapping):
        return None
    keys = next((keys for keys in _IDENTITIES if keys[0] in item), None)
    return keys and tuple((key, item.get(key, _PRESUMED.get(key))) for key in keys)


def _covers(live: Any, wanted: Any, *, quantity: bool = False, is_map: bool = False) -> bool:
    if isinstance(wanted, Mapping):
        return isinstance(live, Mapping) and all(
            _covers(live[key], value, quantity=quantity or key in _QUANTITIES, is_map=key in _MAPS)
            if key in live
            else value in _NOTHING and not is_map and not (value == {} and key in _EVERYTHING_IF_EMPTY)
            for key, value in wanted.items()
        )
    if isinstance(wanted, Sequence) and not isinstance(wanted, str):
        return (
            isinstance(live, Sequence)
            and len(live) == len(wanted)
            and all(_covers(have, want, quantity=quantity) for have, want in zip(live, wanted, strict=True))
        )
    return bool(live == wanted) or (quantity and _amount(live) == _amount(wanted))


def _amount(value: Any) -> Decimal | None:
    text = str(value)
    number = text.rstrip("".join(set("".join(_UNITS))))
    unit = text[len(number) :]
    return Decimal(number) * _UNITS[unit] if unit in _UNITS and number.replace(".", "", 1).isdigit() else None
