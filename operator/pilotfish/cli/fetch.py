"""`pilotfish fetch`: fetches and converts weights, as `pilotfish up` and the pods of a pool need them."""

import os
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from pilotfish.api import ModelPool
from pilotfish.api.engine import ModelSource
from pilotfish.api.validation import message_of
from pilotfish.base.errors import ManifestError, PilotfishError
from pilotfish.manifests import load
from pilotfish.settings import models_cache
from pilotfish.weights import Phase, Progress, Report, ensure, revision_of

CREDENTIAL_VARIABLE = "PILOTFISH_CREDENTIAL"
"""Environment variable with the credential. It is not an option, because all users can read command lines."""
REVISION_FILE_VARIABLE = "PILOTFISH_REVISION_FILE"
"""Environment variable for --revision-file. Older images of pools ignore it, but would reject the option."""

_LINE_SECONDS = 10.0


def fetch(
    manifest: Annotated[Path | None, typer.Argument(help="A file with the pool's manifest.", exists=True)] = None,
    pool: Annotated[str | None, typer.Option(help="The name of the pool, if the file has several.")] = None,
    uri: Annotated[str | None, typer.Option(help="The address of the weights, instead of a manifest.")] = None,
    revision: Annotated[str | None, typer.Option(help="Branch, tag or commit to fetch.")] = None,
    sha256: Annotated[str | None, typer.Option(help="Expected SHA-256 of the file at --uri.")] = None,
    to: Annotated[Path | None, typer.Option(help="Path of a symbolic link to create to the model's folder.")] = None,
    cache: Annotated[
        Path | None,
        typer.Option(help="Folder for fetched weights. Defaults to PILOTFISH_CACHE, or ~/.cache/pilotfish."),
    ] = None,
    volume: Annotated[
        list[str] | None,
        typer.Option(
            help="Folder that stands for the volume NAME in pvc://NAME/path. Can be repeated.", metavar="NAME=PATH"
        ),
    ] = None,
    revision_file: Annotated[
        Path | None,
        typer.Option(envvar=REVISION_FILE_VARIABLE, help="File to write the fetched commit or checksum to."),
    ] = None,
) -> None:
    """Fetch a model, convert it if needed, and print its folder.

    PILOTFISH_CREDENTIAL can contain a credential for the address.
    """
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    try:
        source = _from_manifest(manifest, pool) if manifest is not None else _from_options(uri, revision, sha256)
        folders = dict(_volume(text) for text in volume or ())
        kept = cache or models_cache(os.environ)
        with _Shown(console) as shown:
            folder = ensure(
                source,
                cache=kept,
                volumes=folders,
                credential=os.environ.get(CREDENTIAL_VARIABLE),
                report=shown.report,
            )
        if to is not None:
            link(to, folder)
    except PilotfishError as error:
        console.print(f"error: {error}", markup=False)
        raise typer.Exit(1) from error
    if revision_file is not None:
        _write_revision(revision_file, revision_of(folder, kept), console)
    typer.echo(to or folder)


def link(path: Path, folder: Path) -> None:
    """Create or replace the symbolic link `path` to `folder`, atomically. Raises ManifestError if it is not a link."""
    if path.exists() and not path.is_symlink():
        raise ManifestError(f"--to: {path} exists and is not a symbolic link: choose another path")
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.symlink_to(folder.absolute())
    fresh.rename(path)


def _write_revision(path: Path, revision: str | None, console: Console) -> None:
    """Write the revision. A failure is a warning only, because the weights are complete."""
    try:
        path.write_text(revision or "")
    except OSError as error:
        console.print(f"warning: --revision-file: {path}: {error.strerror}", markup=False)


def _from_manifest(path: Path, name: str | None) -> ModelSource:
    loaded = load([path])
    if loaded.problems:
        raise ManifestError("\n".join(str(problem) for problem in loaded.problems))
    pools = [item for item in loaded.resources if isinstance(item, ModelPool) and name in {None, item.name}]
    if len(pools) != 1:
        names = ", ".join(pool.name for pool in loaded.resources if isinstance(pool, ModelPool)) or "none"
        raise ManifestError(f"{path}: choose one pool with --pool; the file has: {names}")
    if pools[0].spec.model is None:
        raise ManifestError(f"{path}: pool {pools[0].name!r} is external and has no weights to fetch")
    return pools[0].spec.model


def _from_options(uri: str | None, revision: str | None, sha256: str | None) -> ModelSource:
    if uri is None:
        raise ManifestError("nothing to fetch: set a manifest, or --uri SCHEME://PATH")
    try:
        return ModelSource(uri=uri, revision=revision, sha256=sha256)
    except ValidationError as error:
        faults = "; ".join(f"--{detail['loc'][0]}: {message_of(detail)}" for detail in error.errors())
        raise ManifestError(faults) from error


def _volume(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    if not name or not path:
        raise ManifestError(f"--volume {text}: must be NAME=PATH")
    return name, Path(path)


class _Shown:
    """Shows progress: bars on a terminal, otherwise a line for each phase and every ten seconds."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns: Iterable[TextColumn | BarColumn | DownloadColumn | TimeElapsedColumn] = (
            TextColumn("{task.description:<12}"),
            BarColumn(),
            DownloadColumn(),
            TimeElapsedColumn(),
        )
        self._bars = Bars(*columns, console=console, disable=not console.is_terminal)
        self._phase: Phase | None = None
        self._task = self._bars.add_task("", visible=False)
        self._last_line = 0.0
        self.report: Report = self._bar if console.is_terminal else self._line

    def __enter__(self) -> "_Shown":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def _bar(self, progress: Progress) -> None:
        if progress.phase != self._phase:
            self._phase = progress.phase
            self._task = self._bars.add_task(progress.phase.value.lower(), total=None)
        self._bars.update(self._task, completed=progress.done, total=progress.total or None)

    def _line(self, progress: Progress) -> None:
        now = time.monotonic()
        if progress.phase == self._phase and now - self._last_line < _LINE_SECONDS:
            return
        self._phase, self._last_line = progress.phase, now
        amount = f" {progress.done:,} of {progress.total:,} bytes" if progress.total else ""
        self._console.print(f"{progress.phase.value.lower()}{amount}", markup=False)
