"""What the chart makes: who may do what, who may talk to whom, and what is left out when it would hurt."""

import base64
import inspect
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from helm import CHART, KUBERNETES, find_helm, pick, render

import pilotfish.settings
from pilotfish.crdgen import rbac


@pytest.fixture(scope="module")
def plain() -> list[dict[str, Any]]:
    """The chart with its own values, and the webhook."""
    return render(values={"webhook": {"enabled": True}})


def test_every_variable_that_is_set_is_read(plain: list[dict[str, Any]]) -> None:
    settings = Path(inspect.getfile(pilotfish.settings)).read_text()
    for component in ("gateway", "operator"):
        (container,) = pick(plain, "Deployment", f"pilotfish-{component}")["spec"]["template"]["spec"]["containers"]
        names = {each["name"] for each in container["env"]}
        assert {name for name in names if f'"{name}"' not in settings} == set()


def test_accelerators_without_a_value_are_none() -> None:
    emptied = pick(render(values={"pools": {"accelerators": None}}), "Deployment", "pilotfish-operator")
    (container,) = emptied["spec"]["template"]["spec"]["containers"]
    assert {"name": "PILOTFISH_ACCELERATORS", "value": "{}"} in container["env"]


def test_lint_finds_nothing() -> None:
    command = [find_helm(), "lint", "--strict", "--kube-version", KUBERNETES, CHART]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("role", ["operator", "gateway", "webhook", "viewer", "editor"])
def test_a_role_is_its_table(plain: list[dict[str, Any]], role: str) -> None:
    rules = pick(plain, "ClusterRole", f"pilotfish-{role}")["rules"]
    assert [(r["apiGroups"], r["resources"], r["verbs"]) for r in rules] == [
        ([g.group], list(g.resources), list(g.verbs)) for g in rbac.ROLES[role]
    ]


def test_an_operator_is_asked_whether_it_watches_not_only_whether_it_lives(plain: list[dict[str, Any]]) -> None:
    (container,) = pick(plain, "Deployment", "pilotfish-operator")["spec"]["template"]["spec"]["containers"]
    probes = (container["livenessProbe"], container["readinessProbe"])
    assert [probe["httpGet"]["path"] for probe in probes] == ["/healthz", "/readyz"]


def test_no_role_has_a_wildcard_or_reaches_into_pods(plain: list[dict[str, Any]]) -> None:
    rules = [rule for each in plain if each["kind"] in {"Role", "ClusterRole"} for rule in each["rules"]]
    assert rules
    for rule in rules:
        assert "*" not in rule["apiGroups"] + rule["resources"] + rule["verbs"]
        assert not {"pods/exec", "pods/portforward", "nodes", "namespaces"} & set(rule["resources"])


def test_gateway_and_webhook_write_nothing() -> None:
    assert {verb for grant in rbac.GATEWAY + rbac.WEBHOOK for verb in grant.verbs} <= {"get", "list", "watch"}


def test_a_self_made_certificate_is_the_one_that_the_api_server_trusts(plain: list[dict[str, Any]]) -> None:
    secret = pick(plain, "Secret", "pilotfish-webhook-certificate")["data"]
    (hook,) = pick(plain, "ValidatingWebhookConfiguration", "pilotfish-webhook")["webhooks"]
    assert hook["clientConfig"]["caBundle"] == secret["ca.crt"]
    certificate, authority = (
        x509.load_pem_x509_certificate(base64.b64decode(secret[f"{k}.crt"])) for k in ("tls", "ca")
    )
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["pilotfish-webhook.pilotfish-system.svc"]
    assert hook["failurePolicy"] == "Ignore"


def test_with_namespaces_no_right_reaches_beyond_them() -> None:
    made = render(values={"watchNamespaces": ["a", "b"]})
    assert not [each for each in made if each["kind"] == "ClusterRoleBinding"]
    bound = [each for each in made if each["kind"] == "RoleBinding" and each["roleRef"]["kind"] == "ClusterRole"]
    assert sorted((each["metadata"]["namespace"], each["roleRef"]["name"]) for each in bound) == [
        (namespace, f"pilotfish-{component}") for namespace in ("a", "b") for component in ("gateway", "operator")
    ]


@pytest.mark.parametrize(("replicas", "budgets"), [(1, 0), (2, 1)])
def test_one_replica_has_no_disruption_budget(replicas: int, budgets: int) -> None:
    made = render(values={"gateway": {"replicas": replicas}})
    assert len([each for each in made if each["kind"] == "PodDisruptionBudget"]) == budgets


