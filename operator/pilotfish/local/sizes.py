"""Sizes of weights that are known without fetching them."""

from collections.abc import Iterable

from pilotfish.api import ModelPool
from pilotfish.api.engine import ModelSource
from pilotfish.base.errors import PilotfishError
from pilotfish.base.keys import Key
from pilotfish.plugin_api.sources import Access, Location
from pilotfish.plugins.extension_points import SOURCES
from pilotfish.plugins.registry import Registry

LOCAL_SCHEMES = frozenset({"package", "file"})
"""Schemes whose sources need no network."""
GGUF_GROWTH = 2.8
"""Growth of a GGUF file with 4 to 6 bits per weight when converted to bfloat16."""


def sizes_of(pools: Iterable[ModelPool], registry: Registry | None = None) -> dict[Key, int]:
    """Bytes of each pool's weights as its engine loads them, with those of logits plugins; without unknown ones."""
    registry = registry or Registry.installed()
    sizes = {}
    for pool in pools:
        size = _size(pool, registry)
        if size is not None:
            sizes[pool.key] = size
    return sizes


def _size(pool: ModelPool, registry: Registry) -> int | None:
    if pool.spec.model is None:
        return None
    beside = (each.model for use in pool.spec.logits or () for each in use.models)
    sizes = [_source_size(source, registry) for source in (pool.spec.model, *beside)]
    return None if None in sizes else sum(size or 0 for size in sizes)


def _source_size(model: ModelSource, registry: Registry) -> int | None:
    if model.uri.partition("://")[0] not in LOCAL_SCHEMES:
        return None
    location = Location(model.uri, model.revision)
    try:
        source = registry.load(SOURCES, location.scheme)()
        files = source.files(source.resolve(location, Access()))
    except PilotfishError:
        return None  # fetching the weights reports the error
    size = sum(file.size for file in files)
    converts = len(files) == 1 and not files[0].path.endswith(".safetensors")
    return int(size * GGUF_GROWTH) if converts else size
