"""The last step of a preparation over HTTP, for the operator. A thread serves it, because preparing may block."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

PATH = "/progress"


class ProgressServer:
    """Serves `{"done": …, "total": …, "message": …}` at PATH, on all addresses. Use as a context manager."""

    def __init__(self, port: int) -> None:
        self._last: dict[str, int | str] = {}
        self._server = ThreadingHTTPServer(("", port), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, name="progress", daemon=True)

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._server.server_port

    def report(self, done: int, total: int, message: str) -> None:
        """Serve this step from now on."""
        self._last = {"done": done, "total": total, "message": message}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path == PATH
                body = json.dumps(server._last).encode() if found else b""
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
                """Log nothing."""

        return Handler