def test_an_autoscaled_gateway_says_no_number_of_replicas() -> None:
    made = render(values={"gateway": {"autoscaling": {"enabled": True, "minReplicas": 3}}})
    assert "replicas" not in pick(made, "Deployment", "pilotfish-gateway")["spec"]
    assert pick(made, "HorizontalPodAutoscaler", "pilotfish-gateway")["spec"]["minReplicas"] == 3


def test_gateways_read_what_jobs_prepare_where_there_is_a_claim(plain: list[dict[str, Any]]) -> None:
    def parts(made: list[dict[str, Any]], component: str) -> tuple[dict[str, Any], dict[str, Any]]:
        pod = pick(made, "Deployment", f"pilotfish-{component}")["spec"]["template"]["spec"]
        return pod, {each["name"]: each.get("value") for each in pod["containers"][0]["env"]}

    made = render(values={"prepared": {"claim": "shared"}})
    pod, environment = parts(made, "gateway")
    volume = next(each for each in pod["volumes"] if each["name"] == "prepared")
    assert volume["persistentVolumeClaim"] == {"claimName": "shared", "readOnly": True}
    mount = {"name": "prepared", "mountPath": environment["PILOTFISH_PREPARED"], "readOnly": True}
    assert mount in pod["containers"][0]["volumeMounts"]
    environment = parts(made, "operator")[1]
    assert environment["PILOTFISH_PREPARED_CLAIM"] == "shared"
    assert environment["PILOTFISH_IMAGE"].startswith("pilotfish/operator:")
    own = parts(render(values={"prepared": {"image": "own/image:1"}}), "operator")[1]
    assert own["PILOTFISH_IMAGE"] == "own/image:1"
    pod, environment = parts(plain, "gateway")
    assert "PILOTFISH_PREPARED" not in environment
    assert [each["name"] for each in pod["volumes"]] == ["tmp"]
    assert parts(plain, "operator")[1]["PILOTFISH_PREPARED_CLAIM"] == ""


def test_crds_are_kept_or_left_out_as_said() -> None:
    def crds(**values: bool) -> list[dict[str, Any]]:
        return [each for each in render(values={"crds": values}) if each["kind"] == "CustomResourceDefinition"]

    assert len(crds()) == 4
    assert all(each["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep" for each in crds())
    assert not any("annotations" in each["metadata"] for each in crds(keep=False))
    assert crds(enabled=False) == []


def test_link_local_addresses_are_never_reached(plain: list[dict[str, Any]]) -> None:
    for component in ("gateway", "operator"):
        egress = pick(plain, "NetworkPolicy", f"pilotfish-{component}")["spec"]["egress"]
        blocks = [peer["ipBlock"] for rule in egress for peer in rule.get("to", []) if "ipBlock" in peer]
        assert blocks == [{"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}]


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "pilotfish/operator:{version}"),
        ({"registry": "registry.example:5000", "tag": "dev"}, "registry.example:5000/pilotfish/operator:dev"),
        ({"tag": "dev", "digest": "sha256:" + "a" * 64}, "pilotfish/operator@sha256:" + "a" * 64),
    ],
    ids=["version", "tag", "digest"],
)
def test_an_image_is_named_by_digest_tag_or_the_charts_version(image: dict[str, str], reference: str) -> None:
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    made = render(values={"image": image})
    for component in ("gateway", "operator"):
        (container,) = pick(made, "Deployment", f"pilotfish-{component}")["spec"]["template"]["spec"]["containers"]
        assert container["image"] == reference.format(version=version)


def test_the_charts_version_is_the_packages() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert chart["version"] == chart["appVersion"] == pilotfish.__version__


def test_extra_plugins_are_installed_for_every_process_that_loads_plugins() -> None:
    volume = {"persistentVolumeClaim": {"claimName": "ours", "readOnly": True}}
    manifests = render(values={"webhook": {"enabled": True}, "plugins": {"extra": {"volume": volume}}})
    for component in ("operator", "gateway", "webhook"):
        pod = pick(manifests, "Deployment", f"pilotfish-{component}")["spec"]["template"]["spec"]
        (init,), (container,) = pod["initContainers"], pod["containers"]
        assert init["image"] == container["image"]
        assert init["securityContext"] == container["securityContext"]
        assert {"name": "PYTHONPATH", "value": "/plugins"} in container["env"]
        volumes = {each["name"]: each for each in pod["volumes"]}
        assert volumes["wheels"] == {"name": "wheels", **volume}
        for each in (init, container):
            assert {mount["name"] for mount in each["volumeMounts"]} <= set(volumes)


def test_without_extra_plugins_there_is_no_init_container(plain: list[dict[str, Any]]) -> None:
    for component in ("operator", "gateway", "webhook"):
        assert "initContainers" not in pick(plain, "Deployment", f"pilotfish-{component}")["spec"]["template"]["spec"]
