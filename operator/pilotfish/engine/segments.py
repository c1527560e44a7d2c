"""Named shared memory, which engines map and leave behind when they are killed."""

from collections.abc import Iterable
from pathlib import Path

import psutil

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies


class Segments:
    """The segments that processes have mapped, so that they can be removed when these processes have ended."""

    def __init__(self) -> None:
        self._users: dict[Path, set[psutil.Process]] = {}

    def look(self, processes: Iterable[psutil.Process]) -> None:
        """Record the segments that the processes have mapped."""
        for process in processes:
            for segment in mapped_segments(process):
                self._users.setdefault(segment, set()).add(process)

    def remove_orphans(self) -> None:
        """Remove the segments whose every user has ended."""
        for segment, users in list(self._users.items()):
            if not any(user.is_running() for user in users):
                segment.unlink(missing_ok=True)
                del self._users[segment]


def mapped_segments(process: psutil.Process) -> set[Path]:
    """Segments that a process has mapped and that still have their name; none for a process that is gone."""
    try:
        # psutil sums up every page, which takes seconds for a process with a model
        lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    mapped = {Path(line[line.index("/") :]) for line in lines if f" {SHARED_MEMORY}/" in line}
    return {path for path in mapped if path.exists()}
