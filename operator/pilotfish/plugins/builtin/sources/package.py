"""`package://import_name/path`: files that installed Python packages carry. No package is imported for it.

The path names a file or a folder. `*` in the name or the path names parts: files of one or several packages that are
joined, in the order of the numbers in their addresses, into one file.
"""

import hashlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from pilotfish.base.errors import WeightsError
from pilotfish.plugin_api.sources import Access, Location, RemoteFile, Resolved
from pilotfish.plugins.builtin.sources.local import files_below, read_below, read_path, resolved_path

PartKey = tuple[tuple[int, str], ...]


def number_order(text: str) -> PartKey:
    """A key that sorts names by the numbers in them: part2 before part10, and part2/data/part02 with part2."""
    pieces = re.split(r"([0-9]+)", text)
    return tuple((int(piece), "") if index % 2 else (-1, piece) for index, piece in enumerate(pieces))


class PackageSource:
    """Files of installed packages."""

    def resolve(self, location: Location, access: Access) -> Resolved:
        """Find the package; its revision is what the installer recorded of the files, or their sizes and times."""
        name, _, below = location.rest.partition("/")
        if ".." in Path(below).parts or not below:
            raise WeightsError(
                f"{location.uri}: must name a file or folder in a package, as in package://name/model.gguf"
            )
        if "*" in location.rest:
            paths = _parts(location)
            marks = "\n".join(f"{path.name} {_mark(package, path)}" for package, path in paths)
            return Resolved(location, access, hashlib.sha256(marks.encode()).hexdigest())
        path = _folder(name, location) / below
        return resolved_path(location, access, path, _mark(name, path) if path.is_file() else None)

    def files(self, resolved: Resolved) -> Sequence[RemoteFile]:
        """The file, all files below the folder, or the one file that the parts make."""
        if resolved.in_place is not None:
            return files_below(resolved)
        size = sum(path.stat().st_size for _, path in _parts(resolved.location))
        return (RemoteFile("parts.bin", size),)

    def read(self, resolved: Resolved, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """The bytes of the file; those of parts are concatenated."""
        if resolved.in_place is not None:
            yield from read_below(resolved, file, offset)
            return
        for _, path in _parts(resolved.location):
            size = path.stat().st_size
            if offset < size:
                yield from read_path(path, offset)
            offset = max(0, offset - size)


def _parts(location: Location) -> list[tuple[str, Path]]:
    pattern, _, below = location.rest.partition("/")
    names = [module.name for module in pkgutil.iter_modules() if module.ispkg and fnmatchcase(module.name, pattern)]
    if "*" not in pattern:
        names = [pattern]
    found = [(name, path) for name in names for path in _folder(name, location).glob(below) if path.is_file()]
    if not found:
        raise WeightsError(
            f"{location.uri}: no installed package has such a file: install the packages that contain it"
        )
    return sorted(found, key=lambda part: number_order(f"{part[0]}/{part[1].as_posix()}"))


def _folder(name: str, location: Location) -> Path:
    if not name.isidentifier():
        raise WeightsError(f"{location.uri}: {name!r} is not the name of a Python package")
    spec = importlib.util.find_spec(name)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise WeightsError(f"{location.uri}: no package {name!r} is installed in this environment")
    return Path(folders[0])


def _mark(package: str, path: Path) -> str:
    """What changes with the file: the hash that its distribution recorded, or its size and time of change."""
    try:
        recorded = distribution(package).files or []
    except PackageNotFoundError:
        recorded = []
    for file in recorded:
        if file.hash is not None and file.name == path.name and Path(str(file.locate())).resolve() == path.resolve():
            return str(file.hash.value)
    stat = path.stat()
    return f"{stat.st_size}-{stat.st_mtime_ns}"
