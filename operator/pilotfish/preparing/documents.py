"""The documents of an AdaptationPlugin: files of its ConfigMaps, and files at the addresses of its sources."""

import hashlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from pilotfish.api import AdaptationPlugin
from pilotfish.api.adaptationplugin import DocumentSource
from pilotfish.api.common import SecretKeyRef
from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.preparing import Document
from pilotfish.plugin_api.sources import Access, Location
from pilotfish.plugins.extension_points import SOURCES
from pilotfish.plugins.registry import Registry
from pilotfish.weights import progress
from pilotfish.weights.copying import copy

Content = Callable[[], bytes]


class DocumentChanged(ConfigError):
    """A document is no longer what it was when it was listed. The next attempt reads the new one."""

    transient = True


@dataclass(frozen=True)
class Origins:
    """Where documents come from besides the network.

    `config_maps` has the data of ConfigMaps by name, `volumes` folders by the name of the claim in `pvc://`,
    `credential` returns the value of a Secret's key for the field with the given path.
    """

    config_maps: Mapping[str, Mapping[str, bytes]] = field(default_factory=dict, repr=False)
    volumes: Mapping[str, Path] = field(default_factory=dict)
    credential: Callable[[SecretKeyRef, str], str] | None = None


class FoundDocuments:
    """Implements `Documents`."""

    def __init__(self, found: Mapping[Document, Content]) -> None:
        self._found = found

    def __len__(self) -> int:
        return len(self._found)

    def __iter__(self) -> Iterator[Document]:
        return iter(self._found)

    def read(self, document: Document) -> bytes:
        """The content. Raises ConfigError if it cannot be read or is no longer what `revision` names."""
        field_path = f"sources[{document.source}]"
        try:
            content = self._found[document]()
        except OSError as error:
            raise ConfigError(field_path, f"{document.path}: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != document.revision:
            raise DocumentChanged(field_path, f"{document.path} changed while it was being read: prepare again")
        return content


def find_documents(
    plugin: AdaptationPlugin, origins: Origins, *, cache: Path, registry: Registry, report: progress.Report
) -> FoundDocuments:
    """The documents of all sources, ordered by source and path. Blocks.

    Files that are not on this machine are copied to a folder in `cache` first, from which copies that no source needs
    are removed. Names that begin with a dot are left out. Raises ConfigError, WeightsError and PluginError.
    """
    found: dict[Document, Content] = {}
    copies: set[Path] = set()
    for source in sorted(plugin.spec.sources, key=lambda each: each.name):
        read = _Reading(source, origins, cache, registry, report, copies)
        for path, content in read.contents():
            held = content()
            revision = hashlib.sha256(held).hexdigest()
            found[Document(source.name, path, revision, len(held))] = content
    for old in set(cache.iterdir()) - copies if cache.exists() else ():
        shutil.rmtree(old)
    return FoundDocuments(found)


@dataclass(frozen=True)
class _Reading:
    source: DocumentSource
    origins: Origins
    cache: Path
    registry: Registry
    report: progress.Report
    copies: set[Path]

    @property
    def _field(self) -> str:
        return f"sources[{self.source.name}]"

    def contents(self) -> Sequence[tuple[str, Content]]:
        """The path of each document in the source, in order, with what reads it."""
        ref, uri = self.source.config_map_ref, self.source.uri
        found = self._files(uri) if uri else self._keys(ref.name if ref else "")
        return sorted(found, key=lambda each: each[0])

    def _keys(self, name: str) -> list[tuple[str, Content]]:
        data = self.origins.config_maps.get(name)
        if data is None:
            raise ConfigError(f"{self._field}.configMapRef", f"there is no ConfigMap {name!r}: create it")
        return [(key, partial(bytes, content)) for key, content in data.items()]

    def _files(self, uri: str) -> list[tuple[str, Content]]:
        plugin = self.registry.load(SOURCES, uri.partition("://")[0])()
        ref = self.source.credentials_secret_ref
        credential = None
        if ref and self.origins.credential:
            credential = self.origins.credential(ref, f"{self._field}.credentialsSecretRef")
        resolved = plugin.resolve(Location(uri), Access(credential, self.origins.volumes))
        files = [file for file in plugin.files(resolved) if not _is_hidden(file.path)]
        root = resolved.in_place
        if root is None:
            root = self.cache / hashlib.sha256(f"{uri} {resolved.revision}".encode()).hexdigest()
            root.mkdir(parents=True, exist_ok=True)
            self.copies.add(root)
            copy(plugin, resolved, files, root, self.report)
        if root.is_file():
            return [(root.name, root.read_bytes)]
        return [(file.path, self._within(root, file.path).read_bytes) for file in files]

    def _within(self, root: Path, path: str) -> Path:
        found = root / path
        if not found.resolve().is_relative_to(root.resolve()):
            raise ConfigError(self._field, f"{path} is a link that leads out of the source: copy the file")
        return found


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") for part in PurePosixPath(path).parts)
