"""A small client of an API server: JSON in, JSON out, and refusals with the server's message."""

import ssl
import time
from collections.abc import Callable, Mapping
from typing import Any, Self
from uuid import uuid4

import httpx

Manifest = Mapping[str, Any]


class Refused(Exception):
    """The API server said no."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status = status
        self.message = message


class Api:
    """Requests to one API server, as the administrator or as another user."""

    def __init__(self, url: str, token: str, context: ssl.SSLContext, *, user: str | None = None) -> None:
        headers = {"Authorization": f"Bearer {token}"} | ({"Impersonate-User": user} if user else {})
        self._http = httpx.Client(base_url=url, verify=context, headers=headers, timeout=60, trust_env=False)
        self._plurals: dict[tuple[str, str], tuple[str, bool]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> Any:
        """One request; the answer's JSON (its text where it is none). Raises Refused."""
        response = self._http.request(method, path, **options)
        is_json = response.headers.get("content-type", "").startswith("application/json")
        body = response.json() if is_json else response.text
        if not response.is_success:
            raise Refused(response.status_code, body.get("message", "") if isinstance(body, dict) else body)
        return body

    def path(self, manifest: Manifest, *, named: bool = True) -> str:
        """The address of an object, or of the collection that it belongs to."""
        metadata = manifest["metadata"]
        return self.path_of(
            manifest["apiVersion"], manifest["kind"], metadata.get("namespace"), metadata["name"] if named else None
        )

    def path_of(self, version: str, kind: str, namespace: str | None = None, name: str | None = None) -> str:
        """The address of a collection or, with `name`, of an object in it."""
        root = f"/apis/{version}" if "/" in version else f"/api/{version}"
        plural, namespaced = self._plural(root, kind)
        where = f"/namespaces/{namespace or 'default'}" if namespaced else ""
        return f"{root}{where}/{plural}" + (f"/{name}" if name else "")

    def create(self, manifest: Manifest, *, dry_run: bool = False) -> Any:
        """Create an object; unknown fields are refused."""
        return self.request("POST", self.path(manifest, named=False), json=manifest, params=_options(dry_run=dry_run))

    def apply(self, manifest: Manifest, *, manager: str = "test", dry_run: bool = False, sub: str = "") -> Any:
        """Server-side apply, with force; `sub` names a subresource such as `/status`."""
        params = {"fieldManager": manager, "force": "true"} | _options(dry_run=dry_run)
        headers = {"Content-Type": "application/apply-patch+yaml"}
        return self.request("PATCH", self.path(manifest) + sub, json=manifest, params=params, headers=headers)

    def merge(self, manifest: Manifest, change: Manifest, *, sub: str = "") -> Any:
        """Change an object by a JSON merge patch."""
        headers = {"Content-Type": "application/merge-patch+json"}
        return self.request("PATCH", self.path(manifest) + sub, json=change, headers=headers, params=_options())

    def get(self, manifest: Manifest, *, sub: str = "") -> Any:
        """Read an object."""
        return self.request("GET", self.path(manifest) + sub)

    def delete(self, manifest: Manifest) -> Any:
        """Delete an object. What it owns goes later, as with kubectl: a Job would wait until it owns nothing."""
        return self.request("DELETE", self.path(manifest), params={"propagationPolicy": "Background"})

    def namespace(self) -> str:
        """Create a namespace with a new name, and return the name."""
        name = f"test-{uuid4().hex[:12]}"
        self.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        return name

    def wait(self, what: str, condition: Callable[[], bool], *, seconds: float = 30) -> None:
        """Poll until `condition` holds; AssertionError that names `what` when it never does."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come true in {seconds} s"
            time.sleep(0.05)

    def _plural(self, root: str, kind: str) -> tuple[str, bool]:
        if (root, kind) not in self._plurals:
            for entry in self.request("GET", root)["resources"]:
                if "/" not in entry["name"]:
                    self._plurals[root, entry["kind"]] = (entry["name"], entry["namespaced"])
        return self._plurals[root, kind]


def _options(*, dry_run: bool = False) -> dict[str, str]:
    return {"fieldValidation": "Strict"} | ({"dryRun": "All"} if dry_run else {})
