"""Artifacts of scorers, read from the ConfigMaps of a folder or from files."""

from collections.abc import Iterator
from pathlib import Path

from pilotfish.api import ModelRouter
from pilotfish.api.strategy import Artifact
from pilotfish.base.errors import ConfigError
from pilotfish.base.keys import Key
from pilotfish.manifests import Loaded

FILE = "file://"


def artifacts_of(router: ModelRouter, loaded: Loaded) -> dict[str, bytes]:
    """The bytes of each existing artifact of the router's scorers, by address."""
    return dict(_artifacts(router, loaded))


def _artifacts(router: ModelRouter, loaded: Loaded) -> Iterator[tuple[str, bytes]]:
    for scorer in router.scorers:
        if scorer.artifact is None:
            continue
        address = address_of(scorer.artifact)
        content = _read(scorer.artifact, router.namespace, loaded)
        if content is not None:
            yield address, content


def address_of(artifact: Artifact) -> str:
    """The artifact's address: its URI, or `configmap://name/key`."""
    ref = artifact.config_map_ref
    return f"configmap://{ref.name}/{ref.key}" if ref else str(artifact.uri)


def _read(artifact: Artifact, namespace: str, loaded: Loaded) -> bytes | None:
    ref = artifact.config_map_ref
    if ref:
        config_map = loaded.config_maps.get(Key("ConfigMap", namespace, ref.name))
        return config_map.data.get(ref.key) if config_map else None
    if artifact.uri and artifact.uri.startswith(FILE):
        path = Path(artifact.uri.removeprefix(FILE))
        try:
            return path.read_bytes()
        except OSError as error:
            raise ConfigError("spec.strategy…artifact.uri", f"{path}: {error.strerror}") from error
    return None
