"""`hf://`, `s3://` and `gs://`, through fsspec's file systems."""

import errno
import hashlib
import json
import re
import socket
import ssl
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import aiohttp
import fsspec

from pilotfish.base.errors import WeightsError
from pilotfish.plugin_api.sources import Access, Location, RemoteFile, Resolved

CHUNK_BYTES = 16 * 1024 * 1024
"""Bytes of one request to a store."""

_TRY_LATER = frozenset({408, 425, 429})
"""HTTP statuses below 500 after which another try may succeed."""
_NETWORK_ERRNOS = frozenset({errno.ENETDOWN, errno.ENETUNREACH, errno.EHOSTDOWN, errno.EHOSTUNREACH})
_COMMIT = re.compile(r"^[0-9a-f]{40}$")


_AIOHTTP_NETWORK_ERRORS = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)


class RemoteSource(ABC):
    """A file, or everything below a prefix, of a file system that fsspec knows."""

    @abstractmethod
    def resolve(self, location: Location, access: Access) -> Resolved:
        """Pin the location."""

    @abstractmethod
    def file_system(self, access: Access, location: Location) -> Any:
        """The fsspec file system. Raises WeightsError for a credential that is none."""

    @abstractmethod
    def root(self, resolved: Resolved) -> str:
        """The location's path in the file system."""

    @abstractmethod
    def foreign_errors(self) -> tuple[type[Exception], ...]:
        """What the file system's library raises besides OSError."""

    @abstractmethod
    def network_errors(self) -> tuple[type[Exception], ...]:
        """What the file system's library raises when the connection fails, besides Python's own errors."""

    def files(self, resolved: Resolved) -> Sequence[RemoteFile]:
        """The file, or all files below the prefix."""
        root = self.root(resolved)
        found = self.find(resolved.location, resolved.access, root)
        return tuple(RemoteFile(below(path, root), int(info["size"])) for path, info in found)

    def read(self, resolved: Resolved, file: RemoteFile, *, offset: int) -> Iterator[bytes]:
        """The file's bytes, each piece one request."""
        root = self.root(resolved)
        with self._told(resolved.location):
            files = self.file_system(resolved.access, resolved.location)
            path = root if files.isfile(root) else f"{root}/{file.path}"
            with files.open(path, "rb", block_size=CHUNK_BYTES) as opened:
                opened.seek(offset)
                while chunk := opened.read(CHUNK_BYTES):
                    yield chunk

    def find(self, location: Location, access: Access, root: str) -> list[tuple[str, Mapping[str, Any]]]:
        """Paths below `root` with what the store says of each, in order. Raises WeightsError when there is none."""
        with self._told(location):
            files = self.file_system(access, location)
            files.invalidate_cache()
            found = sorted(files.find(root, detail=True).items())
        if not found:
            raise WeightsError(f"{location.uri}: found no file: check the address, and the permission to list it")
        return found

    def _errors(self) -> tuple[type[Exception], ...]:
        return (OSError, *self.foreign_errors())

    @contextmanager
    def _told(self, location: Location) -> Iterator[None]:
        try:
            yield
        except self._errors() as error:
            message = f"{location.uri}: cannot be read: {type(error).__name__}: {error}"
            raise WeightsError(message, transient=is_transient(error, self.network_errors())) from error


class ObjectStoreSource(RemoteSource):
    """An object store. It has no revisions: names, sizes and checksums of the objects stand for one.

    Without a credential, its library finds one (environment, roles, key files); a credential is the JSON text of
    `credential_options`' arguments.
    """

    protocol: str

    def resolve(self, location: Location, access: Access) -> Resolved:
        """List what is there."""
        if location.revision is not None:
            raise WeightsError(f"{location.uri}: {self.protocol}:// has no revisions: remove spec.model.revision")
        found = self.find(location, access, _path_of(location))
        marks = "\n".join(f"{path} {info['size']} {_checksum(info)}" for path, info in found)
        return Resolved(location, access, hashlib.sha256(marks.encode()).hexdigest())

    def root(self, resolved: Resolved) -> str:
        """Bucket and key."""
        return _path_of(resolved.location)

    def file_system(self, access: Access, location: Location) -> Any:
        """The store's file system, with the credential's options."""
        if access.credential is None:
            return fsspec.filesystem(self.protocol)
        try:
            credential = json.loads(access.credential)
        except json.JSONDecodeError:
            credential = None
        if not isinstance(credential, dict):
            raise WeightsError(f"{location.uri}: the key that credentialsSecretRef names must hold a JSON object")
        return fsspec.filesystem(self.protocol, **self.credential_options(credential))

    @abstractmethod
    def credential_options(self, credential: dict[str, Any]) -> dict[str, Any]:
        """Options of the file system from the credential's object."""


