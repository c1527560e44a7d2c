"""One operator process, started and ended by a test."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Self

_COMMAND = "from pilotfish.cli.main import main; main()"


class OperatorProcess:
    """`pilotfish operator`, or another `program`, against the cluster of a kubeconfig. Its log is a file."""

    def __init__(
        self,
        kubeconfig: Path,
        namespace: str,
        log: Path,
        *,
        identity: str = "one",
        program: Path | None = None,
        **environ: str,
    ) -> None:
        self._environ = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("PILOTFISH_", "OTEL_"))},
            "KUBECONFIG": str(kubeconfig),
            "PILOTFISH_NAMESPACE": namespace,
            "PILOTFISH_POOL_IMAGE": "pool.test/pool:1",
            "PILOTFISH_POD_NAME": identity,
            "PILOTFISH_METRICS_PORT": "0",
            **environ,
        }
        self.log = log
        self._command = [str(program)] if program else ["-c", _COMMAND, "operator"]
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.running:
            self.stop()

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def words(self) -> str:
        """What it logged."""
        return self.log.read_text(errors="replace")

    def start(self) -> None:
        """Start it, if it does not run."""
        if self.running:
            return
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._command], env=self._environ, stdout=log, stderr=subprocess.STDOUT
            )

    def kill(self) -> None:
        """End it at once."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=60)

    def wait(self) -> int:
        """Wait until it ends by itself."""
        assert self._process is not None
        return self._process.wait(timeout=60)
