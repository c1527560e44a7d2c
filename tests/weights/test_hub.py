"""`hf://` against a stand-in hub on this machine: pinned to a commit, resumed by range, with errors reported."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

TOKEN = "open-sesame"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 100_000, "tokenizer.json": b"[]"}

pytestmark = pytest.mark.timeout(300)


class Hub(ThreadingHTTPServer):
    """A hub with one repository, `org/m`, that asks for a token, and a log of ranges asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, int]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        asked = self.rfile.read(length).decode()
        self._send([entry(path) for path in FILES if path in asked])

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self._send({"error": "Invalid credentials"}, status=401)
        elif path in {"/api/models/org/m/revision/main", f"/api/models/org/m/revision/{COMMIT}", "/api/models/org/m"}:
            self._send({"id": "org/m", "modelId": "org/m", "sha": COMMIT, "siblings": [], "tags": []})
        elif path.startswith(f"/api/models/org/m/tree/{COMMIT}"):
            self._send([entry(name) for name in FILES])
        elif path.startswith(f"/org/m/resolve/{COMMIT}/"):
            self._file(path.removeprefix(f"/org/m/resolve/{COMMIT}/"))
        else:
            self._send({"error": "Repository not found"}, status=404, code="RepoNotFound")

    def _file(self, name: str) -> None:
        data, span = FILES[name], self.headers.get("Range", "bytes=0-")
        first, _, last = span.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        self.server.asked.append((name, int(first)))
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        self._body(part, "application/octet-stream")

    def _send(self, value: object, *, status: int = 200, code: str = "") -> None:
        self.send_response(status)
        if code:
            self.send_header("X-Error-Code", code)
        self._body(json.dumps(value).encode(), "application/json")

    def _body(self, data: bytes, kind: str) -> None:
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)


def entry(path: str) -> dict[str, object]:
    return {"type": "file", "path": path, "size": len(FILES[path]), "oid": "0" * 40}


@pytest.fixture
def hub() -> Iterator[Hub]:
    server = Hub()
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def fetch(hub: Hub, cache: Path, *more: str, token: str = TOKEN) -> "subprocess.CompletedProcess[str]":
    program = Path(sys.executable).with_name("pilotfish")
    environment = os.environ | {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_XET": "1"}
    environment |= {"PILOTFISH_CREDENTIAL": token, "HF_HOME": str(cache.parent / "hf")}
    command = [str(program), "fetch", "--cache", str(cache), *more]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_branch_is_pinned_fetched_and_resumed(hub: Hub, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    told = tmp_path / "revision"
    done = fetch(hub, cache, "--uri", "hf://org/m", "--revision-file", str(told))
    assert done.returncode == 0, done.stderr
    assert told.read_text() == COMMIT
    folder = Path(done.stdout.strip())
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert json.loads((folder / "pilotfish.json").read_text())["revision"] == COMMIT

    work = cache / ".work" / folder.name / "source"
    work.mkdir(parents=True)
    for name in FILES:
        (folder / name).rename(work / name)
    half = work / "model.safetensors.partial"
    (work / "model.safetensors").rename(half)
    os.truncate(half, 20_000_000)
    (folder / "pilotfish.json").unlink()
    folder.rmdir()
    hub.asked.clear()
    again = fetch(hub, cache, "--uri", "hf://org/m", "--revision", COMMIT)
    assert again.returncode == 0, again.stderr
    assert again.stdout == done.stdout
    assert {name: (folder / name).read_bytes() for name in FILES} == FILES
    assert {name for name, _ in hub.asked} == {"model.safetensors"}
    assert min(first for _, first in hub.asked) >= 20_000_000


def test_faults_name_the_address_and_never_the_token(hub: Hub, tmp_path: Path) -> None:
    for uri, token in [("hf://org/none", TOKEN), ("hf://org/m", "wrong-token")]:
        done = fetch(hub, tmp_path / "cache", "--uri", uri, token=token)
        assert done.returncode == 1
        assert f"error: {uri}: cannot be read: " in done.stderr
        assert token not in done.stderr
        assert "Traceback" not in done.stderr