class S3Source(ObjectStoreSource):
    """`s3://bucket/key`. A credential is an object of s3fs's options: key, secret, token, endpoint_url."""

    protocol = "s3"

    def credential_options(self, credential: dict[str, Any]) -> dict[str, Any]:
        """s3fs takes them as they are."""
        return credential

    def foreign_errors(self) -> tuple[type[Exception], ...]:
        """Botocore's errors that s3fs does not translate."""
        from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - an optional dependency

        return (BotoCoreError, ClientError, aiohttp.ClientError)

    def network_errors(self) -> tuple[type[Exception], ...]:
        """Botocore's errors of the connection and of aiohttp below it."""
        from botocore import exceptions  # noqa: PLC0415 - an optional dependency

        connection = (exceptions.ConnectionError, exceptions.HTTPClientError, exceptions.IncompleteReadError)
        return (*connection, *_AIOHTTP_NETWORK_ERRORS)


class GoogleStorageSource(ObjectStoreSource):
    """`gs://bucket/key`. A credential is a service account's key, the JSON file as it is."""

    protocol = "gs"

    def credential_options(self, credential: dict[str, Any]) -> dict[str, Any]:
        """Gcsfs takes the key as its token."""
        return {"token": credential}

    def foreign_errors(self) -> tuple[type[Exception], ...]:
        """Errors of gcsfs and of Google's authentication."""
        from gcsfs.retry import HttpError  # noqa: PLC0415 - an optional dependency
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415

        return (HttpError, GoogleAuthError, aiohttp.ClientError)

    def network_errors(self) -> tuple[type[Exception], ...]:
        """Errors of the connection, of Google's authentication too. Gcsfs reports a status of 502 as a ProxyError."""
        import requests  # noqa: PLC0415 - comes with gcsfs
        from google.auth.exceptions import TransportError  # noqa: PLC0415 - an optional dependency

        failed = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
        return (*failed, TransportError, *_AIOHTTP_NETWORK_ERRORS)


class HuggingFaceSource(RemoteSource):
    """`hf://org/model` or `hf://org/model/file`. A credential is an access token."""

    def resolve(self, location: Location, access: Access) -> Resolved:
        """Ask for the commit that the revision (main when left out) is at; a commit is taken as it is."""
        repository, revision = self._repository(location), location.revision
        if revision is None or not _COMMIT.match(revision):
            from huggingface_hub import HfApi  # noqa: PLC0415 - an optional dependency

            with self._told(location):
                revision = str(HfApi(token=access.credential).model_info(repository, revision=revision).sha)
        return Resolved(location, access, revision)

    def root(self, resolved: Resolved) -> str:
        """Repository at the commit, and the path in it."""
        repository = self._repository(resolved.location)
        path = resolved.location.rest.rstrip("/").removeprefix(repository)
        return f"{repository}@{resolved.revision}{path}"

    def file_system(self, access: Access, location: Location) -> Any:
        """The hub's file system."""
        from huggingface_hub import HfFileSystem  # noqa: PLC0415 - an optional dependency

        return HfFileSystem(token=access.credential)

    def foreign_errors(self) -> tuple[type[Exception], ...]:
        """Errors of the hub's HTTP client."""
        from httpx2 import HTTPError  # noqa: PLC0415 - comes with huggingface_hub

        return (HTTPError,)

    def network_errors(self) -> tuple[type[Exception], ...]:
        """Timeouts and failed connections of the hub's HTTP client."""
        from httpx2 import TransportError  # noqa: PLC0415 - comes with huggingface_hub

        return (TransportError,)

    @staticmethod
    def _repository(location: Location) -> str:
        parts = location.rest.split("/")
        if len(parts) < 2 or not all(parts[:2]):
            raise WeightsError(f"{location.uri}: must name a repository, as in hf://org/model")
        return "/".join(parts[:2])


def is_transient(error: BaseException, network_errors: tuple[type[Exception], ...]) -> bool:
    """Whether another try may succeed: the network or the server failed, in `error` or in what caused it."""
    network: tuple[type[BaseException], ...] = (
        ConnectionError,
        TimeoutError,
        socket.gaierror,
        ssl.SSLEOFError,
        *network_errors,
    )
    chain = list(_chain(error))
    if any(isinstance(link, ssl.SSLCertVerificationError) for link in chain):
        return False
    return any(
        isinstance(link, network)
        or (isinstance(link, OSError) and link.errno in _NETWORK_ERRNOS)
        or (status := _status(link)) >= 500
        or status in _TRY_LATER
        for link in chain
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__


def _status(error: BaseException) -> int:
    """The HTTP status that an error of one of the libraries has, 0 if it has none."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    elif response is not None:
        status = getattr(response, "status_code", None)
    else:
        status = getattr(error, "status", None) or getattr(error, "code", None)
    return int(status) if str(status).isdecimal() else 0


def below(path: str, root: str) -> str:
    """`path` relative to the folder `root`, or its last part where it is `root` itself."""
    path, root = path.strip("/"), root.strip("/")
    return path.rpartition("/")[2] if path == root else path.removeprefix(f"{root}/")


def _path_of(location: Location) -> str:
    return location.rest.rstrip("/")


def _checksum(info: Mapping[str, Any]) -> str:
    return str(next((info[key] for key in ("ETag", "etag", "md5Hash", "created") if info.get(key)), ""))
