"""`file:///path` and `pvc://volume/path`: weights that are already on this machine, and are not copied."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from pilotfish.base.errors import WeightsError
from pilotfish.plugin_api.sources import Access, Location, RemoteFile, Resolved

CHUNK_BYTES = 4 * 1024 * 1024


class FileSource:
    """`file:///path`, an absolute path of this machine."""

    def resolve(self, location: Location, access: Access) -> Resolved:
        """Check that the path is there; its revision is its size and time of change."""
        path = Path(location.rest)
        if not path.is_absolute():
            raise WeightsError(f"{location.uri}: must have three slashes and an absolute path, as in file:///models/m")
        return resolved_path(location, access, path)

    def files(self, resolved: Resolved) -> Sequence[RemoteFile]:
        """The file, or all files below the folder."""
        return files_below(resolved)

    def read(self, resolved: Resolved, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """The file's bytes."""
        return read_below(resolved, file, offset)


class VolumeSource:
    """`pvc://volume/path`: a path on a volume that the machine or the pod mounts."""

    def resolve(self, location: Location, access: Access) -> Resolved:
        """Find the volume's folder, and the path in it, which must not lead out of it."""
        volume, _, below = location.rest.partition("/")
        if volume not in access.volumes:
            known = ", ".join(sorted(access.volumes)) or "none"
            raise WeightsError(
                f"{location.uri}: no folder is set for the volume {volume!r} (volumes that are set: {known}):"
                f" set --volume {volume}=PATH"
            )
        root = access.volumes[volume]
        path = root / below
        if not path.resolve().is_relative_to(root.resolve()):
            raise WeightsError(f"{location.uri}: the path is outside of the volume")
        return resolved_path(location, access, path)

    def files(self, resolved: Resolved) -> Sequence[RemoteFile]:
        """The file, or all files below the folder."""
        return files_below(resolved)

    def read(self, resolved: Resolved, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """The file's bytes."""
        return read_below(resolved, file, offset)


def resolved_path(location: Location, access: Access, path: Path, revision: str | None = None) -> Resolved:
    """The location, pinned to a path that must be there. Raises WeightsError."""
    try:
        stat = path.stat()
    except OSError as error:
        raise WeightsError(f"{location.uri}: {path}: {error.strerror}") from error
    return Resolved(location, access, revision or f"{stat.st_size}-{stat.st_mtime_ns}", in_place=path)


def files_below(resolved: Resolved) -> Sequence[RemoteFile]:
    """Files of a location that is on this machine."""
    path = _path(resolved)
    if path.is_file():
        return (RemoteFile(path.name, path.stat().st_size),)
    return tuple(
        RemoteFile(file.relative_to(path).as_posix(), file.stat().st_size)
        for file in sorted(path.rglob("*"))
        if file.is_file()
    )


def read_below(resolved: Resolved, file: RemoteFile, offset: int) -> Iterator[bytes]:
    """Bytes of one of the files of a location that is on this machine."""
    path = _path(resolved)
    return read_path(path if path.is_file() else path / file.path, offset)


def read_path(path: Path, offset: int) -> Iterator[bytes]:
    """A file's bytes from `offset` on."""
    with path.open("rb") as opened:
        opened.seek(offset)
        while chunk := opened.read(CHUNK_BYTES):
            yield chunk


def _path(resolved: Resolved) -> Path:
    if resolved.in_place is None:
        raise ValueError(f"{resolved.location.uri} is not on this machine")
    return resolved.in_place
