"""The cache: one folder per model, which gets its name when it is complete, and a lock for the process that makes it.

<cache>/<name>-<key>/          a model, ready
<cache>/.work/<name>-<key>/    a model in progress: `source/` as fetched, `model/` as converted
<cache>/.work/<name>-<key>.lock
"""

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pilotfish.base.errors import WeightsError
from pilotfish.weights.progress import Phase, Progress, Report

SPARE_BYTES = 256 * 1024 * 1024
"""Bytes that must stay free on the disk."""

_LOCK_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class StoredWeights:
    """A model's place in the cache."""

    cache: Path
    name: str

    @classmethod
    def of(cls, cache: Path, uri: str, identity: dict[str, str | None]) -> "StoredWeights":
        """The entry that `identity` (JSON values) identifies, with a readable name from the address."""
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", uri.partition("://")[2])[-64:].strip("-.")
        return cls(cache, f"{readable or 'model'}-{digest}")

    @property
    def model(self) -> Path:
        """The finished model."""
        return self.cache / self.name

    @property
    def work(self) -> Path:
        """The folder in which it is made."""
        return self.cache / ".work" / self.name

    @contextmanager
    def locked(self, report: Report) -> Iterator[int]:
        """Hold the exclusive lock of the entry; waits for another holder. Yields the lock's file descriptor.

        The lock ends with the last process that has the descriptor, so a killed holder leaves nothing behind.
        """
        self.work.parent.mkdir(parents=True, exist_ok=True)
        lock = self.work.with_name(f"{self.name}.lock")
        with exclusive(lock, lambda: report(Progress(Phase.WAITING))) as descriptor:
            yield descriptor

    def publish(self, folder: Path) -> None:
        """Move the finished `folder` to its name, readable for all users, and remove the working files."""
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        folder.rename(self.model)
        shutil.rmtree(self.work)


def need_room(folder: Path, size: int, what: str) -> None:
    """Raise WeightsError unless `size` bytes fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if size + SPARE_BYTES > free:
        raise WeightsError(
            f"{what}: needs {_gigabytes(size + SPARE_BYTES)} in {folder}, but only {_gigabytes(free)} are free:"
            " free disk space, or choose another cache folder"
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


@contextmanager
def exclusive(path: Path, waits: Callable[[], None]) -> Iterator[int]:
    """Hold the exclusive lock of a file, which is created. Yields its file descriptor. Calls `waits` while it waits."""
    with path.open("a") as file:
        while not _try_lock(file.fileno()):
            waits()
            time.sleep(_LOCK_POLL_SECONDS)  # a blocking flock could not be interrupted by an exception of `waits`
        yield file.fileno()


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            return False
        raise
    return True


def sync(path: Path) -> None:
    """Flush the content of a file to the disk, before it is renamed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
