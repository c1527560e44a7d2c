"""The prepared folders of one AdaptationPlugin: complete ones by digest, one in progress, and a lock for the writer.

<root>/<digest>/             a complete folder, with `.prepared.json`
<root>/current, previous     symbolic links to the folders that were completed last
<root>/.work/<digest>/       a folder in progress
<root>/.work/<digest>.done   names of the files in it that were written whole
<root>/.lock

A folder gets its name by a rename after everything in it is on the disk, so that one with a name is complete.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from pilotfish.weights.store import exclusive, sync

RECORD = ".prepared.json"
"""The file in a complete folder that describes it."""
CURRENT, PREVIOUS = "current", "previous"


@dataclass(frozen=True)
class PreparedFolder:
    """A complete folder."""

    path: Path
    documents: int
    details: Mapping[str, str | int]

    @property
    def digest(self) -> str:
        """The digest of all that the folder depends on."""
        return self.path.name


class PreparedFolders:
    """The folders below `root`. They are read without the lock; only its holder changes anything."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def locked(self, waits: Callable[[], None]) -> Iterator[None]:
        """Be the only writer. Calls `waits` while another process is. The lock ends with the process."""
        self._works.mkdir(parents=True, exist_ok=True)
        with exclusive(self.root / ".lock", waits):
            yield

    def find(self, digest: str) -> PreparedFolder | None:
        """The complete folder of that digest."""
        return _read(self.root / digest)

    @property
    def current(self) -> PreparedFolder | None:
        """The folder that was completed or asked for last."""
        return self._linked(CURRENT)

    def begin(self, digest: str) -> "FolderWorkspace":
        """The folder in progress, with what an earlier attempt at the same digest wrote. Needs the lock."""
        path = self._works / digest
        path.mkdir(exist_ok=True)
        latest = self.current
        previous = latest if latest is None or latest.digest != digest else self._linked(PREVIOUS)
        return FolderWorkspace(path, previous.path if previous else None, self._works / f"{digest}.done")

    def complete(self, workspace: "FolderWorkspace", documents: int, details: Mapping[str, str | int]) -> None:
        """Give the folder its name, once all of it is on the disk. Needs the lock."""
        _to_disk(workspace.path)
        record = json.dumps({"documents": documents, "details": dict(details)}, indent=1)
        _write(workspace.path / RECORD, record.encode())
        workspace.path.rename(self.root / workspace.path.name)
        sync(self.root)

    def choose(self, digest: str) -> PreparedFolder:
        """Make a complete folder the current one. Only it and the one before it are kept. Needs the lock."""
        chosen, before = self.find(digest), self.current
        if chosen is None:
            raise FileNotFoundError(f"{self.root / digest} is not complete")
        if chosen == before:
            return chosen
        if before is not None and before.digest != digest:
            self._link(PREVIOUS, before.digest)
        self._link(CURRENT, digest)
        self._clear()
        kept = {digest, self._target(PREVIOUS)}
        for path in list(self.root.iterdir()):
            if path.is_dir() and not path.is_symlink() and not path.name.startswith(".") and path.name not in kept:
                # Removal takes time, and a folder with a digest as its name must be complete.
                path.rename(self._works / f"removed-{path.name}")
        self._clear()
        return chosen

    def _clear(self) -> None:
        shutil.rmtree(self._works)
        self._works.mkdir()

    @property
    def _works(self) -> Path:
        return self.root / ".work"

    def _linked(self, name: str) -> PreparedFolder | None:
        digest = self._target(name)
        return self.find(digest) if digest else None

    def _target(self, name: str) -> str | None:
        link = self.root / name
        return os.readlink(link) if link.is_symlink() else None  # noqa: PTH115 - Path has no form that does not resolve

    def _link(self, name: str, digest: str) -> None:
        fresh = self._works / name
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(digest)
        fresh.rename(self.root / name)
        sync(self.root)


class FolderWorkspace:
    """Implements `Workspace`."""

    def __init__(self, path: Path, previous: Path | None, journal: Path) -> None:
        self._path, self._previous, self._journal = path, previous, journal
        self._done = set(_lines(journal))

    @property
    def path(self) -> Path:
        """The folder in progress."""
        return self._path

    @property
    def previous(self) -> Path | None:
        """The last complete folder."""
        return self._previous

    def has(self, name: str) -> bool:
        """Whether `write` wrote the file, and it exists."""
        return name in self._done and self._target(name).is_file()

    def write(self, name: str, content: bytes) -> None:
        """Write a file atomically. Raises ValueError for a name that leads out of the folder or is reserved."""
        target = self._target(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        _write(target, content)
        with self._journal.open("ab") as journal:
            journal.write(f"{name}\n".encode())
            journal.flush()
            os.fsync(journal.fileno())
        self._done.add(name)

    def _target(self, name: str) -> Path:
        path = PurePosixPath(name)
        if not path.parts or path.is_absolute() or any(part.startswith(".") for part in path.parts) or "\n" in name:
            raise ValueError(f"{name!r} must be a relative path without parts that begin with a dot")
        return self._path / path


def _lines(path: Path) -> list[str]:
    """The whole lines of a file; a line without its end was interrupted."""
    return path.read_text().split("\n")[:-1] if path.exists() else []


def _read(path: Path) -> PreparedFolder | None:
    try:
        record: dict[str, Any] = json.loads((path / RECORD).read_text())
    except OSError:
        return None
    return PreparedFolder(path, record["documents"], record["details"])


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_bytes(content)
    sync(fresh)
    fresh.rename(path)
    sync(path.parent)


def _to_disk(folder: Path) -> None:
    """Remove what an interrupted `write` left, make everything readable for all users, and flush it to the disk."""
    for path in (*list(folder.rglob("*")), folder):
        if path.name.startswith(".") and path != folder and path.is_file():
            path.unlink()
            continue
        path.chmod(0o755 if path.is_dir() else 0o644)
        sync(path)
