"""Sources (`pilotfish.sources`): where weights and documents come from, by the scheme of their address.

An entry point is named after the scheme and names a class that is made without arguments and is a `Source`. A source
finds and reads; copying, resuming, locking, hashing and progress are done once, for all sources, by whoever calls it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Location:
    """What a manifest says: an address `scheme://…`, and a revision for sources that have them."""

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
    """What the machine gives a source: a credential (text of a Secret's key), and folders by volume name."""

    credential: str | None = field(default=None, repr=False)
    volumes: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a location: its path below it (with `/`), and its size in bytes."""

    path: str
    size: int


@dataclass(frozen=True, slots=True)
class Resolved:
    """A location, pinned: `revision` changes whenever the content does (a commit, a checksum, a time of change).

    `in_place` is the file or folder on this machine that is the content already; it is then used where it lies.
    """

    location: Location
    access: Access
    revision: str
    in_place: Path | None = None


@runtime_checkable
class Source(Protocol):
    """Finds and reads what is at addresses of one scheme. Every method raises WeightsError that names the address."""

    def resolve(self, location: Location, access: Access) -> Resolved:
        """Pin the location. Reads no content, and asks nobody where the revision pins the content already."""

    def files(self, resolved: Resolved) -> Sequence[RemoteFile]:
        """Every file at the location; a location that is one file has exactly one."""

    def read(self, resolved: Resolved, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """The file's bytes from `offset` on, in pieces of at most a few MiB."""
