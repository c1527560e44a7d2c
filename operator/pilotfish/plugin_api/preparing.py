"""Preparing: what an adaptation computes once from documents, before it handles requests, such as an index.

The result is a folder. It is named by a digest of all that it depends on: the plugin's version and
`prepared_format`, its config, the revisions of the documents, and the revisions of the models that the plugin asks.
A folder that exists is complete and never changes. Its path is `Settings.prepared`.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from pilotfish.api import AdaptationPlugin
from pilotfish.plugin_api.models import Models


@dataclass(frozen=True, slots=True)
class Document:
    """One document: the name of its source in the manifest, its path there, and the SHA-256 of its content."""

    source: str
    path: str
    revision: str
    size_bytes: int


class Documents(Protocol):
    """The documents of an AdaptationPlugin's `sources`, ordered by source and path."""

    def __len__(self) -> int:
        """The number of documents."""

    def __iter__(self) -> Iterator[Document]:
        """Every document, once, in order."""

    def read(self, document: Document) -> bytes:
        """The content. Raises ConfigError where it cannot be read, or is no longer what `revision` names."""


class Workspace(Protocol):
    """The folder that is being made. What was written stays for the next attempt, if this one is interrupted."""

    @property
    def path(self) -> Path:
        """The folder. Files may be written here directly; names that begin with a dot are reserved."""

    @property
    def previous(self) -> Path | None:
        """The last complete folder of the same plugin, of other documents or another config. None if there is none.

        It allows to keep what was computed for documents that did not change.
        """

    def has(self, name: str) -> bool:
        """Whether a file was written whole by `write`, in this attempt or an earlier one."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically."""


class Progress(Protocol):
    """Receives how far the preparation is."""

    def __call__(self, done: int, total: int, message: str) -> None:
        """`done` of `total` steps; `message` names the step."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """The complete result: the number of documents in it, and details for the status (JSON values)."""

    documents: int
    details: Mapping[str, str | int] = field(default_factory=dict)


@runtime_checkable
class Preparing(Protocol):
    """Implemented by an adaptation that prepares. `prepared_format` changes when the layout of the folder does.

    `from_settings` is called without `Settings.prepared` before `prepare`, and to check a config. An adaptation
    without it handles no request, unless the manifest has no sources: then nothing is prepared. A class that works
    without sources has the attribute `sources_optional = True`; manifests of others need a source.
    """

    prepared_format: ClassVar[int]

    async def prepare(self, *, documents: Documents, into: Workspace, models: Models, progress: Progress) -> Prepared:
        """Write the folder. Raises ConfigError for documents that cannot be used."""


def prepares(plugin: object, manifest: AdaptationPlugin) -> bool:
    """Whether the class is to prepare what the manifest configures: it implements Preparing, and there are sources."""
    return isinstance(plugin, Preparing) and bool(manifest.spec.sources)
