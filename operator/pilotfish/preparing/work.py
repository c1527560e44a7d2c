"""One preparation: the digest of what it depends on, and the folder of that digest, made where it does not exist."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from pilotfish.api import AdaptationPlugin, ModelPool
from pilotfish.base.errors import ConfigError, PilotfishError, PluginError
from pilotfish.plugin_api.preparing import Documents, Prepared, Preparing, Progress
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.extension_points import ADAPTATIONS
from pilotfish.plugins.registry import Registry
from pilotfish.preparing.documents import Origins, find_documents
from pilotfish.preparing.folders import FolderWorkspace, PreparedFolder, PreparedFolders
from pilotfish.preparing.models import AskedPool, PreparingModels
from pilotfish.routing.snapshot import Endpoint
from pilotfish.settings import GatewaySettings
from pilotfish.upstream.client import ModelServers
from pilotfish.weights import progress

COPIES = ".documents"
"""The folder beside the prepared ones for documents that were copied to this machine."""


@dataclass(frozen=True)
class Preparation:
    """What is prepared, and from what. `pools` are those of the plugin's roles, by name."""

    plugin: AdaptationPlugin
    pools: Mapping[str, ModelPool] = field(default_factory=dict)
    endpoints: Mapping[str, Endpoint] = field(default_factory=dict)
    """Where each of the pools answers, by name."""
    origins: Origins = field(default_factory=Origins)


async def prepare(
    preparation: Preparation, to: Path, *, progress: Progress, registry: Registry | None = None
) -> PreparedFolder:
    """The folder that the plugin prepares, below `to`, made now if it does not exist.

    It is the work of a process of its own: it blocks, also while another process writes there. Raises PilotfishError.
    """
    installed = registry or Registry.installed()
    made = _made(preparation.plugin, installed)
    folders = PreparedFolders(to)
    with folders.locked(lambda: progress(0, 0, "waiting for another process that prepares")):
        documents = _documents(preparation, to, progress, installed)
        digest = digest_of(preparation, made.prepared_format, documents, installed)
        if folders.find(digest) is None:
            workspace = folders.begin(digest)
            result = await _asked(made, preparation, documents, workspace, progress)
            folders.complete(workspace, result.documents, result.details)
        return folders.choose(digest)


def digest_of(preparation: Preparation, prepared_format: int, documents: Documents, registry: Registry) -> str:
    """The SHA-256 of all that the folder depends on, as 64 hexadecimal digits."""
    spec = preparation.plugin.spec
    identity = {
        "format": prepared_format,
        "type": spec.type,
        "version": registry.version(ADAPTATIONS, spec.type),
        "config": spec.config,
        "documents": [(document.source, document.path, document.revision) for document in documents],
        "models": {ref.role: _model(preparation.pools[ref.name]) for ref in spec.pool_refs},
    }
    return hashlib.sha256(orjson.dumps(identity, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _model(pool: ModelPool) -> dict[str, Any]:
    """What changes when the pool's model does."""
    if pool.spec.external:
        return {"baseUrl": pool.spec.external.base_url, "model": pool.spec.external.model}
    model = pool.spec.model
    resolved = pool.status.resolved_revision if pool.status else None
    named = model.model_dump(include={"uri", "revision", "sha256"}) if model else {}
    return {**named, "resolved": resolved}


def _made(plugin: AdaptationPlugin, registry: Registry) -> Preparing:
    found: Any = registry.load(ADAPTATIONS, plugin.spec.type)
    known: object = found
    if not isinstance(known, Preparing):
        raise ConfigError("spec.type", f"{plugin.spec.type!r} prepares nothing: it is used without preparation")
    if not plugin.spec.sources:
        raise ConfigError("spec.sources", "is empty: add the documents to prepare")
    made: Preparing = found.from_settings(Settings(plugin.spec.config))
    return made


def _documents(preparation: Preparation, to: Path, report: Progress, registry: Registry) -> Documents:
    def copied(step: progress.Progress) -> None:
        report(step.done, step.total, "copying documents")

    cache = to / COPIES
    return find_documents(preparation.plugin, preparation.origins, cache=cache, registry=registry, report=copied)


async def _asked(
    made: Preparing, preparation: Preparation, documents: Documents, workspace: FolderWorkspace, progress: Progress
) -> Prepared:
    """What the plugin's `prepare` returned. Raises PluginError for everything that is not a PilotfishError."""
    name = preparation.plugin.name
    servers = ModelServers(GatewaySettings())
    await servers.open()
    try:
        models = PreparingModels(servers, _pools(preparation))
        result: object = await made.prepare(documents=documents, into=workspace, models=models, progress=progress)
    except PilotfishError:
        raise
    except Exception as error:  # prepare is a plugin's code and may raise anything
        raise PluginError(f"plugin {name!r}: prepare failed with {type(error).__name__}: {error}") from error
    finally:
        await servers.close()
    if not isinstance(result, Prepared):
        raise PluginError(f"plugin {name!r}: prepare returned {type(result).__name__} instead of Prepared")
    return result


def _pools(preparation: Preparation) -> dict[str, AskedPool]:
    asked = {}
    for ref in preparation.plugin.spec.pool_refs:
        external = preparation.pools[ref.name].spec.external
        model = external.model if external else ref.name
        asked[ref.role] = AskedPool(ref.name, preparation.endpoints[ref.name], model)
    return asked
