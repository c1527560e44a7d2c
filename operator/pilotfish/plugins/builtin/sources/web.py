"""`https://host/path/file`: one file of a web server. A credential is a token, sent as `Authorization: Bearer`."""

import hashlib
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.client import HTTPException, HTTPResponse
from typing import Any, cast
from urllib.parse import urlsplit

from pilotfish.base.errors import WeightsError
from pilotfish.plugin_api.sources import Access, Location, RemoteFile, Resolved

CHUNK_BYTES = 4 * 1024 * 1024
TIMEOUT_SECONDS = 60.0
_TRY_LATER = frozenset({408, 425, 429})


class HttpsSource:
    """A file of a web server. Its revision is a digest of ETag, Last-Modified and size, or else of the content."""

    schemes = ("https",)
    """Schemes that a redirect may lead to."""

    def resolve(self, location: Location, access: Access) -> Resolved:
        """Ask for the file's headers, and read it whole if they do not change with its content."""
        if location.revision is not None:
            raise WeightsError(f"{location.uri}: https:// has no revisions: remove the revision")
        with self._opened(location, access, "HEAD") as response:
            marks = [response.headers.get(name, "") for name in ("ETag", "Last-Modified", "Content-Length")]
        if (marks[0] or marks[1]) and marks[2]:
            return Resolved(location, access, hashlib.sha256("\n".join(marks).encode()).hexdigest())
        digest = hashlib.sha256()
        for chunk in self._content(location, access, 0):
            digest.update(chunk)
        return Resolved(location, access, digest.hexdigest())

    def files(self, resolved: Resolved) -> Sequence[RemoteFile]:
        """The file, by the last part of its path."""
        name = urlsplit(resolved.location.uri).path.rpartition("/")[2] or "index"
        with self._opened(resolved.location, resolved.access, "HEAD") as response:
            size = response.headers.get("Content-Length", "")
        if not size.isdigit():
            size = str(sum(len(chunk) for chunk in self._content(resolved.location, resolved.access, 0)))
        return (RemoteFile(name, int(size)),)

    def read(self, resolved: Resolved, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """The file's bytes from `offset` on."""
        return self._content(resolved.location, resolved.access, offset) if offset < file.size else iter(())

    def _content(self, location: Location, access: Access, offset: int) -> Iterator[bytes]:
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        with self._opened(location, access, "GET", headers) as response:
            skip = 0 if response.status == 206 else offset
            while chunk := response.read(CHUNK_BYTES):
                if skip < len(chunk):
                    yield chunk[skip:]
                skip = max(0, skip - len(chunk))

    @contextmanager
    def _opened(
        self, location: Location, access: Access, method: str, headers: Mapping[str, str] | None = None
    ) -> Iterator[HTTPResponse]:
        asked = {"Accept-Encoding": "identity", **(headers or {})}
        if access.credential is not None:
            asked["Authorization"] = f"Bearer {access.credential}"
        request = urllib.request.Request(location.uri, headers=asked, method=method)  # noqa: S310 - the scheme is https
        opener = urllib.request.build_opener(_Redirects(self.schemes))
        try:
            with opener.open(request, timeout=TIMEOUT_SECONDS) as response:
                yield cast("HTTPResponse", response)
        except urllib.error.HTTPError as error:
            error.close()
            transient = error.code >= 500 or error.code in _TRY_LATER
            raise WeightsError(f"{location.uri}: {error.code} {error.reason}", transient=transient) from error
        except (OSError, HTTPException) as error:
            raise WeightsError(f"{location.uri}: cannot be read: {error}", transient=True) from error


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to the given schemes. The credential stays with the host that it is for."""

    def __init__(self, schemes: Sequence[str]) -> None:
        self._schemes = schemes

    def redirect_request(  # noqa: PLR0917 - the signature of the base class
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        """The request of the new address. Raises HTTPError for another scheme."""
        target = urlsplit(newurl)
        if target.scheme not in self._schemes:
            raise urllib.error.HTTPError(newurl, code, f"redirects to {target.scheme}://", headers, fp)
        fresh = super().redirect_request(req, fp, code, msg, headers, newurl)
        if fresh is not None:
            fresh.method = req.get_method()
            if target.netloc != urlsplit(req.full_url).netloc:
                fresh.remove_header("Authorization")
        return fresh
