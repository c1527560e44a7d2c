"""`https://`: one file, resumed by range, with a revision that follows its content. The test's server has no TLS."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pilotfish.base.errors import WeightsError
from pilotfish.plugin_api.sources import Access, Location, RemoteFile
from pilotfish.plugins.builtin.sources.web import HttpsSource


class PlainSource(HttpsSource):
    schemes = ("http",)


class Web(ThreadingHTTPServer):
    """Serves `content` at every path. `headers` are sent with it; `ranges`: whether ranges are obeyed."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.sent, self.ranges = b"0123456789", {"ETag": '"one"'}, True
        self.seen: list[tuple[str, str | None]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    server: Web

    def log_message(self, *_: object) -> None: ...

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        self.server.seen.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        if self.path.startswith("/status/"):
            self.send_error(int(self.path.rpartition("/")[2]))
            return
        content, asked = self.server.content, self.headers.get("Range")
        if asked and self.server.ranges:
            content = content[int(asked.removeprefix("bytes=").removesuffix("-")) :]
        self.send_response(206 if asked and self.server.ranges else 200)
        for name, value in self.server.sent.items():
            self.send_header(name, value)
        if "ETag" in self.server.sent:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def revision(web: Web, path: str = "/guide.md") -> str:
    return PlainSource().resolve(Location(web.url + path), Access()).revision


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_is_read_from_any_offset(web: Web, ranges: bool) -> None:
    web.ranges = ranges
    source = PlainSource()
    resolved = source.resolve(Location(f"{web.url}/a/guide.md?x=1"), Access())
    (file,) = source.files(resolved)
    assert file == RemoteFile("guide.md", 10)
    for offset in (0, 3, 10):
        assert b"".join(source.read(resolved, file, offset=offset)) == web.content[offset:]


def test_a_revision_follows_the_header_or_else_the_content(web: Web) -> None:
    first = revision(web)
    assert revision(web) == first
    web.sent = {"ETag": '"two"'}
    assert revision(web) != first
    web.sent = {}
    second = revision(web)
    assert PlainSource().files(PlainSource().resolve(Location(f"{web.url}/"), Access())) == (RemoteFile("index", 10),)
    web.content = b"9876543210"
    assert revision(web) != second


def test_a_credential_stays_with_its_host(web: Web) -> None:
    elsewhere = web.url.replace("127.0.0.1", "localhost")
    access = Access(credential="secret")
    PlainSource().resolve(Location(f"{web.url}/to/{web.url}/x"), access)
    assert [value for _, value in web.seen] == ["Bearer secret"] * 2
    web.seen.clear()
    PlainSource().resolve(Location(f"{web.url}/to/{elsewhere}/x"), access)
    assert [value for _, value in web.seen] == ["Bearer secret", None]


@pytest.mark.parametrize(("status", "transient"), [(404, False), (403, False), (429, True), (503, True)])
def test_an_error_names_the_address_and_whether_to_try_again(web: Web, status: int, transient: bool) -> None:
    with pytest.raises(WeightsError, match=f"/status/{status}: {status}") as caught:
        revision(web, f"/status/{status}")
    assert caught.value.transient is transient


def test_a_redirect_to_another_scheme_is_refused(web: Web) -> None:
    with pytest.raises(WeightsError, match="redirects to http://"):
        HttpsSource().resolve(Location(f"{web.url}/to/{web.url}/x"), Access())
    with pytest.raises(WeightsError, match="has no revisions"):
        HttpsSource().resolve(Location("https://x/y", "main"), Access())
