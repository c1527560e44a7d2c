"""`pilotfish up`: runs manifests on this machine until it is stopped."""

import asyncio
import hashlib
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.console import Console
from watchfiles import awatch

from pilotfish.base.errors import MachineError, PilotfishError
from pilotfish.cli.display import Display, pool_name
from pilotfish.cli.local_options import (
    Cache,
    Host,
    Paths,
    Port,
    SecretFiles,
    Volumes,
    cache_folder,
    load_or_exit,
    needs_of,
    print_findings,
    tell_problems,
    traces_endpoint,
)
from pilotfish.cli.welcome import welcome
from pilotfish.concurrency import first_done
from pilotfish.gateway.server import GatewayServer
from pilotfish.local import state
from pilotfish.local.logfile import write_log
from pilotfish.local.machine import examine
from pilotfish.local.run import LocalRun, RunOptions, wanted_of
from pilotfish.local.secrets import parse_volumes
from pilotfish.local.sizes import sizes_of
from pilotfish.manifests import Loaded, load
from pilotfish.plugins.registry import Registry
from pilotfish.reconcile.local_plan import LocalPlan, Wanted, plan
from pilotfish.routing.snapshot import PoolState, Snapshot
from pilotfish.settings import GatewaySettings
from pilotfish.telemetry.tracing import Tracing

DRAIN_SECONDS = 3.0
"""Time for open requests once the end was asked for."""


def up(
    paths: Paths,
    port: Port = 8080,
    host: Host = "127.0.0.1",
    watch: Annotated[bool, typer.Option(help="Apply changes of the manifests while running.")] = False,
    cache: Cache = None,
    volume: Volumes = None,
    secret: SecretFiles = None,
) -> None:
    """Run the manifests on this machine: the engines, and the gateway with OpenAI's API. Ctrl-C stops everything."""
    console = Console(highlight=False, soft_wrap=True)
    loaded = load_or_exit(paths, console)
    wanted = wanted_of(loaded)
    folder = cache_folder(cache)
    planned = plan(wanted, Wanted({}, {}), sizes_of(wanted.pools.values()))
    try:
        _refuse_second_run(port)
        if print_findings(examine(needs_of(planned, host=host, port=port, cache=folder)), console, only_bad=True):
            raise MachineError(
                "this machine does not meet the requirements above: fix them; `pilotfish doctor` lists all checks"
            )
        options = RunOptions(
            folder,
            parse_volumes(volume or ()),
            tuple(secret or ()),
            planned.gpus,
            traces_endpoint(os.environ),
            _prepared_folder(folder, paths),
        )
        settings = replace(
            GatewaySettings.from_environment(os.environ), host=host, port=port, drain_seconds=DRAIN_SECONDS
        )
        log = write_log(os.environ, port)
        with Display(console, log=log) as display:
            uvloop.run(_Up(options, settings, display, tuple(paths), watch, log).until_told(loaded))
    except PilotfishError as error:
        console.print(f"error: {error}", markup=False)
        raise typer.Exit(1) from error


def _prepared_folder(cache: Path, paths: list[Path]) -> Path:
    """Each set of manifests has its own folder for what plugins prepare, because another may have the same names."""
    resolved = "\n".join(sorted(str(path.resolve()) for path in paths))
    return cache / ".prepared" / hashlib.sha256(resolved.encode()).hexdigest()[:16]


def _refuse_second_run(port: int) -> None:
    for run in state.running(state.state_folder(os.environ)):
        if run.port == port:
            raise MachineError(
                f"port {port} is in use by `pilotfish up` at {run.url} (process {run.pid}, {' '.join(run.paths)}):"
                f" stop it, or choose another --port"
            )


