"""What the API server itself accepts and refuses, in which words, and what it fills in."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from controlplane import Api, Refused

from pilotfish.reconcile.kinds import parse_resource

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
CONTRACT = ROOT.parent / "shared" / "contract"
SEEDS = {doc["metadata"]["name"]: doc for doc in yaml.safe_load_all((HERE / "seeds.yaml").read_text())}
EXAMPLES = sorted(path for path in (ROOT / "examples").rglob("*.yaml") if "pilotfish.dev/" in path.read_text())


def changed(seed: str, path: str, value: Any) -> dict[str, Any]:
    """The seed with `value` at `path` (dotted; None takes the field out)."""
    manifest = deepcopy(SEEDS[seed])
    *above, last = path.split(".")
    at = manifest
    for step in above:
        at = at[int(step)] if step.isdigit() else at[step]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return manifest


def contract(folder: str) -> list[Path]:
    return sorted((CONTRACT / folder).glob("*.yaml"))


@pytest.mark.parametrize("name", SEEDS)
def test_a_full_manifest_is_accepted_and_defaulted_as_the_models_do(api: Api, namespace: str, name: str) -> None:
    manifest = changed(name, "metadata.namespace", namespace)
    created = api.create(manifest)
    here, no_faults = parse_resource(manifest)
    there, none_there = parse_resource(created)
    assert (no_faults, none_there) == ((), ())
    assert there.spec == here.spec
    assert {each["type"]: each["status"] for each in created["status"]["conditions"]} == {
        "Accepted": "Unknown",
        "Ready": "Unknown",
    }


@pytest.mark.skipif(not CONTRACT.is_dir(), reason="the contract folder is not beside the repository")
def test_the_contract_is_accepted(api: Api, namespace: str) -> None:
    for path in contract("valid"):
        for manifest in yaml.safe_load_all(path.read_text()):
            manifest["metadata"]["namespace"] = namespace
            api.create(manifest)


@pytest.mark.skipif(not CONTRACT.is_dir(), reason="the contract folder is not beside the repository")
@pytest.mark.parametrize("path", contract("invalid"), ids=lambda path: path.stem)
def test_the_contract_is_rejected_with_its_message(api: Api, path: Path) -> None:
    with pytest.raises(Refused) as refusal:
        api.create(yaml.safe_load(path.read_text()), dry_run=True)
    assert path.read_text().splitlines()[0].removeprefix("# ") in refusal.value.message


@pytest.mark.parametrize(
    ("seed", "path", "value", "message"),
    [
        ("deployed", "metadata.name", "n" * 41, "the name of a ModelPool must have at most 40 characters"),
        ("deployed", "spec.nodes", 3, "must equal accelerator.count times nodes"),
        ("deployed", "spec.runtime", "Deployment", "spec.nodes"),
        ("deployed", "spec.replicas", None, "exactly one of replicas, autoscalingPolicyRef"),
        ("deployed", "spec.pod.hostNetwork", True, 'unknown field "spec.pod.hostNetwork"'),
        ("deployed", "spec.pod.env.0.secretKeyRef", {"name": "a", "key": "b"}, "exactly one of value, secretKeyRef"),
        ("deployed", "spec.pod.env.1.name", "LOG_LEVEL", "Duplicate value"),
        ("deployed", "spec.engine.speculative.type", "NGram", "spec.engine.speculative.draftModel"),
        ("deployed", "spec.engine.maxModelLength", "4096", "must be of type integer"),
        ("deployed", "spec.resources.requests.cpu", "two", "spec.resources.requests.cpu"),
        ("deployed", "spec.power.idleWatts", -1, "spec.power.idleWatts"),
        ("elsewhere", "spec.external.baseURL", "api.example.com/v1", "spec.external.baseURL"),
        ("elsewhere", "spec.replicas", 1, "nothing is deployed for an external pool"),
        ("cascade", "spec.servedModelNames", ["a", "a"], "Duplicate value"),
        ("cascade", "spec.strategy.cascade.stages.0.accept", None, "every stage but the last needs accept"),
        ("cascade", "spec.strategy.cascade.streaming", "Hold", "decideWithinTokens"),
        ("cascade", "spec.objective.quality", {"maxLossPermille": 1}, "the field that belongs to type"),
        ("cascade", "spec.objective.spend.perHour", 12.5, "must be of type string"),
        ("predictive", "spec.strategy.predictive.candidates.0.thresholdPermille", None, "every candidate but the last"),
        ("weighted", "spec.strategy.type", "Direct", "spec.strategy"),
        ("handbook", "spec.sources.0.uri", "s3://a/b", "exactly one of configMapRef, uri"),
        ("handbook", "spec.type", "Retrieval", "spec.type"),
        ("follow-load", "spec.signals", [], "spec.signals"),
        ("follow-load", "spec.scaleToZero", None, "minReplicas 0 needs scaleToZero"),
        ("follow-load", "spec.budget.currency", "euro", "spec.budget.currency"),
    ],
)
def test_a_fault_is_refused_with_its_field_and_a_remedy(
    api: Api, seed: str, path: str, value: Any, message: str
) -> None:
    with pytest.raises(Refused) as refusal:
        api.create(changed(seed, path, value), dry_run=True)
    assert message in refusal.value.message


def test_a_pool_is_scaled_through_its_scale_subresource(api: Api, namespace: str) -> None:
    pool = changed("deployed", "metadata.namespace", namespace)
    api.create(pool)
    api.merge(pool, {"spec": {"replicas": 5}}, sub="/scale")
    api.merge(pool, {"status": {"replicas": 1, "selector": "app=pool"}}, sub="/status")
    scale = api.get(pool, sub="/scale")
    assert api.get(pool)["spec"]["replicas"] == 5
    assert scale["status"] == {"replicas": 1, "selector": "app=pool"}


def test_a_pool_that_a_policy_scales_is_not_scaled_by_hand(api: Api, namespace: str) -> None:
    pool = changed("scaled", "metadata.namespace", namespace)
    api.create(pool)
    with pytest.raises(Refused, match="exactly one of replicas, autoscalingPolicyRef"):
        api.merge(pool, {"spec": {"replicas": 5}})


def test_status_is_written_by_its_subresource_alone(api: Api, namespace: str) -> None:
    pool = changed("deployed", "metadata.namespace", namespace)
    created = api.create(pool)
    api.merge(pool, {"status": {"runtime": "RayService"}})
    assert "runtime" not in api.get(pool)["status"]
    api.merge(pool, {"status": {"runtime": "RayService"}, "spec": {"replicas": 7}}, sub="/status")
    after = api.get(pool)
    assert after["status"]["runtime"] == "RayService"
    assert (after["spec"], after["metadata"]["generation"]) == (created["spec"], created["metadata"]["generation"])


def test_get_shows_readiness_replicas_and_age(api: Api, namespace: str) -> None:
    pool = changed("deployed", "metadata.namespace", namespace)
    api.create(pool)
    api.merge(pool, {"status": {"readyReplicas": 1, "desiredReplicas": 2, "runtime": "RayService"}}, sub="/status")
    accept = {"Accept": "application/json;as=Table;v=v1;g=meta.k8s.io"}
    table = api.request("GET", api.path(pool), headers=accept)
    shown = dict(zip((c["name"] for c in table["columnDefinitions"]), table["rows"][0]["cells"], strict=True))
    shown.pop("Age")
    assert shown == {
        "Name": "deployed",
        "Ready": "Unknown",
        "Reason": "Pending",
        "Tier": "Large",
        "Replicas": 1,
        "Desired": 2,
        "Runtime": "RayService",
        "Task": "Generate",
        "Revision": None,
        "Message": "Waiting for the operator",
    }


def test_two_appliers_share_a_list_by_its_key(api: Api, namespace: str) -> None:
    def pool(adapter: str) -> dict[str, Any]:
        manifest = changed("deployed", "metadata.namespace", namespace)
        manifest["spec"]["adapters"] = [{"name": adapter, "model": {"uri": f"s3://models/{adapter}"}}]
        return manifest

    api.apply(pool("law"), manager="one")
    api.apply(pool("tax"), manager="two")
    assert [each["name"] for each in api.get(pool("law"))["spec"]["adapters"]] == ["law", "tax"]


@pytest.mark.skipif(not EXAMPLES, reason="there are no examples")
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_example_is_accepted(api: Api, namespace: str, path: Path) -> None:
    for manifest in yaml.safe_load_all(path.read_text()):
        if manifest["kind"] != "Namespace":
            manifest["metadata"]["namespace"] = namespace
        api.apply(manifest, dry_run=True)
