"""A Ray of its own for one run of local mode: on loopback, with a token, in a temporary folder, below a guardian."""

import asyncio
import logging
import secrets
import sys
import tempfile
from asyncio.subprocess import PIPE, STDOUT
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp

from pilotfish.base.errors import RuntimeFailure
from pilotfish.engine.ports import LOOPBACK, free_ports
from pilotfish.engine.processes import end_session, remove_folder
from pilotfish.upstream.ray_serve import Application, RayDashboard

logger = logging.getLogger(__name__)

ATTEMPT_SECONDS = (90.0, 180.0, 330.0)
"""Timeouts of the attempts to start Ray, seconds. Sometimes a start hangs forever, possibly because Ray forks while
threads run. An attempt that takes too long is stopped and repeated, with more time, because busy machines are slow."""
POLL_SECONDS = 0.25
SCHEDULABLE_CPUS = 1024
"""Ray's number of CPUs. Ray only counts them; engines share the real cores, which local mode oversubscribes."""
OBJECT_STORE_BYTES = 128 * 1024**2
LONGEST_FOLDER = 40
"""Unix sockets below the folder must have paths of at most 107 characters; Ray adds 64."""


@dataclass(frozen=True)
class RayPorts:
    """Ports of one Ray, all on loopback."""

    dashboard: int
    serve: int
    agent: int
    metrics: int

    @classmethod
    def pick(cls) -> "RayPorts":
        """Some that are free now."""
        return cls(*free_ports(4))


