"""The rights of operator and gateway are enough, and the API server's audit log shows that each is used."""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from controlplane import Api, ControlPlane, Request, find_programs, install_crds, open_crd, our_crds
from helm import render
from operatorprocess import Account, OperatorProcess

from pilotfish.crdgen.rbac import GATEWAY, OPERATOR, OPERATOR_HOME, Grant

Right = tuple[str, str, str]
"""API group, resource with its subresource, verb."""

RBAC = {"ServiceAccount", "ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"}


def rights(grants: Iterable[Grant]) -> set[Right]:
    return {(grant.group, resource, verb) for grant in grants for resource in grant.resources for verb in grant.verbs}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory, control_plane: ControlPlane) -> Iterator[ControlPlane]:
    """An API server of its own, that serves KubeRay's kind too."""
    del control_plane  # its fixture skips where there are no programs
    with ControlPlane(find_programs(), tmp_path_factory.mktemp("rights")) as plane:
        with plane.api() as api:
            install_crds(api, [*our_crds(), open_crd("ray.io", "v1", "RayService", "rayservices")])
        yield plane


def ours(kind: str, name: str, namespace: str, spec: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "pilotfish.dev/v1alpha1", "kind": kind, "metadata": metadata, "spec": spec}


def child(version: str, kind: str, pool: dict[str, Any]) -> dict[str, Any]:
    metadata = {"name": f"{pool['metadata']['name']}-pool", "namespace": pool["metadata"]["namespace"]}
    return {"apiVersion": version, "kind": kind, "metadata": metadata}


class Day:
    """What an operator meets in its life, once."""

    def __init__(self, api: Api, namespace: str) -> None:
        self._api, self._namespace = api, namespace

    def live(self) -> None:
        """Pools of every runtime; edits and deletions by hand; pools that become external."""
        self._make("AutoscalingPolicy", "follow", minReplicas=1, maxReplicas=2, signals=[_SIGNAL])
        self._make("ModelPool", "led", tier="Small", model=_MODEL, runtime="Deployment", **_FOLLOWS)
        self._make("AdaptationPlugin", "unknown", type="no-such-plugin")
        self._prepare()
        self._make("ModelRouter", "direct", strategy={"type": "Direct", "direct": {"poolRef": {"name": "one"}}})
        key = {"name": "keys", "key": "key"}
        external = {"baseURL": "http://127.0.0.1:9/v1", "model": "m", "apiKeySecretRef": key}
        self._make("ModelPool", "far", tier="Large", external=external)
        for name, version, runtime in (("one", "apps/v1", "Deployment"), ("two", "ray.io/v1", "RayService")):
            pool = self._make("ModelPool", name, tier="Small", model=_MODEL, runtime=runtime, replicas=1)
            runs = child(version, runtime, pool)
            made = [runs, child("networking.k8s.io/v1", "NetworkPolicy", pool)]
            # KubeRay makes the Service of its pools itself
            made += [child("v1", "Service", pool)] if runtime == "Deployment" else []
            self._mend(runs, {"metadata": {"labels": {"pilotfish.dev/pool": "other"}}})
            for each in made:
                self._mend(each, None)
            self._api.apply(ours("ModelPool", name, self._namespace, {"tier": "Small", "external": external}))
            for each in made:
                self._api.wait(f"{each['kind']} of {name} being deleted", lambda each=each: self._gone(each))

    def _prepare(self) -> None:
        """A plugin with documents; its Job is edited and deleted by hand, and the plugin's sources are removed."""
        terms = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "terms", "namespace": self._namespace}}
        self._api.create({**terms, "data": {"terms.csv": "term,definition"}})
        sources = [{"name": "terms", "configMapRef": {"name": "terms"}}]
        self._make("AdaptationPlugin", "terms", type="glossary", sources=sources)
        where = self._api.path_of("batch/v1", "Job", self._namespace)
        self._api.wait("a Job", lambda: bool(self._api.request("GET", where)["items"]))
        (job,) = self._api.request("GET", where)["items"]
        made = {"apiVersion": "batch/v1", "kind": "Job", "metadata": job["metadata"]}
        self._mend(made, {"metadata": {"labels": {"pilotfish.dev/plugin": "other"}}})
        self._mend(made, None)
        self._api.apply(ours("AdaptationPlugin", "terms", self._namespace, {"type": "glossary"}))
        self._api.wait("the Job being deleted", lambda: self._gone(made))

    def _make(self, kind: str, name: str, **spec: Any) -> dict[str, Any]:
        manifest = ours(kind, name, self._namespace, spec)
        self._api.apply(manifest)
        self._api.wait(f"a status of {kind} {name}", lambda: self._observed(manifest), seconds=60)
        return manifest

    def _mend(self, manifest: dict[str, Any], change: dict[str, Any] | None) -> None:
        """Edit (or, without a change, delete) an object by hand, and wait until it is as it was."""
        before = self._api.get(manifest)
        if change is None:
            self._api.delete(manifest)
        else:
            self._api.merge(manifest, change)

        def mended() -> bool:
            if self._gone(manifest):
                return False
            after = self._api.get(manifest)
            return bool(
                after["metadata"]["labels"] == before["metadata"]["labels"]
                and (change or after["metadata"]["uid"] != before["metadata"]["uid"])
            )

        self._api.wait(f"{manifest['kind']} {manifest['metadata']['name']} to be reverted", mended)

    def _observed(self, manifest: dict[str, Any]) -> bool:
        return "observedGeneration" in self._api.get(manifest).get("status", {})

    def _gone(self, manifest: dict[str, Any]) -> bool:
        metadata = manifest["metadata"]
        where = self._api.path_of(manifest["apiVersion"], manifest["kind"], metadata["namespace"])
        listed = self._api.request("GET", where)["items"]
        return metadata["name"] not in {each["metadata"]["name"] for each in listed}


