"""Ray's dashboard, where Serve applications are deployed and their state is read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from pilotfish.base.errors import RuntimeFailure, Unavailable
from pilotfish.reconcile.engine_reason import exception_in

APPLICATIONS = "/api/serve/applications/"
_LONGEST = 400
"""Characters of a reason."""


@dataclass(frozen=True, slots=True)
class Replica:
    """One replica: Serve's state of it (STARTING, RUNNING, STOPPING …) and where it is."""

    replica_id: str
    state: str
    pid: int | None
    worker_id: str | None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment of an application: Serve's status of it (HEALTHY, UPDATING, UNHEALTHY …) and words."""

    name: str
    status: str
    message: str
    replicas: tuple[Replica, ...]
    dead: tuple[Replica, ...]

    @property
    def running(self) -> int:
        """Replicas that run."""
        return sum(replica.state == "RUNNING" for replica in self.replicas)


@dataclass(frozen=True, slots=True)
class Application:
    """One application: Serve's status of it (DEPLOYING, RUNNING, DEPLOY_FAILED, UNHEALTHY, DELETING …) and words."""

    name: str
    status: str
    message: str
    deployments: Mapping[str, Deployment]


class RayDashboard:
    """A client of one Ray's dashboard. `token` is Ray's, where it asks for one."""

    def __init__(self, http: aiohttp.ClientSession, url: str, token: str | None = None) -> None:
        self._http = http
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def applications(self) -> dict[str, Application]:
        """Every application by its name. Raises Unavailable when Ray does not answer."""
        details = orjson.loads(await self._request("GET"))
        return {name: _application(name, value) for name, value in details.get("applications", {}).items()}

    async def deploy(
        self, applications: Sequence[Mapping[str, Any]], *, http_options: Mapping[str, Any], proxies: str
    ) -> None:
        """Make these the applications, all of them: others go, those that did not change are left alone.

        Raises RuntimeFailure with Serve's reason when it refuses them, Unavailable when it does not answer or fails.
        """
        body = {"proxy_location": proxies, "http_options": dict(http_options), "applications": list(applications)}
        await self._request("PUT", orjson.dumps(body))

    async def _request(self, method: str, body: bytes | None = None) -> bytes:
        headers = {**self._headers, "Content-Type": "application/json"} if body else self._headers
        try:
            async with self._http.request(method, self._url + APPLICATIONS, data=body, headers=headers) as answer:
                content = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(
                f"Ray's dashboard at {self._url} does not answer: {error or type(error).__name__}"
            ) from error
        if answer.status == 200:
            return content
        text = content.decode(errors="replace").strip()
        lines = text.splitlines() or ["no reason given"]
        reason = (
            f"Ray's dashboard at {self._url} answered {answer.status}: {exception_in(text) or lines[-1][:_LONGEST]}"
        )
        if answer.status >= 500:
            raise Unavailable(reason, text)
        raise RuntimeFailure(reason)


def _application(name: str, value: Mapping[str, Any]) -> Application:
    deployments = {key: _deployment(key, entry) for key, entry in value.get("deployments", {}).items()}
    return Application(name, value["status"], value.get("message", ""), deployments)


def _deployment(name: str, value: Mapping[str, Any]) -> Deployment:
    return Deployment(
        name,
        value["status"],
        value.get("message", ""),
        tuple(_replica(entry) for entry in value.get("replicas", ())),
        tuple(_replica(entry) for entry in value.get("recent_dead_replicas", ())),
    )


def _replica(value: Mapping[str, Any]) -> Replica:
    return Replica(value["replica_id"], value["state"], value.get("pid"), value.get("worker_id"))
