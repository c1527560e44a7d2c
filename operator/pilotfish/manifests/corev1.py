"""Secrets and ConfigMaps in a folder of manifests: what a cluster would hold, for a machine without one."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pilotfish.api.validation import Fault
from pilotfish.base.keys import Key


@dataclass(frozen=True)
class KeyedData:
    """A Secret or ConfigMap: bytes by key. The bytes are left out of its repr, as they may be secret."""

    key: Key
    data: Mapping[str, bytes] = field(repr=False)


def parse_keyed_data(value: Mapping[str, Any], default_namespace: str) -> tuple[KeyedData | None, tuple[Fault, ...]]:
    """A v1 Secret or ConfigMap (`data`, and `stringData` or `binaryData`), or None and every fault in it."""
    kind = value["kind"]
    metadata = value.get("metadata")
    name = metadata.get("name") if isinstance(metadata, Mapping) else None
    if not isinstance(name, str) or not name:
        return None, (Fault(("metadata", "name"), "is required, and must be a string"),)
    namespace = metadata.get("namespace") or default_namespace if isinstance(metadata, Mapping) else default_namespace
    plain, encoded = ("stringData", "data") if kind == "Secret" else ("data", "binaryData")
    faults: list[Fault] = []
    data: dict[str, bytes] = {}
    for member in (encoded, plain):
        entries = value.get(member) or {}
        if not isinstance(entries, Mapping):
            faults.append(Fault((member,), "must be a mapping of strings"))
            continue
        for entry, text in entries.items():
            if not isinstance(text, str):
                faults.append(Fault((member, entry), "must be a string: put it in quotes"))
                continue
            try:
                data[entry] = base64.b64decode(text, validate=True) if member == encoded else text.encode()
            except binascii.Error:
                faults.append(Fault((member, entry), f"must be base64; put plain strings in {plain}"))
    if faults:
        return None, tuple(faults)
    return KeyedData(Key(kind, namespace, name), data), ()
