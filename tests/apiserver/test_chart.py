"""The chart on a real API server: installed, within its rights, restricted, and gone without a trace."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from controlplane import Api, ControlPlane, Refused
from helm import CHART, pick, render

RELEASE = "pilotfish"
pytestmark = pytest.mark.usefixtures("helm_program")


class Helm:
    """Helm against one API server and one namespace."""

    def __init__(self, program: Path, kubeconfig: Path, namespace: str) -> None:
        self._program = program
        self._environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "HELM_NAMESPACE": namespace}

    def __call__(self, *arguments: str) -> str:
        command = [self._program, *arguments]
        done = subprocess.run(command, env=self._environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def helm(helm_program: Path, control_plane: ControlPlane, namespace: str, tmp_path: Path) -> Helm:
    """Helm in a namespace of the test's own."""
    return Helm(helm_program, control_plane.kubeconfig(tmp_path / "kubeconfig"), namespace)


@pytest.fixture
def notes(helm: Helm) -> Iterator[str]:
    """The chart installed, and what Helm says to the one who did; uninstalled afterwards."""
    # the CRDs are the session's, so that this release must not own them
    yield helm("install", RELEASE, str(CHART), "--set", "crds.enabled=false")
    helm("uninstall", RELEASE, "--ignore-not-found")


def may(control_plane: ControlPlane, account: str, namespace: str, method: str, path: str) -> bool:
    """Whether a service account's request is let through by RBAC; it is not carried out."""
    group, _, rest = path.rpartition(":")
    resource, _, subresource = rest.partition("/")
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "metadata": {"name": ""},
        "spec": {
            "user": f"system:serviceaccount:{account}",
            "resourceAttributes": {
                "namespace": namespace,
                "verb": method,
                "group": group,
                "resource": resource,
                "subresource": subresource,
            },
        },
    }
    with control_plane.api() as api:
        answer = api.request("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", json=review)
    return bool(answer["status"]["allowed"])


@pytest.mark.parametrize(
    "values",
    [
        {},
        {
            "commonLabels": {"team": "a"},
            "gateway": {
                "autoscaling": {"enabled": True},
                "apiKeysSecret": {"name": "keys"},
                "nodeSelector": {"a": "b"},
                "tolerations": [{"key": "a", "operator": "Exists"}],
            },
            "imagePullSecrets": ["registry"],
            "networkPolicy": {"gatewayFrom": [{"namespaceSelector": {}}], "metricsFrom": [{"podSelector": {}}]},
            "telemetry": {"otlpEndpoint": "https://collector.example"},
            "watchNamespaces": ["default"],
            "webhook": {"enabled": True},
        },
    ],
    ids=["plain", "everything"],
)
def test_every_object_is_accepted_to_its_last_field(api: Api, namespace: str, values: dict[str, Any]) -> None:
    for manifest in render(values=values, namespace=namespace):
        if manifest["kind"] not in {"ClusterRole", "ClusterRoleBinding", "CustomResourceDefinition"}:
            manifest["metadata"].setdefault("namespace", namespace)
        api.apply(manifest, dry_run=True)


def test_an_installation_says_the_next_command(notes: str, namespace: str) -> None:
    assert f"kubectl -n {namespace} rollout status deployment/pilotfish-gateway" in notes
    assert "kubectl apply -f examples/quickstart" in notes
    assert f"http://pilotfish-gateway.{namespace}.svc/v1" in notes


@pytest.mark.usefixtures("notes")
def test_accounts_have_their_rights_and_no_others(control_plane: ControlPlane, namespace: str) -> None:
    operator, gateway = (f"{namespace}:pilotfish-{component}" for component in ("operator", "gateway"))

    def check(account: str, where: str, what: str) -> bool:
        verb, _, path = what.partition(" ")
        return may(control_plane, account, where, verb, path)

    for allowed in (
        "watch pilotfish.dev:modelpools",
        "patch pilotfish.dev:modelpools/status",
        "create apps:deployments",
    ):
        assert check(operator, "default", allowed), allowed
    for denied in ("update pilotfish.dev:modelpools", "list :secrets", "create :pods", "patch apps:daemonsets"):
        assert not check(operator, "default", denied), denied
    assert check(operator, namespace, "update coordination.k8s.io:leases")
    assert not check(operator, "default", "update coordination.k8s.io:leases")
    assert check(gateway, "default", "watch pilotfish.dev:modelrouters")
    assert check(gateway, "default", "get :secrets")
    for denied in ("list :secrets", "patch pilotfish.dev:modelrouters/status", "create apps:deployments"):
        assert not check(gateway, "default", denied), denied


def test_with_namespaces_nothing_is_seen_elsewhere(helm: Helm, control_plane: ControlPlane, namespace: str) -> None:
    values = ["--set", "crds.enabled=false", "--set", f"watchNamespaces={{{namespace}}}"]
    helm("install", RELEASE, str(CHART), *values)
    try:
        for component, what in (("operator", "create apps:deployments"), ("gateway", "get :secrets")):
            verb, _, path = what.partition(" ")
            account = f"{namespace}:pilotfish-{component}"
            assert may(control_plane, account, namespace, verb, path)
            assert not may(control_plane, account, "default", verb, path)
    finally:
        helm("uninstall", RELEASE)


@pytest.mark.parametrize("component", ["operator", "gateway", "webhook"])
def test_pods_pass_the_restricted_standard(api: Api, namespace: str, component: str) -> None:
    label = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}
    api.merge({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}, label)
    template = pick(render(values={"webhook": {"enabled": True}}), "Deployment", f"pilotfish-{component}")["spec"][
        "template"
    ]
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": component, "namespace": namespace, "labels": template["metadata"]["labels"]},
        "spec": template["spec"],
    }
    api.create(pod, dry_run=True)
    loosened: dict[str, Any] = {**pod["spec"], "securityContext": {}}
    with pytest.raises(Refused, match="restricted"):
        api.create({**pod, "spec": loosened}, dry_run=True)


@pytest.mark.usefixtures("notes")
def test_nothing_is_left_of_an_uninstalled_release(helm: Helm, api: Api, namespace: str) -> None:
    helm("uninstall", RELEASE)
    mine = {"params": {"labelSelector": "app.kubernetes.io/part-of=pilotfish"}}
    for version, kinds in {
        "apps/v1": ["Deployment"],
        "v1": ["Service", "ServiceAccount"],
        "networking.k8s.io/v1": ["NetworkPolicy"],
        "policy/v1": ["PodDisruptionBudget"],
        "rbac.authorization.k8s.io/v1": ["Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"],
    }.items():
        for kind in kinds:
            assert api.request("GET", api.path_of(version, kind, namespace), **mine)["items"] == [], kind
