"""Putting CRDs into an API server."""

from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import yaml

from controlplane.client import Api, Refused

OURS = Path(__file__).parents[3] / "crds"


def our_crds() -> list[dict[str, Any]]:
    """The CRDs of the four kinds, as committed."""
    return [yaml.safe_load(path.read_text()) for path in sorted(OURS.glob("*.yaml"))]


def open_crd(group: str, version: str, kind: str, plural: str) -> dict[str, Any]:
    """A CRD that takes any spec, in place of another operator's kind whose API must be present."""
    anything = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    schema = {"type": "object", "properties": {"spec": anything, "status": anything}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{plural}.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": kind, "plural": plural, "singular": kind.lower()},
            "versions": [{"name": version, "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}],
        },
    }


def install_crds(api: Api, crds: Iterable[Mapping[str, Any]]) -> None:
    """Apply the CRDs, and return when every kind is served."""
    for crd in crds:
        api.apply(crd)
        api.wait(f"{crd['metadata']['name']} being served", lambda crd=crd: _is_served(api, crd))


def _is_served(api: Api, crd: Mapping[str, Any]) -> bool:
    spec = crd["spec"]
    try:
        api.request("GET", f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}")
    except Refused as error:
        if error.status not in (HTTPStatus.NOT_FOUND, HTTPStatus.TOO_MANY_REQUESTS):
            raise
        return False
    return True
