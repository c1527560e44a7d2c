"""The API server over HTTP: the few verbs that are used, errors mapped, nothing cached."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Self
from urllib.parse import quote

import aiohttp
import orjson

from pilotfish.kube.credentials import Credentials
from pilotfish.kube.errors import Conflict, KubeError, NotFound, Unavailable, error_of
from pilotfish.render.labels import FIELD_MANAGER
from pilotfish.render.resources import ResourceType

JSON = dict[str, Any]

_TIMEOUT = aiohttp.ClientTimeout(total=30, connect=5)
_WATCH_SECONDS = 290
_PAGE = 500
_LINE_LIMIT = 8 * 1024 * 1024
_METADATA_ALONE = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_APPLY = {"fieldManager": FIELD_MANAGER, "force": "true"}


class KubeClient:
    """Asynchronous access to one API server. Every method raises KubeError; see `kube.errors` for which."""

    def __init__(self, credentials: Credentials) -> None:
        self._credentials = credentials
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        context = self._credentials.ssl_context()
        connector = aiohttp.TCPConnector(ssl=context if context is not None else True, limit=64)
        self._session = aiohttp.ClientSession(
            self._credentials.server, connector=connector, timeout=_TIMEOUT, read_bufsize=_LINE_LIMIT
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session is not None:
            await self._session.close()

    async def get(self, resource: ResourceType, namespace: str | None, name: str) -> JSON:
        """One object."""
        return await self._request("GET", resource.path(namespace, quote(name)))

    async def find(self, resource: ResourceType, namespace: str | None, name: str) -> JSON | None:
        """One object, None if there is none."""
        try:
            return await self.get(resource, namespace, name)
        except NotFound:
            return None

    async def list(
        self, resource: ResourceType, namespace: str | None = None, *, labels: str = ""
    ) -> tuple[list[JSON], str]:
        """All objects that match the selectors, and the resource version to watch from."""
        items: list[JSON] = []
        query = _selector(labels) | {"limit": str(_PAGE)}
        while True:
            page = await self._request("GET", resource.path(namespace), query)
            items += (
                {"apiVersion": resource.api_version, "kind": resource.kind, **item} for item in page["items"] or []
            )
            onward = page["metadata"].get("continue")
            if not onward:
                return items, page["metadata"]["resourceVersion"]
            query = query | {"continue": onward}

    async def uids(self, resource: ResourceType, namespace: str | None = None, *, labels: str = "") -> set[str]:
        """The uids of all objects that match the selectors, without the objects."""
        found: set[str] = set()
        query = _selector(labels) | {"limit": str(_PAGE)}
        while True:
            page = await self._request("GET", resource.path(namespace), query, accept=_METADATA_ALONE)
            found |= {item["metadata"]["uid"] for item in page["items"] or []}
            onward = page["metadata"].get("continue")
            if not onward:
                return found
            query = query | {"continue": onward}

    async def watch(
        self, resource: ResourceType, version: str, namespace: str | None = None, *, labels: str = ""
    ) -> AsyncIterator[tuple[str, JSON]]:
        """Changes after `version`: (ADDED, MODIFIED, DELETED or BOOKMARK, object), until the API server ends the watch.

        Raises Gone when `version` is too old.
        """
        query = _selector(labels) | {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": str(_WATCH_SECONDS),
        }
        path = resource.path(namespace)
        timeout = aiohttp.ClientTimeout(total=None, connect=5, sock_read=_WATCH_SECONDS + 30)
        try:
            async with self._open.get(
                path, params=query, headers=self._credentials.headers(), timeout=timeout
            ) as response:
                if response.status >= 400:
                    raise error_of(response.status, await response.read(), f"watch {path}")
                async for line in response.content:
                    event = orjson.loads(line)
                    if event["type"] == "ERROR":
                        status = event["object"]
                        raise error_of(status.get("code", 500), orjson.dumps(status), f"watch {path}")
                    yield event["type"], event["object"]
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise Unavailable(f"watch {path}: {type(error).__name__}: {error}") from error

    async def apply(self, resource: ResourceType, manifest: Mapping[str, Any]) -> JSON:
        """Server-side apply as our field manager. Overwrites our fields if another manager changed them."""
        metadata = manifest["metadata"]
        return await self._patch(resource.path(metadata.get("namespace"), metadata["name"]), manifest)

    async def merge(self, resource: ResourceType, manifest: Mapping[str, Any]) -> JSON:
        """JSON merge patch; lists are replaced. Raises Conflict if the resource version of `manifest` is old."""
        metadata = manifest["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        manager = {"fieldManager": FIELD_MANAGER}
        return await self._request("PATCH", path, manager, manifest, content_type="application/merge-patch+json")

    async def apply_status(self, resource: ResourceType, manifest: Mapping[str, Any]) -> JSON:
        """Server-side apply of the status only. Raises NotFound if the object was deleted."""
        metadata = manifest["metadata"]
        return await self._patch(resource.path(metadata.get("namespace"), metadata["name"], "status"), manifest)

    async def create(self, resource: ResourceType, manifest: Mapping[str, Any]) -> JSON:
        """Create an object. Raises Conflict if the name exists."""
        path = resource.path(manifest["metadata"].get("namespace"))
        return await self._request("POST", path, {"fieldManager": FIELD_MANAGER}, manifest)

    async def replace(self, resource: ResourceType, manifest: Mapping[str, Any]) -> JSON:
        """Replace an object. Raises Conflict if its resource version is not that of `manifest`."""
        metadata = manifest["metadata"]
        path = resource.path(metadata.get("namespace"), metadata["name"])
        return await self._request("PUT", path, {"fieldManager": FIELD_MANAGER}, manifest)

    async def delete(self, resource: ResourceType, namespace: str | None, name: str, *, uid: str | None = None) -> None:
        """Delete the object with `uid`. No error if it does not exist."""
        options: JSON = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        if uid:
            options["preconditions"] = {"uid": uid}
        try:
            await self._request("DELETE", resource.path(namespace, name), None, options)
        except (NotFound, Conflict):
            return

    async def serves(self, resource: ResourceType) -> bool:
        """Whether the API server knows the kind."""
        try:
            listed = await self._request("GET", f"/apis/{resource.api_version}")
        except NotFound:
            return False
        return any(entry["name"] == resource.plural for entry in listed.get("resources", []))

    async def _patch(self, path: str, manifest: Mapping[str, Any]) -> JSON:
        return await self._request("PATCH", path, _APPLY, manifest, content_type="application/apply-patch+yaml")

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, Any] | None = None,
        *,
        content_type: str = "application/json",
        accept: str = "application/json",
    ) -> JSON:
        headers = {"Content-Type": content_type, "Accept": accept, **self._credentials.headers()}
        data = orjson.dumps(body) if body is not None else None
        what = f"{method} {path}"
        try:
            async with self._open.request(method, path, params=query, data=data, headers=headers) as response:
                content = await response.read()
                if response.status >= 400:
                    raise error_of(response.status, content, what)
                answer: JSON = orjson.loads(content)
                return answer
        except (aiohttp.ClientError, TimeoutError, asyncio.IncompleteReadError, ValueError) as error:
            raise Unavailable(f"{what}: {type(error).__name__}: {error}") from error

    @property
    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise KubeError("the client is not open")
        return self._session


def _selector(labels: str) -> dict[str, str]:
    return {"labelSelector": labels} if labels else {}