@dataclass
class _Up:
    options: RunOptions
    settings: GatewaySettings
    display: Display
    paths: tuple[Path, ...]
    watch: bool
    log: Path

    async def until_told(self, loaded: Loaded) -> None:
        """Run until a signal, then end everything. Raises PilotfishError when the run cannot go on."""
        tracing = Tracing.from_environment(os.environ, "pilotfish-gateway")
        server = GatewayServer(self.settings, Registry.installed(), tracing)
        announcer = _Announcer(self.display)

        def on_snapshot(snapshot: Snapshot) -> None:
            server.apply(snapshot)
            announcer.on_snapshot(snapshot)

        record = _Record(self.paths)

        def on_ray(line: str) -> None:
            self.display.say(line)
            record.write(announcer.url, run.metrics_url)

        run = LocalRun(self.options, self.display.on_event, on_snapshot, on_ray)
        async with _told_to_end() as told, _ended(run, server, self.display):
            port = await _start(server, self.settings)
            announcer.url = f"http://{self.settings.host}:{port}"
            self.display.say(f"gateway at {announcer.url}/v1, log in {self.log}")
            with record:
                record.write(announcer.url)
                await run.apply(loaded)
                following = [self._follow(run)] if self.watch else []
                scaling, waiting = run.scale(server.in_flight), self.display.say_what_is_awaited()
                await first_done(told.wait(), run.serve(), scaling, waiting, *following)

    async def _follow(self, run: LocalRun) -> None:
        """Apply the manifests again whenever a file changes. Faults are printed, and the change is then not applied."""
        async for _ in awatch(*self.paths):
            loaded = await asyncio.to_thread(load, list(self.paths))
            tell_problems(loaded, self.display.console)
            if loaded.problems:
                self.display.say("the change has faults and was not applied")
                continue
            try:
                done = await run.apply(loaded)
            except PilotfishError as error:
                self.display.say(f"error: {error}; the change was not applied")
            else:
                self.display.say(f"applied: {summary(done)}")


def summary(done: LocalPlan) -> str:
    """What a plan does, in a line."""
    return ", ".join(f"{pool_name(step.key)} {step.action}" for step in done.pools) or "no pools"


class _Announcer:
    """Says once how to use the address, when every pool has come to rest, and again after a change."""

    def __init__(self, display: Display) -> None:
        self.url = ""
        self._display = display
        self._said: str | None = None

    def on_snapshot(self, snapshot: Snapshot) -> None:
        """Say it if there is something new to say."""
        states = [view.state for view in snapshot.pools.values()]
        if PoolState.LOADING in states or PoolState.READY not in states:
            return
        text = welcome(self.url, snapshot)
        if text != self._said:
            self._said = text
            self._display.say(text)


async def _start(server: GatewayServer, settings: GatewaySettings) -> int:
    try:
        return await server.start()
    except OSError as error:
        raise MachineError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}: choose another --port"
        ) from error


@asynccontextmanager
async def _told_to_end() -> AsyncIterator[asyncio.Event]:
    """An event that is set by the first signal that asks for the end; later ones change nothing."""
    told, loop = asyncio.Event(), asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    for number in numbers:
        loop.add_signal_handler(number, told.set)
    try:
        yield told
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


class _Record:
    """Lets other processes of the user find this run until the context ends."""

    def __init__(self, paths: tuple[Path, ...]) -> None:
        self._paths = tuple(str(path) for path in paths)
        self._written: Path | None = None

    def write(self, url: str, ray_metrics: str = "") -> None:
        """Write what is known now."""
        pid, started = state.this_process()
        port = int(url.rpartition(":")[2])
        record = state.RunState(pid, started, url, port, ray_metrics, self._paths)
        self._written = state.write(state.state_folder(os.environ), record)

    def __enter__(self) -> "_Record":
        return self

    def __exit__(self, *_: object) -> None:
        if self._written:
            state.remove(self._written)


@asynccontextmanager
async def _ended(run: LocalRun, server: GatewayServer, display: Display) -> AsyncIterator[None]:
    """Stop the gateway and the run at the end, in any case."""
    try:
        yield
    finally:
        display.say("stopping")
        try:
            await server.stop()
        finally:
            await run.stop()
        display.say("stopped")
