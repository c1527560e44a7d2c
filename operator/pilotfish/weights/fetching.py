"""From the source in a manifest to a folder that an engine loads."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pilotfish.api.engine import ModelSource
from pilotfish.base.errors import WeightsError
from pilotfish.plugin_api.sources import Access, Location, RemoteFile, Resolved, Source
from pilotfish.plugins.extension_points import SOURCES
from pilotfish.plugins.registry import Registry
from pilotfish.weights.convert import convert, is_gguf
from pilotfish.weights.copying import copy, verify
from pilotfish.weights.progress import Phase, Progress, Report, ignore
from pilotfish.weights.selection import is_model, wanted
from pilotfish.weights.store import StoredWeights

CONVERTER_VERSION = "1"
"""Part of every cache key: raise it when converted models come out otherwise."""
_RECORD = "pilotfish.json"
"""Beside a model in the cache: what it was made from."""


def ensure(
    source: ModelSource,
    *,
    cache: Path,
    volumes: Mapping[str, Path] | None = None,
    credential: str | None = None,
    report: Report = ignore,
    registry: Registry | None = None,
) -> Path:
    """The folder with the model: where it lies, from the cache, or fetched and converted into the cache now.

    Blocks, possibly for minutes. Safe with other threads and processes that fetch the same model. After an interruption
    the next call continues. Raises WeightsError, PluginError, and what `report` raises.
    """
    plugin = (registry or Registry.installed()).load(SOURCES, source.uri.partition("://")[0])()
    work = _Work(source, plugin, cache, report)
    try:
        resolved = plugin.resolve(Location(source.uri, source.revision), Access(credential, volumes or {}))
        report(Progress(Phase.FOUND))
        folder = work.in_place(resolved) or work.cached(resolved)
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise WeightsError(f"{source.uri}: {where}{error.strerror or error}") from error
    report(Progress(Phase.READY))
    return folder


def revision_of(folder: Path, cache: Path) -> str | None:
    """What a model in the cache was fetched as: a commit, a checksum. None for one that is used where it lies."""
    if folder.parent != cache:
        return None  # a folder that another program made may have a file of that name
    try:
        identity = json.loads((folder / _RECORD).read_text())
    except (OSError, ValueError):
        return None
    revision = identity.get("revision") if isinstance(identity, dict) else None
    return revision if isinstance(revision, str) else None


def _check_readable(path: Path, uri: str) -> None:
    """Raise WeightsError with the fix for the first file or folder that this user may not read."""
    for file in (path, *(path.rglob("*") if path.is_dir() else ())):
        if not os.access(file, os.R_OK | (os.X_OK if file.is_dir() else 0)):
            mode = file.stat().st_mode & 0o777
            raise WeightsError(
                f"{uri}: {file} (mode {mode:04o}) cannot be read by user id {os.geteuid()}:"
                f" its owner must run chmod -R a+rX {path}"
            )


@dataclass(frozen=True)
class _Work:
    source: ModelSource
    plugin: Source
    cache: Path
    report: Report

    def in_place(self, resolved: Resolved) -> Path | None:
        """The folder on this machine that is a model already, if it is one."""
        path = resolved.in_place
        if path is not None:
            _check_readable(path, self.source.uri)
        if path is None or not path.is_dir() or not is_model(file.name for file in path.iterdir()):
            return None
        if self.source.sha256 is not None:
            raise self._sha256_of_many()
        return path

    def cached(self, resolved: Resolved) -> Path:
        """The model in the cache, made first where it is not there."""
        identity = {
            "uri": self.source.uri,
            "revision": resolved.revision,
            "sha256": self.source.sha256,
            "converter": CONVERTER_VERSION,
        }
        entry = StoredWeights.of(self.cache, self.source.uri, identity)
        if entry.model.is_dir():
            return entry.model
        with entry.locked(self.report) as lock:
            # the previous holder of the lock may have made it
            if not entry.model.is_dir():
                self._make(resolved, entry, lock, identity)
        return entry.model

    def _make(self, resolved: Resolved, entry: StoredWeights, lock: int, identity: Mapping[str, str | None]) -> None:
        folder = entry.work / "source"
        folder.mkdir(parents=True, exist_ok=True)
        files = wanted(self.source.uri, self.plugin.files(resolved))
        if self.source.sha256 is not None and len(files) > 1:
            raise self._sha256_of_many()
        if len(files) > 1 and not is_model(file.path for file in files):
            raise self._no_model()
        single = self._single(resolved, files, folder)
        if single is not None and self.source.sha256 is not None:
            self._verified(single, resolved)
        if single is not None and is_gguf(single):
            folder = entry.work / "model"
            folder.mkdir(exist_ok=True)
            try:
                convert(single, folder, lock=lock, report=self.report)
            except WeightsError as error:
                raise WeightsError(f"{self.source.uri}: {error}") from error
        elif single is not None:
            raise self._no_model()
        (folder / _RECORD).write_text(json.dumps(identity, indent=1))
        entry.publish(folder)

    def _single(self, resolved: Resolved, files: Sequence[RemoteFile], folder: Path) -> Path | None:
        """Have the files on this machine; the one file, where it is one."""
        local = resolved.in_place
        if local is not None and len(files) == 1:
            return local if local.is_file() else local / files[0].path
        copy(self.plugin, resolved, files, folder, self.report)
        return folder / files[0].path if len(files) == 1 else None

    def _verified(self, single: Path, resolved: Resolved) -> None:
        expected = self.source.sha256
        if expected is None:
            return
        try:
            verify(single, expected, self.source.uri, self.report)
        except WeightsError:
            if single != resolved.in_place:
                single.unlink()  # a damaged copy is fetched again
            raise

    def _no_model(self) -> WeightsError:
        return WeightsError(f"{self.source.uri}: is neither a GGUF file nor a folder with weights and a config.json")

    def _sha256_of_many(self) -> WeightsError:
        return WeightsError(
            f"{self.source.uri}: spec.model.sha256 is for a single file, and the source has several: remove it"
        )
