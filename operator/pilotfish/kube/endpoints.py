"""Addresses behind Services, from EndpointSlices."""

from collections.abc import Iterable, Mapping
from typing import Any

from pilotfish.kube.client import KubeClient
from pilotfish.render.resources import ENDPOINT_SLICES

SERVICE_LABEL = "kubernetes.io/service-name"


async def addresses(client: KubeClient, namespace: str, service: str, port: str) -> tuple[str, ...]:
    """`host:port` of each ready endpoint of a Service's port of that name. Raises KubeError."""
    slices, _ = await client.list(ENDPOINT_SLICES, namespace, labels=f"{SERVICE_LABEL}={service}")
    return ready_addresses(slices, port)


def ready_addresses(slices: Iterable[Mapping[str, Any]], port: str) -> tuple[str, ...]:
    """`host:port` of each ready endpoint for the port of that name, sorted, without duplicates."""
    found = set()
    for piece in slices:
        numbers = [entry["port"] for entry in piece.get("ports") or [] if entry.get("name") == port]
        for endpoint in piece.get("endpoints") or []:
            if endpoint.get("conditions", {}).get("ready", True):
                found |= {_join(host, number) for host in endpoint["addresses"] for number in numbers}
    return tuple(sorted(found))


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
