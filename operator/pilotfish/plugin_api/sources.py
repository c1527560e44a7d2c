"""Sources (`pilotfish.sources`): where weights and documents come from, by the scheme of their address.

An entry point has the name of the scheme. Its class implements `Source` and is made without arguments. A source finds
and reads files. Its caller copies, resumes, locks, hashes and reports progress, in the same way for all sources.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Location:
    """An address `scheme://…` from a manifest, and a revision for sources that have revisions."""

    uri: str
    revision: str | None = None

    @property
    def scheme(self) -> str:
        """The part before `://`."""
        return self.uri.partition("://")[0]

    @property
    def rest(self) -> str:
        """The part after `://`."""
        return self.uri.partition("://")[2]


@dataclass(frozen=True, slots=True)
class Access:
    """What a source may use: a credential (the value of a Secret's key), and folders by volume name."""

    credential: str | None = field(default=None, repr=False)
    volumes: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a location: its path below it (with `/`), and its size in bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """A location with a fixed content: `revision` (a commit, a checksum, a modification time) changes with the content.

    `in_place` is set if the content is already a file or folder of this machine, which is then not copied.
    """

    location: Location
    access: Access
    revision: str
    in_place: Path | None = None


@runtime_checkable
class Source(Protocol):
    """Finds and reads what is at addresses of one scheme. Every method raises WeightsError that names the address."""

    def resolve(self, location: Location, access: Access) -> Resolved:
        """Resolve the location without reading its content, and without a request if the revision is immutable."""

    def files(self, resolved: Resolved) -> Sequence[RemoteFile]:
        """Every file at the location; a location that is one file has exactly one."""

    def read(self, resolved: Resolved, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """The file's bytes from `offset` on, in pieces of at most a few MiB."""
