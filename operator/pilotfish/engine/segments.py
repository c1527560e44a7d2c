"""Named shared memory: engines map it, and leave it behind when they are killed."""

from collections.abc import Iterable
from pathlib import Path

import psutil

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where POSIX shared memory lies


class Segments:
    """Every segment that processes were seen to have mapped, with those processes, so that it can go when they have."""

    def __init__(self) -> None:
        self._users: dict[Path, set[psutil.Process]] = {}

    def look(self, processes: Iterable[psutil.Process]) -> None:
        """Note what the processes have mapped now."""
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
        # psutil's own reading adds up every page, which takes seconds for a process with a model in it.
        lines = Path(f"/proc/{process.pid}/maps").read_text().splitlines()
    except OSError:
        return set()
    mapped = {Path(line[line.index("/") :]) for line in lines if f" {SHARED_MEMORY}/" in line}
    return {path for path in mapped if path.exists()}
