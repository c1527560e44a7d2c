"""`pilotfish up` as a process of its own, as a user runs it."""

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil

START_SECONDS = 1200
"""Engines on a busy machine of two cores; a deadline, never a measure."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Up:
    """The process, what it has said, and the processes that it had when it was last looked at."""

    def __init__(
        self, *arguments: str | Path, port: int | None = None, prefix: Sequence[str] = (), **environ: str
    ) -> None:
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.lines: list[str] = []
        self._said = threading.Condition()
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "pilotfish", "up", *map(str, arguments), "--port", str(self.port)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=os.environ | environ,
            text=True,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def _read(self) -> None:
        for line in self._process.stdout:
            with self._said:
                self.lines.append(line.rstrip("\n"))
                self._said.notify_all()
        with self._said:
            self._said.notify_all()

    def wait_for(self, text: str, after: int = 0) -> str:
        """The first line with `text` among those from number `after` on."""

        def found() -> str | None:
            return next((line for line in self.lines[after:] if text in line), None)

        with self._said:
            self._said.wait_for(lambda: found() or self._process.poll() is not None, timeout=START_SECONDS)
            line = found()
        assert line is not None, f"{text!r} was not said:\n" + "\n".join(self.lines)
        return line

    def processes(self) -> list[psutil.Process]:
        return psutil.Process(self.pid).children(recursive=True)

    def engines(self) -> list[psutil.Process]:
        return [process for process in self.processes() if process.name().startswith("VLLM::Engin")]

    def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """Ask for the end, and wait for it."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        status = self._process.wait(timeout=120)
        self._reader.join()
        self._process.stdout.close()
        return status


def call(url: str, body: dict | None = None) -> tuple[int, dict, dict]:
    """Status, headers and JSON of a request."""
    data = json.dumps(body).encode() if body else None
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, {k.lower(): v for k, v in error.headers.items()}, json.load(error)


def ask(url: str, model: str, text: str, **parameters) -> tuple[int, dict, dict]:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "temperature": 0, **parameters}
    return call(f"{url}/v1/chat/completions", body)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition by polling."""
    waiting = threading.Event()
    for _ in range(START_SECONDS * 2):
        if condition():
            return
        waiting.wait(0.5)
    raise AssertionError(f"never happened: {what}")
