"""Copies files from a source into a folder: resumes incomplete ones, and verifies them."""

import hashlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

from pilotfish.base.errors import WeightsError
from pilotfish.plugin_api.sources import RemoteFile, Resolved, Source
from pilotfish.weights.progress import Phase, Progress, Report
from pilotfish.weights.store import need_room, sync

_HASH_CHUNK_BYTES = 8 * 1024 * 1024


def copy(source: Source, resolved: Resolved, files: Sequence[RemoteFile], folder: Path, report: Report) -> None:
    """Copy the files that are not in `folder` yet, each to its own path. Raises WeightsError."""
    total = sum(file.size for file in files)
    done = sum(_present(folder, file) for file in files)
    need_room(folder, total - done, resolved.location.uri)
    report(Progress(Phase.COPYING, done, total))
    for file in files:
        target = _target(folder, file, resolved)
        if target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        partial = target.with_name(f"{target.name}.partial")
        size = partial.stat().st_size if partial.exists() else 0
        with partial.open("ab") as opened:
            for chunk in source.read(resolved, file, offset=size) if size < file.size else ():
                opened.write(chunk)
                size += len(chunk)
                done += len(chunk)
                report(Progress(Phase.COPYING, done, total))
        if size != file.size:
            partial.unlink()
            raise WeightsError(
                f"{resolved.location.uri}: {file.path} has {size} bytes instead of {file.size}: try again",
                transient=None,
            )
        sync(partial)
        partial.rename(target)


def verify(path: Path, expected: str, uri: str, report: Report) -> None:
    """Raise WeightsError, naming both digests, unless the file's SHA-256 is `expected`."""
    total = path.stat().st_size
    digest = hashlib.sha256()
    done = 0
    with path.open("rb") as opened:
        while chunk := opened.read(_HASH_CHUNK_BYTES):
            digest.update(chunk)
            done += len(chunk)
            report(Progress(Phase.VERIFYING, done, total))
    if digest.hexdigest() != expected:
        raise WeightsError(
            f"{uri}: the file's SHA-256 is {digest.hexdigest()}, but spec.model.sha256 is {expected}:"
            " the file is damaged, or spec.model.sha256 belongs to another file"
        )


def _present(folder: Path, file: RemoteFile) -> int:
    target = folder / file.path
    partial = target.with_name(f"{target.name}.partial")
    return file.size if target.exists() else partial.stat().st_size if partial.exists() else 0


def _target(folder: Path, file: RemoteFile, resolved: Resolved) -> Path:
    path = PurePosixPath(file.path)
    if path.is_absolute() or ".." in path.parts:
        raise WeightsError(f"{resolved.location.uri}: the path of a file is outside of the model: {file.path}")
    return folder / path