_MODEL = {"uri": "package://weights/model.gguf"}
_FOLLOWS = {"autoscalingPolicyRef": {"name": "follow"}}
_SIGNAL = {"type": "OngoingRequests", "target": 8}


def test_rights_are_enough_and_every_one_is_used(plane: ControlPlane, tmp_path: Path) -> None:
    with plane.api() as api:
        account = Account.make(api)
        kubeconfig = plane.kubeconfig(tmp_path / "kubeconfig", token=account.token)
        prepared = {"PILOTFISH_PREPARED_CLAIM": "prepared"}
        with OperatorProcess(kubeconfig, account.namespace, tmp_path / "operator.log", **prepared) as operator:
            Day(api, api.namespace()).live()
            api.wait("the gateway's load being asked for", lambda: bool(used(plane, account.user, "endpointslices")))
            assert operator.stop() == 0, operator.words
    assert denied(plane, account.user) == []
    assert used(plane, account.user) == rights((*OPERATOR, *OPERATOR_HOME))


@pytest.mark.usefixtures("helm_program")
def test_the_gateways_rights_are_enough_and_every_one_is_used(plane: ControlPlane, tmp_path: Path) -> None:
    with plane.api() as api:
        home, served = api.namespace(), api.namespace()
        token = gateways_token(api, home)
        user = f"system:serviceaccount:{home}:pilotfish-gateway"
        external = {"baseURL": "http://127.0.0.1:9/v1", "model": "m", "apiKeySecretRef": {"name": "keys", "key": "key"}}
        api.create(ours("ModelPool", "far", served, {"tier": "Large", "external": external}))
        api.create(ours("ModelRouter", "picker", served, {"strategy": {"type": "Predictive", "predictive": _PICKS}}))
        kubeconfig = plane.kubeconfig(tmp_path / "kubeconfig", token=token)
        with gateway(kubeconfig, served, tmp_path / "gateway.log") as process:
            for named in ("secrets", "configmaps"):
                api.wait(f"{named} being read", lambda named=named: bool(used(plane, user, named)), seconds=60)
            assert process.poll() is None
    assert denied(plane, user) == []
    assert used(plane, user) == rights(GATEWAY)


@contextmanager
def gateway(kubeconfig: Path, namespace: str, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    """`pilotfish gateway` on a free port, for one namespace."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "PILOTFISH_PORT": "0"}
    environment["PILOTFISH_WATCH_NAMESPACES"] = namespace
    command = [sys.executable, "-c", "from pilotfish.cli.main import main; main()", "gateway"]
    with log.open("wb") as words, subprocess.Popen(command, env=environment, stdout=words, stderr=words) as process:
        try:
            yield process
        finally:
            process.terminate()


def gateways_token(api: Api, namespace: str) -> str:
    """The gateway's service account and roles as the chart makes them, and a token of the account."""
    for manifest in render(namespace=namespace):
        if manifest["kind"] in RBAC and "gateway" in manifest["metadata"]["name"]:
            manifest["metadata"].setdefault("namespace", namespace)
            if manifest["kind"].startswith("Cluster"):
                del manifest["metadata"]["namespace"]
            api.apply(manifest)
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": None}}
    path = f"/api/v1/namespaces/{namespace}/serviceaccounts/pilotfish-gateway/token"
    return str(api.request("POST", path, json=request)["status"]["token"])


_PICKS = {
    "scorer": {"name": "linear", "artifact": {"configMapRef": {"name": "learned", "key": "scorer.npz"}}},
    "candidates": [{"poolRef": {"name": "far"}, "thresholdPermille": 500}, {"poolRef": {"name": "far"}}],
}


def denied(plane: ControlPlane, user: str) -> list[Request]:
    return [each for each in plane.requests(user) if each.code == HTTPStatus.FORBIDDEN]


def used(plane: ControlPlane, user: str, only: str = "") -> set[Right]:
    """The rights that were used; to apply what is not there takes the right to create it, too."""
    return {
        (each.group, f"{each.resource}/{each.subresource}".rstrip("/"), verb)
        for each in plane.requests(user)
        if each.resource and only in each.resource
        for verb in ((each.verb, "create") if each.code == HTTPStatus.CREATED else (each.verb,))
    }