class RayHead:
    """Ray as child of a guardian process. `start`, `stop`; `ended` is done when it stopped on its own."""

    def __init__(
        self, environ: Mapping[str, str], gpus: int = 0, *, listen: str = LOOPBACK, port: int | None = None
    ) -> None:
        """Serve answers requests at `listen` and `port` (None: one that is free); all else of Ray stays on loopback."""
        self._environ = environ
        self._listen_at = listen
        self._port = port
        self._gpus = gpus
        self._token = secrets.token_hex(32)
        self._guardian: asyncio.subprocess.Process | None = None
        self._http: aiohttp.ClientSession | None = None
        self._words: deque[str] = deque(maxlen=20)
        self._listening: asyncio.Task[None] | None = None
        self.ports = self._pick_ports()
        self.folder = Path(tempfile.mkdtemp(prefix="pilotfish-", dir=_short_temporary_folder()))
        self._dashboard: RayDashboard | None = None

    @property
    def logs(self) -> Path:
        """Folder of the logs of Ray and of all engines."""
        return self.folder / "ray" / "session_latest" / "logs"

    @property
    def pid(self) -> int | None:
        """The guardian, whose session holds all of Ray's processes."""
        return self._guardian.pid if self._guardian else None

    @property
    def metrics_url(self) -> str:
        """Metrics of Ray and of all engines, as Prometheus reads them."""
        return f"http://{LOOPBACK}:{self.ports.metrics}/metrics"

    @property
    def dashboard_url(self) -> str:
        """Ray's dashboard, which asks for this run's token."""
        return f"http://{LOOPBACK}:{self.ports.dashboard}"

    def base_url(self, route_prefix: str) -> str:
        """The base URL of the application at `route_prefix`."""
        return f"http://{LOOPBACK}:{self.ports.serve}{route_prefix.rstrip('/')}/v1"

    async def start(self) -> None:
        """Start Ray and wait until Serve accepts deployments. Raises RuntimeFailure with the end of Ray's log."""
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        for seconds in ATTEMPT_SECONDS:
            dashboard = await self._launch(self._http)
            try:
                async with asyncio.timeout(seconds):
                    return await self._until_answering(dashboard)
            except TimeoutError:
                logger.warning("Ray did not start within %.0f s: %s", seconds, self._last_words())
            await self._end()
            self.ports = self._pick_ports()
        raise RuntimeFailure(f"Ray did not start in {len(ATTEMPT_SECONDS)} attempts: {self._last_words()}")

    async def ended(self) -> str:
        """Wait until Ray has stopped. Returns one line with the end of its log."""
        if self._guardian is None:
            raise RuntimeFailure("Ray was not started")
        await self._guardian.wait()
        return f"Ray stopped: {self._last_words()}"

    async def applications(self) -> dict[str, Application]:
        """Every Serve application with its state."""
        return await self._started().applications()

    async def deploy(self, applications: list[Mapping[str, object]]) -> None:
        """Deploy these applications. Serve does not touch unchanged ones."""
        options = {"host": self._listen_at, "port": self.ports.serve, "keep_alive_timeout_s": 3600}
        await self._started().deploy(applications, http_options=options, proxies="HeadOnly")

    async def stop(self) -> None:
        """Stop all processes of this Ray and remove its folder. Can be called at any time, more than once."""
        if self._http:
            await self._http.close()
        await self._end()

    async def _launch(self, http: aiohttp.ClientSession) -> RayDashboard:
        self.folder.mkdir(mode=0o700, exist_ok=True)
        for name in ("ray", "tmp"):
            (self.folder / name).mkdir()
        self._guardian = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "pilotfish.engine.guardian", str(self.folder), *self._command(),
            stdin=PIPE, stdout=PIPE, stderr=STDOUT, env=self._environment(), start_new_session=True, cwd="/",
        )  # fmt: skip
        self._listening = asyncio.create_task(self._listen(self._guardian))
        self._dashboard = RayDashboard(http, self.dashboard_url, self._token)
        return self._dashboard

    async def _end(self) -> None:
        if self._guardian is None:
            remove_folder(self.folder)
            return
        if self._guardian.stdin and not self._guardian.stdin.is_closing():
            self._guardian.stdin.close()
        await self._guardian.wait()
        if self._listening:
            await self._listening
        # this has an effect only if the guardian itself was killed
        await asyncio.to_thread(end_session, self._guardian.pid)
        await asyncio.to_thread(remove_folder, self.folder)

    def _pick_ports(self) -> RayPorts:
        picked = RayPorts.pick()
        return picked if self._port is None else replace(picked, serve=self._port)

    def _started(self) -> RayDashboard:
        if self._dashboard is None:
            raise RuntimeFailure("Ray was not started")
        return self._dashboard

    async def _until_answering(self, dashboard: RayDashboard) -> None:
        guardian = self._guardian
        failure: RuntimeFailure | None = None
        while guardian and guardian.returncode is None:
            try:
                await dashboard.applications()
            except RuntimeFailure as error:
                failure = error
            else:
                return
            await asyncio.sleep(POLL_SECONDS)
        if self._listening:
            await self._listening
        raise RuntimeFailure(f"Ray ended while it started ({failure}): {self._last_words()}")

    async def _listen(self, guardian: asyncio.subprocess.Process) -> None:
        while guardian.stdout and (line := await guardian.stdout.readline()):
            if text := line.decode(errors="replace").strip():
                self._words.append(text)

    def _last_words(self) -> str:
        return " | ".join(list(self._words)[-3:]) or "its log is empty"

    def _command(self) -> list[str]:
        ports = self.ports
        return [
            sys.executable, "-m", "pilotfish.engine.ray_start", "start", "--head", "--disable-usage-stats",
            "--port=0", f"--node-ip-address={LOOPBACK}", f"--dashboard-host={LOOPBACK}",
            f"--dashboard-port={ports.dashboard}", f"--dashboard-agent-listen-port={ports.agent}",
            f"--metrics-export-port={ports.metrics}",
            # Ray would start processes for an autoscaler and for logs on a driver's terminal.
            "--no-monitor", "--include-log-monitor=false",
            f"--num-cpus={SCHEDULABLE_CPUS}", f"--num-gpus={self._gpus}", f"--temp-dir={self.folder / 'ray'}",
            f"--object-store-memory={OBJECT_STORE_BYTES}", "--log-color=false",
        ]  # fmt: skip

    def _environment(self) -> dict[str, str]:
        kept = {
            name: value
            for name, value in self._environ.items()
            # Without bytecode each process of an engine would compile all of vLLM again.
            if not name.startswith("RAY_") and name != "PYTHONDONTWRITEBYTECODE"
        }
        binaries = str(Path(sys.executable).parent)
        return (
            kept
            | {
                "PATH": f"{binaries}:{kept.get('PATH', '')}",
                "PYTHONUNBUFFERED": "1",
                "RAY_AUTH_MODE": "token",
                "RAY_AUTH_TOKEN": self._token,
                # makes Ray use loopback as its address, as on the systems in the name
                "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
                "RAY_USAGE_STATS_ENABLED": "0",
                # engines serve requests; Ray's default niceness for them is 15
                "RAY_worker_niceness": "0",
                # with this many CPUs Ray would keep idle workers, each with torch loaded
                "RAY_num_workers_soft_limit": "1",
                "RAY_raylet_start_wait_time_s": str(int(ATTEMPT_SECONDS[-1])),
                "TMPDIR": str(self.folder / "tmp"),
            }
            | {name: value for name, value in self._environ.items() if name.startswith("RAY_SERVE_")}
        )


def _short_temporary_folder() -> str:
    folder = tempfile.gettempdir()
    return folder if len(folder) <= LONGEST_FOLDER - len("/pilotfish-xxxxxxxx") else "/tmp"  # noqa: S108
