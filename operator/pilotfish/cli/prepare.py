"""`pilotfish prepare`: prepares one AdaptationPlugin, as `pilotfish up` and the Jobs of the operator do."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from pilotfish.api import AdaptationPlugin, ModelPool
from pilotfish.base.errors import ConfigError, ManifestError, PilotfishError, RequestError
from pilotfish.cli.local_options import SecretFiles, Volumes
from pilotfish.local.secrets import Secrets, parse_volumes
from pilotfish.manifests import Loaded, load, load_text
from pilotfish.plugin_api.preparing import Progress
from pilotfish.preparing import Preparation, PreparedFolder
from pilotfish.preparing import prepare as prepare_folder
from pilotfish.preparing.documents import Origins
from pilotfish.preparing.progress import ProgressServer
from pilotfish.routing.snapshot import Endpoint

MANIFESTS_VARIABLE = "PILOTFISH_MANIFESTS"
"""Environment variable with manifests, as YAML, in place of PATHS."""

_LINE_SECONDS = 10.0
_JSON_SECONDS = 0.1
"""Least seconds between two lines about steps, for people and as JSON."""


def prepare(
    to: Annotated[Path, typer.Option(help="Folder for the prepared folders of the plugin.")],
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Files or folders with the plugin and its pools. - reads standard input."),
    ] = None,
    plugin: Annotated[str | None, typer.Option(help="The name of the AdaptationPlugin, if there are several.")] = None,
    pool: Annotated[
        list[str] | None,
        typer.Option(help="Base URL of a pool, ending in /v1. Can be repeated.", metavar="NAME=URL"),
    ] = None,
    config_map: Annotated[
        list[str] | None,
        typer.Option(help="Folder with the keys of a ConfigMap as files. Can be repeated.", metavar="NAME=PATH"),
    ] = None,
    volume: Volumes = None,
    secret: SecretFiles = None,
    result: Annotated[Path | None, typer.Option(help="File to write the result to, as JSON.")] = None,
    progress_port: Annotated[
        int | None, typer.Option(help="Port to serve the progress at, as JSON. 0 chooses a free port.", min=0)
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print progress and result as lines of JSON.")] = False,
) -> None:
    """Compute the folder of a plugin from its documents, and print the folder.

    Documents and models that did not change have the same folder, which is not computed again. PILOTFISH_MANIFESTS can
    contain the manifests in place of PATHS.
    """
    logging.basicConfig(level=logging.WARNING)
    shown = _Lines() if json else _Shown(Console(stderr=True, highlight=False, soft_wrap=True))
    try:
        preparation = _preparation(_loaded(paths), plugin, pool, config_map, volume, secret)
        with shown, _served(progress_port, shown.report) as report:
            folder = asyncio.run(prepare_folder(preparation, to, progress=report))
    except PilotfishError as error:
        shown.fail(error)
        raise typer.Exit(1) from error
    described = _described(folder)
    if result is not None:
        result.write_bytes(orjson.dumps(described))
    shown.finish(described)


@contextmanager
def _served(port: int | None, shown: Progress) -> Iterator[Progress]:
    """Reports to `shown`, and to everyone who asks at the port."""
    if port is None:
        yield shown
        return
    with ProgressServer(port) as server:

        def report(done: int, total: int, message: str) -> None:
            server.report(done, total, message)
            shown(done, total, message)

        yield report


def _described(folder: PreparedFolder) -> dict[str, Any]:
    return {
        "digest": folder.digest,
        "folder": str(folder.path),
        "documents": folder.documents,
        "details": dict(folder.details),
    }


def _loaded(paths: list[Path] | None) -> Loaded:
    given = os.environ.get(MANIFESTS_VARIABLE)
    if paths == [Path("-")]:
        loaded = load_text(sys.stdin.read(), "standard input")
    elif paths:
        loaded = load(paths)
    elif given:
        loaded = load_text(given, MANIFESTS_VARIABLE)
    else:
        raise ManifestError(f"no manifests: name files or folders, or set {MANIFESTS_VARIABLE}")
    if loaded.problems:
        raise ManifestError("\n".join(str(problem) for problem in loaded.problems))
    return loaded


def _preparation(
    loaded: Loaded,
    name: str | None,
    pools: list[str] | None,
    config_maps: list[str] | None,
    volumes: list[str] | None,
    secret_files: list[str] | None,
) -> Preparation:
    plugin = _plugin(loaded, name)
    secrets = Secrets.gather(loaded.secrets, secret_files or ())
    named = {ref.name for ref in plugin.spec.pool_refs}
    there = {each.name: each for each in loaded.resources if isinstance(each, ModelPool) and each.name in named}
    for index, ref in enumerate(plugin.spec.pool_refs):
        if ref.name not in there:
            raise ConfigError(f"spec.poolRefs[{index}].name", f"there is no ModelPool {ref.name!r}: add its manifest")
    addresses = dict(_pair(text, "--pool") for text in pools or ())
    data = {key.name: each.data for key, each in loaded.config_maps.items() if key.namespace == plugin.namespace}
    for text in config_maps or ():
        given, folder = _pair(text, "--config-map")
        data[given] = _keys(Path(folder), text)

    def credential(ref: Any, field_path: str) -> str:
        return secrets.get(plugin.namespace, ref, field_path)

    return Preparation(
        plugin,
        there,
        {each.name: _endpoint(each, addresses, secrets) for each in there.values()},
        Origins(data, parse_volumes(volumes or ()), credential),
    )


def _plugin(loaded: Loaded, name: str | None) -> AdaptationPlugin:
    found = [each for each in loaded.resources if isinstance(each, AdaptationPlugin) and name in {None, each.name}]
    if len(found) != 1:
        names = ", ".join(each.name for each in loaded.resources if isinstance(each, AdaptationPlugin)) or "none"
        raise ManifestError(f"choose one AdaptationPlugin with --plugin; the manifests have: {names}")
    return found[0]


def _endpoint(pool: ModelPool, addresses: Mapping[str, str], secrets: Secrets) -> Endpoint:
    external = pool.spec.external
    ref = external.api_key_secret_ref if external else None
    key = secrets.get(pool.namespace, ref, f"ModelPool {pool.name}: spec.external.apiKeySecretRef") if ref else None
    reported = pool.status.url if pool.status else None
    url = addresses.get(pool.name) or reported or (external.base_url if external else None)
    if url is None:
        raise ConfigError("--pool", f"the address of pool {pool.name!r} is not known: set --pool {pool.name}=URL")
    return Endpoint(url.rstrip("/"), key)


def _keys(folder: Path, text: str) -> dict[str, bytes]:
    """The keys of a ConfigMap that is mounted at a folder. Entries that begin with a dot belong to the mount."""
    try:
        return {file.name: file.read_bytes() for file in folder.iterdir() if not file.name.startswith(".")}
    except OSError as error:
        raise ConfigError("--config-map", f"{text!r}: {error.filename}: {error.strerror}") from error


def _pair(text: str, option: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    if not name or not value:
        raise ConfigError(option, f"{text!r} must be NAME=VALUE")
    return name, value


class _Lines:
    """Prints lines of JSON: steps, not all of them, then the result or the error."""

    report: Progress

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.report = self._report
        self._clock, self._last = clock, float("-inf")

    def __enter__(self) -> "_Lines":
        return self

    def __exit__(self, *_: object) -> None: ...

    def _report(self, done: int, total: int, message: str) -> None:
        now = self._clock()
        if now - self._last < _JSON_SECONDS and done != total:
            return
        self._last = now
        self._print({"done": done, "total": total, "message": message})

    def finish(self, described: Mapping[str, Any]) -> None:
        """Print the result."""
        self._print(described)

    def fail(self, error: PilotfishError) -> None:
        """Print the error."""
        self._print({"error": str(error), "transient": error.transient or isinstance(error, RequestError)})

    def _print(self, value: Mapping[str, Any]) -> None:
        typer.echo(orjson.dumps(value).decode())


class _Shown:
    """Shows progress: a bar on a terminal, otherwise a line every ten seconds."""

    report: Progress

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._bars = Bars(*columns, console=console, disable=not console.is_terminal)
        self._task = self._bars.add_task("reading documents", total=None)
        self._last_line = float("-inf")
        self.report = self._bar if console.is_terminal else self._line

    def __enter__(self) -> "_Shown":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def finish(self, described: Mapping[str, Any]) -> None:
        """Print the folder."""
        self._console.print(f"{described['documents']} documents", markup=False)
        typer.echo(described["folder"])

    def fail(self, error: PilotfishError) -> None:
        """Print the error."""
        self._console.print(f"error: {error}", markup=False)

    def _bar(self, done: int, total: int, message: str) -> None:
        self._bars.update(self._task, completed=done, total=total or None, description=message)

    def _line(self, done: int, total: int, message: str) -> None:
        now = self._clock()
        if now - self._last_line < _LINE_SECONDS and done != total:
            return
        self._last_line = now
        self._console.print(f"{message}: {done} of {total}" if total else message, markup=False)
