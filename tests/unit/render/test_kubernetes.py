"""What is made of a pool, as Kubernetes would take it: security, sizes, secrets, placement."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from resource_builders import a_context, a_pool

from pilotfish.render import labels
from pilotfish.render.deployment import APPLICATION_VARIABLE, deployment
from pilotfish.render.netpol import network_policy
from pilotfish.render.rayservice import rayservice

APPLICATION = {"name": "small", "args": {}}


def made(pool, **render):
    return deployment(pool, a_context(**render).render, APPLICATION, 2)


def pod(pool, **render):
    return made(pool, **render)[0]["spec"]["template"]["spec"]


def containers(spec):
    return [*spec["initContainers"], *spec["containers"]]


SECRET = {"name": "token", "key": "value"}
RICH = {
    "model": {"uri": "hf://org/model", "revision": "main", "credentialsSecretRef": SECRET},
    "engine": {
        "tensorParallelSize": 4,
        "speculative": {"type": "DraftModel", "draftModel": {"uri": "pvc://drafts/small"}, "tokens": 4},
    },
    "accelerator": {"type": "nvidia-h100", "count": 4},
    "adapters": [{"name": "legal", "model": {"uri": "s3://models/legal"}}],
    "pod": {
        "labels": {"team": "a", labels.POOL_LABEL: "another"},
        "nodeSelector": {"pool": "gpu"},
        "serviceAccountName": "reader",
        "env": [{"name": "PLAIN", "value": "1"}, {"name": "HIDDEN", "secretKeyRef": SECRET}],
    },
}


@pytest.mark.parametrize("pool", [a_pool(), a_pool(**RICH)])
def test_pods_keep_to_the_restricted_standard(pool):
    spec = pod(pool)
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)
    for container in containers(spec):
        security = container["securityContext"]
        assert security["allowPrivilegeEscalation"] is False
        assert security["capabilities"] == {"drop": ["ALL"]}
        assert security["readOnlyRootFilesystem"] is True
    kinds = {next(key for key in volume if key != "name") for volume in spec["volumes"]}
    assert kinds <= {"emptyDir", "persistentVolumeClaim"}
    mounted = {mount["name"] for container in containers(spec) for mount in container["volumeMounts"]}
    assert mounted <= {volume["name"] for volume in spec["volumes"]}


def test_an_accelerator_is_asked_for_tolerated_and_given_room():
    spec = pod(a_pool(**RICH))
    resources = spec["containers"][0]["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "4"
    assert spec["tolerations"] == [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    assert spec["nodeSelector"] == {"pool": "gpu"}
    assert next(v for v in spec["volumes"] if v["name"] == "shm")["emptyDir"]["medium"] == "Memory"
    assert "nvidia.com/gpu" not in str(spec["initContainers"])


def test_defaults_yield_to_what_is_asked_for_and_to_limits():
    def asked(**resources):
        return pod(a_pool(resources=resources))["containers"][0]["resources"]

    assert asked(limits={"cpu": "900m"}) == {"requests": {"memory": "4Gi"}, "limits": {"cpu": "900m"}}
    assert asked(requests={"cpu": "2"}) == {"requests": {"cpu": "2", "memory": "4Gi"}}


def test_weights_are_fetched_each_by_a_container_that_knows_its_secret_by_name_alone():
    fetches = {container["name"]: container for container in pod(a_pool(**RICH))["initContainers"]}
    assert set(fetches) == {"fetch-model", "fetch-draft", "fetch-adapters-legal"}
    command = fetches["fetch-model"]["command"]
    assert command[:2] == ["pilotfish", "fetch"]
    assert command[command.index("--uri") + 1] == "hf://org/model"
    assert command[command.index("--revision") + 1] == "main"
    assert {"name": "PILOTFISH_REVISION_FILE", "value": "/dev/termination-log"} in fetches["fetch-model"]["env"]
    reference = {"name": "PILOTFISH_CREDENTIAL", "valueFrom": {"secretKeyRef": SECRET}}
    assert reference in fetches["fetch-model"]["env"]
    assert "--volume" in fetches["fetch-draft"]["command"]
    assert reference not in fetches["fetch-draft"]["env"]


def test_models_of_logits_plugins_are_fetched_to_folders_of_their_own():
    models = [{"role": "expert", "model": {"uri": "pvc://weights/expert"}}, {"role": "anti", "model": {"uri": "a://b"}}]
    pool = a_pool(logits=[{"pluginRef": {"name": "house.style"}}, {"pluginRef": {"name": "p"}, "models": models}])
    spec = pod(pool)
    commands = {each["name"]: each["command"] for each in spec["initContainers"]}
    assert set(commands) == {"fetch-model", "fetch-logits-1-expert", "fetch-logits-1-anti"}
    command = commands["fetch-logits-1-expert"]
    assert command[command.index("--to") + 1] == "/models/logits/1/expert"
    assert "weights=/volumes/weights" in command
    assert "weights" in json.dumps(spec["volumes"])


def test_what_a_user_says_of_pods_cannot_take_our_labels_away():
    template = made(a_pool(**RICH))[0]["spec"]["template"]
    assert template["metadata"]["labels"]["team"] == "a"
    assert template["metadata"]["labels"][labels.POOL_LABEL] == "small"


@given(st.integers(0, 50), st.integers(0, 50))
def test_replicas_are_no_part_of_the_revision(few, many):
    one = deployment(a_pool(), a_context().render, APPLICATION, few)
    two = deployment(a_pool(), a_context().render, APPLICATION, many)
    assert one[1] == two[1]
    assert one[0]["spec"]["template"] == two[0]["spec"]["template"]


def test_what_a_pod_runs_is_its_revision():
    before, after = made(a_pool()), deployment(a_pool(), a_context().render, APPLICATION | {"args": {"a": 1}}, 2)
    assert before[1] != after[1]
    variables = {entry["name"]: entry.get("value") for entry in pod(a_pool())["containers"][0]["env"]}
    assert json.loads(variables[APPLICATION_VARIABLE]) == APPLICATION


@pytest.mark.parametrize(
    ("rollout", "strategy"),
    [
        (None, {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}),
        ({"type": "Recreate"}, {"type": "Recreate"}),
    ],
)
def test_a_rollout(rollout, strategy):
    assert made(a_pool(rollout=rollout))[0]["spec"]["strategy"] == strategy


def test_a_claim_for_weights_is_shared_by_all_pods():
    spec = pod(a_pool(), cache_claim="weights")
    assert {"name": "cache", "persistentVolumeClaim": {"claimName": "weights"}} in spec["volumes"]
    assert all("/models/cache" in str(container["volumeMounts"]) for container in containers(spec))


def test_a_rayservice_spans_the_nodes_of_its_replicas():
    pool = a_pool(nodes=2, engine={"pipelineParallelSize": 2}, accelerator={"type": "nvidia-h100", "count": 1})
    manifest, _ = rayservice(pool, a_context().render, APPLICATION, replicas=3)
    cluster = manifest["spec"]["rayClusterConfig"]
    group = cluster["workerGroupSpecs"][0]
    assert group["replicas"] == 6
    assert (group["rayStartParams"]["num-cpus"], group["rayStartParams"]["num-gpus"]) == ("2", "1")
    assert cluster["enableInTreeAutoscaling"] is True
    assert cluster["authOptions"] == {"mode": "token"}
    head = cluster["headGroupSpec"]["template"]["spec"]
    assert "nvidia.com/gpu" not in str(head["containers"])
    # nodes with accelerators are tainted, and it may be there that the pool is to run
    assert head["tolerations"] == group["template"]["spec"]["tolerations"] != []
    assert head["initContainers"] == []
    assert json.loads(manifest["spec"]["serveConfigV2"]) == {"applications": [APPLICATION]}
    assert len(manifest["metadata"]["name"]) <= 47


def test_of_a_rays_head_the_autoscaler_alone_may_speak_to_the_api_server():
    manifest, _ = rayservice(a_pool(), a_context().render, APPLICATION, replicas=1)
    cluster = manifest["spec"]["rayClusterConfig"]
    head = cluster["headGroupSpec"]["template"]["spec"]
    account = next(volume["name"] for volume in head["volumes"] if "projected" in volume)
    assert head["automountServiceAccountToken"] is False
    assert account not in {mount["name"] for mount in head["containers"][0]["volumeMounts"]}
    assert account in {mount["name"] for mount in cluster["autoscalerOptions"]["volumeMounts"]}
    assert {mount["name"] for mount in cluster["autoscalerOptions"]["volumeMounts"]} <= {
        volume["name"] for volume in head["volumes"]
    }


@pytest.mark.parametrize("spans_pods", [False, True])
def test_only_gateway_and_operator_reach_a_pool_and_kuberay_alone_a_dashboard(spans_pods):
    context = a_context(kuberay_namespace="ray-system").render
    rules = network_policy(a_pool(), context, spans_pods=spans_pods)["spec"]["ingress"]
    assert all(peer["podSelector"]["matchLabels"] for rule in rules for peer in rule["from"])
    ours = [rule for rule in rules if "part-of" in str(rule["from"])]
    assert [rule["ports"] for rule in ours] == [[{"port": labels.SERVE_PORT, "protocol": "TCP"}]]
    dashboard = [rule for rule in rules if str(labels.DASHBOARD_PORT) in str(rule.get("ports"))]
    assert bool(dashboard) is spans_pods
    assert all("kuberay-operator" in str(rule["from"]) and "ray-system" in str(rule["from"]) for rule in dashboard)


def test_an_accelerators_type_chooses_its_nodes_where_the_installation_knows_them():
    product = {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert pod(a_pool(**RICH), accelerators={"nvidia-h100": product})["nodeSelector"] == {**product, "pool": "gpu"}
    assert "nodeSelector" not in pod(a_pool(), accelerators={"nvidia-h100": product})


def test_volumes_have_names_that_kubernetes_takes_whatever_their_claims_are_called():
    volumes = pod(a_pool(model={"uri": "pvc://team.weights/model"}))["volumes"]
    (claim,) = [volume for volume in volumes if "persistentVolumeClaim" in volume]
    assert claim["persistentVolumeClaim"]["claimName"] == "team.weights"
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", claim["name"])
