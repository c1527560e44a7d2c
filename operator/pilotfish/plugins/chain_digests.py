"""Digests of the plugins of a router: thresholds hold for what pools are asked and answer, and plugins change both."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from pilotfish.api import AdaptationPlugin, ModelRouter
from pilotfish.api.common import GROUP

CALIBRATED_ANNOTATION = f"{GROUP}/calibrated-with-plugins"
"""Annotation of a router that `pilotfish calibrate` wrote: the digest of the plugins in the log, or NONE."""
NONE = "none"

Identity = Mapping[str, Any]


def identity_of(plugin: AdaptationPlugin, version: str, prepared: Path | None) -> Identity:
    """What the effect of a plugin depends on. `version`: of its distribution; `prepared`: its folder."""
    spec = plugin.spec
    return {
        "type": spec.type,
        "version": version,
        "config": spec.config,
        "pools": {ref.role: ref.name for ref in spec.pool_refs},
        "prepared": prepared.name if prepared else None,
    }


def chain_digest(plugins: Sequence[Identity]) -> str | None:
    """A digest of the plugins of a router, in order. None for none."""
    if not plugins:
        return None
    return hashlib.blake2b(orjson.dumps(plugins, option=orjson.OPT_SORT_KEYS), digest_size=8).hexdigest()


def staleness(router: ModelRouter, plugins: str | None) -> str:
    """Why the thresholds of a router do not belong to its plugins, of this digest. Empty where that is not known."""
    calibrated = router.metadata.annotations.get(CALIBRATED_ANNOTATION)
    if calibrated is None or calibrated == (plugins or NONE):
        return ""
    return (
        f"the thresholds were calibrated with other plugins (digest {calibrated}, now {plugins or NONE}): "
        "calibrate on a log of the present ones"
    )
