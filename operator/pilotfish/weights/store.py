"""The cache: one folder a model, made whole before it has its name, and a lock for those who make it.

<cache>/<name>-<key>/          a model, ready
<cache>/.work/<name>-<key>/    one that is being made: `source/` as fetched, `model/` as converted
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pilotfish.base.errors import WeightsError
from pilotfish.weights.progress import Phase, Progress, Report

SPARE_BYTES = 256 * 1024 * 1024
"""Room that is left on the disk, beyond what is written."""

_LOCK_POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Entry:
    """A model's place in the cache."""

    cache: Path
    name: str

    @classmethod
    def of(cls, cache: Path, uri: str, identity: dict[str, str | None]) -> "Entry":
        """The place of what `identity` (JSON values) tells apart; the address gives it a name that a human knows."""
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", uri.partition("://")[2])[-64:].strip("-.")
        return cls(cache, f"{readable or 'model'}-{digest}")

    @property
    def model(self) -> Path:
        """The finished model."""
        return self.cache / self.name

    @property
    def work(self) -> Path:
        """Where it is made."""
        return self.cache / ".work" / self.name

    @contextmanager
    def locked(self, report: Report) -> Iterator[int]:
        """Hold the entry alone, waiting for whoever has it; gives the lock's file descriptor.

        The lock goes with the last process that has the descriptor, so a killed holder leaves nothing behind.
        """
        self.work.parent.mkdir(parents=True, exist_ok=True)
        with self.work.with_name(f"{self.name}.lock").open("a") as file:
            while not _try_lock(file.fileno()):
                report(Progress(Phase.WAITING))
                time.sleep(_LOCK_POLL_SECONDS)  # flock has no wait that a report could end
            yield file.fileno()

    def publish(self, folder: Path) -> None:
        """Give the finished `folder` its name, readable for all, and drop what is left of the work."""
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        folder.rename(self.model)
        shutil.rmtree(self.work)


def need_room(folder: Path, size: int, what: str) -> None:
    """Raise WeightsError unless `size` bytes fit on the disk of `folder`."""
    free = shutil.disk_usage(folder).free
    if size + SPARE_BYTES > free:
        raise WeightsError(
            f"{what}: {_gigabytes(size + SPARE_BYTES)} are needed in {folder}, {_gigabytes(free)} are free:"
            " make room, or choose another cache folder"
        )


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.2f} GB"


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in {errno.EAGAIN, errno.EACCES}:
            return False
        raise
    return True


def sync(path: Path) -> None:
    """Have a file's content on the disk before its name is changed."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
