"""Manifests that are accepted, and faults that name the field and the fix."""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.api import ModelPool, ModelRouter
from pilotfish.api.engineargs import OWNED_ENGINE_ARGS, engine_arg_faults, owned_engine_arg
from pilotfish.api.validation import format_path
from pilotfish.reconcile.kinds import parse_resource

CONTRACT = Path(__file__).parents[4] / "shared" / "contract"
Change = Callable[[dict[str, Any]], Any]


def manifest(kind: str, spec: dict[str, Any], name: str = "thing") -> dict[str, Any]:
    return {"apiVersion": "pilotfish.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def pool(**spec: Any) -> dict[str, Any]:
    return manifest("ModelPool", {"tier": "Small", "model": {"uri": "hf://org/m"}, "replicas": 1} | spec)


def external(**spec: Any) -> dict[str, Any]:
    model = {"baseURL": "https://a.example/v1", "model": "m"}
    return manifest("ModelPool", {"tier": "Large", "external": model} | spec)


def stage(pool: str, **accept: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"poolRef": {"name": pool}}
    if accept:
        entry["accept"] = {"scorer": {"name": "logprob"}} | accept
    return entry


def logits(plugin: str, **models: str) -> dict[str, Any]:
    listed = [{"role": role, "model": {"uri": uri}} for role, uri in models.items()]
    return {"pluginRef": {"name": plugin}} | ({"models": listed} if listed else {})


def router(strategy: dict[str, Any], **spec: Any) -> dict[str, Any]:
    return manifest("ModelRouter", {"strategy": strategy} | spec)


def cascade(*stages: dict[str, Any], **more: Any) -> dict[str, Any]:
    return router({"type": "Cascade", "cascade": {"stages": list(stages)} | more})


def policy(**spec: Any) -> dict[str, Any]:
    signals = [{"type": "OngoingRequests", "target": 4}]
    return manifest("AutoscalingPolicy", {"minReplicas": 1, "maxReplicas": 2, "signals": signals} | spec)


def plugin(**spec: Any) -> dict[str, Any]:
    return manifest("AdaptationPlugin", {"type": "retrieval"} | spec)


PREDICTIVE = {
    "type": "Predictive",
    "predictive": {
        "scorer": {"name": "linear"},
        "candidates": [{"poolRef": {"name": "a"}, "thresholdPermille": 500}, {"poolRef": {"name": "b"}}],
    },
}
DIRECT = {"type": "Direct", "direct": {"poolRef": {"name": "a"}}}
GOOD = [
    pool(),
    external(),
    pool(engine={"maxModelLength": 9, "args": {"enforce_eager": True, "anything": [1.5, None]}}),
    pool(engine={"tensorParallelSize": 4, "pipelineParallelSize": 2}, accelerator={"type": "h", "count": 4}, nodes=2),
    pool(engine={"speculative": {"type": "NGram", "tokens": 4}}),
    pool(logits=[logits("a", expert="hf://org/expert", anti="hf://org/anti"), logits("b")], engine={}),
    pool(replicas=0, pod={"nodeSelector": {"a": "b"}, "env": [{"name": "A", "value": "b"}]}),
    router(DIRECT, plugins=[{"pluginRef": {"name": "p"}}], fallback=[{"poolRef": {"name": "b"}}]),
    router({"type": "Weighted", "weighted": {"pools": [{"poolRef": {"name": "a"}, "weight": 0},
                                                       {"poolRef": {"name": "b"}, "weight": 9}]}}),
    cascade(stage("a", thresholdPermille=500, decideWithinTokens=8), stage("b")),
    router(PREDICTIVE, exploration={"permille": 9}),
    policy(minReplicas=0, scaleToZero={"afterSeconds": 60, "holdRequestsSeconds": 60}),
    policy(schedules=[{"name": "n", "cron": "0 8 * * 1-5", "durationSeconds": 60, "minReplicas": 2}]),
    plugin(sources=[{"name": "a", "uri": "s3://b/c"}, {"name": "b", "configMapRef": {"name": "c"}}]),
]  # fmt: skip

BAD = [
    (external(model={"uri": "hf://a/b"}), "spec", "exactly one of model, external"),
    (manifest("ModelPool", {"tier": "Small", "replicas": 1}), "spec", "exactly one of model, external"),
    (pool(autoscalingPolicyRef={"name": "p"}), "spec", "exactly one of replicas, autoscalingPolicyRef"),
    (pool(replicas=None), "spec", "exactly one of replicas, autoscalingPolicyRef"),
    (external(engine={"maxModelLength": 9}), "spec.external", "nothing is deployed"),
    (pool(tier="Huge"), "spec.tier", "'Huge'"),
    (pool(replicas="1"), "spec.replicas", "must be an integer; got '1': remove the quotes"),
    (pool(replicas=True), "spec.replicas", "must be an integer; got true"),
    (cascade(stage("a")), "spec.strategy.cascade.stages", "at least 2 items; got 1"),
    (pool(model={"uri": "org/model"}), "spec.model.uri", "an address with a scheme"),
    (pool(model={"uri": "hf://a/b", "sha256": "12"}), "spec.model.sha256", "64 lower-case hexadecimal digits"),
    (pool(pricing={"currency": "USD", "perReplicaHour": "-2"}), "spec.pricing.perReplicaHour", "not negative"),
    (pool(adapters=[{"name": "a", "model": {"uri": "a://b"}}] * 2), "spec.adapters", "name 'a' is listed twice"),
    (pool(engine={"speculative": {"type": "Eagle", "tokens": 2}}), "spec.engine.speculative.draftModel", "is needed"),
    (pool(engine={"tensorParallelSize": 2}, accelerator={"type": "h"}), "spec.engine", "must equal accelerator.count"),
    (
        pool(engine={"tensorParallelSize": 2}, accelerator={"type": "h"}, nodes=2, runtime="Deployment"),
        "spec.nodes",
        "needs runtime RayService",
    ),
    (external(logits=[logits("a")]), "spec.external", "nothing is deployed"),
    (pool(logits=[]), "spec.logits", "at least 1 item"),
    (pool(logits=[logits("a"), logits("a")]), "spec.logits", "must not list a plugin twice"),
    (pool(logits=[logits("a")], task="Embed"), "spec.logits", "needs task Generate"),
    (
        pool(logits=[logits("a")], engine={"speculative": {"type": "NGram", "tokens": 4}}),
        "spec.logits",
        "speculative decoding",
    ),
    (
        pool(logits=[logits("a")], engine={"pipelineParallelSize": 2}, accelerator={"type": "h", "count": 2}),
        "spec.logits",
        "needs pipelineParallelSize 1",
    ),
    (
        pool(logits=[{"pluginRef": {"name": "a"}, "models": [{"role": "expert", "model": {"uri": "hf://a/b"}}] * 2}]),
        "spec.logits[0].models",
        "role 'expert' is listed twice",
    ),
    (pool() | {"metadata": {"name": "a" * 41}}, "metadata.name", "at most 40 characters"),
    (pool() | {"metadata": {"name": "a.b"}}, "metadata.name", "no '.'"),
    (pool() | {"metadata": {"name": "Upper"}}, "metadata.name", "lower-case"),
    (pool(pod={"env": [{"name": "A"}]}), "spec.pod.env[0]", "exactly one of value, secretKeyRef"),
    (pool(pod={"hostNetwork": True}), "spec.pod.hostNetwork", "unknown field"),
    (pool(engine={"max_model_length": 9}), "spec.engine.max_model_length", "unknown field"),
    (router({"type": "Direct"}), "spec.strategy", "the field that belongs to type"),
    (
        router(DIRECT | {"weighted": {"pools": [{"poolRef": {"name": "a"}, "weight": 1}]}}),
        "spec.strategy",
        "no other of these",
    ),
    (router(DIRECT, plugins=[{"pluginRef": {"name": "p"}}] * 2), "spec.plugins", "must not list a plugin twice"),
    (
        router({"type": "Weighted", "weighted": {"pools": [{"poolRef": {"name": "a"}, "weight": 0}]}}),
        "spec.strategy.weighted.pools",
        "at least one weight",
    ),
    (cascade(stage("a"), stage("b")), "spec.strategy.cascade.stages", "every stage but the last needs accept"),
    (
        cascade(stage("a", thresholdPermille=1), stage("b", thresholdPermille=1)),
        "spec.strategy.cascade.stages",
        "the last stage must not have accept",
    ),
    (
        cascade(stage("a", thresholdPermille=1001), stage("b")),
        "spec.strategy.cascade.stages[0].accept.thresholdPermille",
        "less than or equal to 1000; got 1001",
    ),
    (
        cascade(stage("a", thresholdPermille=1, decideWithinTokens=2), stage("b"), streaming="Hold"),
        "spec.strategy.cascade.stages",
        "decideWithinTokens needs streaming EarlyExit",
    ),
    (
        router(DIRECT, objective={"type": "Spend", "spend": {"currency": "EUR"}}),
        "spec.objective.spend.perHour",
        "required",
    ),
    (
        router(DIRECT, exploration={"permille": 9}),
        "spec.exploration",
        "needs strategy type Cascade or Predictive",
    ),
    (policy(minReplicas=3), "spec.minReplicas", "must not be above maxReplicas"),
    (policy(minReplicas=0), "spec.scaleToZero", "needs scaleToZero"),
    (
        policy(schedules=[{"name": "n", "cron": "daily", "durationSeconds": 60}]),
        "spec.schedules[0].cron",
        "five fields",
    ),
    (plugin(timeoutSeconds=0), "spec.timeoutSeconds", "greater than or equal to 1; got 0"),
    (plugin(sources=[{"name": "a"}]), "spec.sources[0]", "exactly one of configMapRef, uri"),
]


@pytest.mark.parametrize("value", GOOD, ids=lambda value: value["kind"])
def test_good_manifests_come_back_as_they_were(value: dict[str, Any]) -> None:
    resource, faults = parse_resource(value)
    assert faults == ()
    assert resource is not None
    assert resource.to_manifest() == value


@pytest.mark.parametrize(("value", "path", "told"), BAD, ids=lambda value: value if isinstance(value, str) else "")
def test_a_fault_names_the_field_and_what_to_do(value: dict[str, Any], path: str, told: str) -> None:
    resource, faults = parse_resource(value)
    assert resource is None
    assert [(format_path(fault.path), told in fault.message) for fault in faults] == [(path, True)]


def test_all_of_the_contract_is_judged_as_it_says() -> None:
    if not CONTRACT.is_dir():
        pytest.skip(f"the contract's manifests are not at {CONTRACT}")
    for path in sorted((CONTRACT / "valid").glob("*.yaml")):
        for value in yaml.safe_load_all(path.read_text()):
            assert parse_resource(value)[1] == (), path.name
    refused = sorted((CONTRACT / "invalid").glob("*.yaml"))
    assert refused
    for path in refused:
        told = path.read_text().partition("\n")[0].removeprefix("# ")
        faults = parse_resource(yaml.safe_load(path.read_text()))[1]
        assert any(told in str(fault) for fault in faults), path.name


def _paths(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    if isinstance(value, dict):
        return [path] + [inner for key, item in value.items() for inner in _paths(item, (*path, key))]
    if isinstance(value, list):
        return [path] + [inner for index, item in enumerate(value) for inner in _paths(item, (*path, index))]
    return [path]


@given(st.sampled_from(GOOD), st.data())
def test_whatever_is_put_into_a_manifest_is_judged_and_never_raises(value: dict[str, Any], data: st.DataObject) -> None:
    changed = copy.deepcopy(value)
    *around, last = data.draw(st.sampled_from([path for path in _paths(value) if path]))
    inner: Any = changed
    for part in around:
        inner = inner[part]
    inner[last] = data.draw(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just([]) | st.just({}) | st.just([{}])
    )
    resource, faults = parse_resource(changed)
    assert (resource is None) == bool(faults)
    assert all(str(fault) for fault in faults)


@given(st.sampled_from(GOOD), st.data())
def test_an_unknown_field_is_a_fault_at_its_path(value: dict[str, Any], data: st.DataObject) -> None:
    changed = copy.deepcopy(value)
    inner: Any = changed
    opaque = {"args", "config", "nodeSelector", "labels"}
    mappings = [path for path in _paths(value) if not opaque & set(path) and isinstance(_at(value, path), dict)]
    path = data.draw(st.sampled_from(mappings))
    for part in path:
        inner = inner[part]
    inner["notAField"] = 1
    _, faults = parse_resource(changed)
    assert [fault.path for fault in faults] == [(*path, "notAField")]


def _at(value: Any, path: tuple[str | int, ...]) -> Any:
    for part in path:
        value = value[part]
    return value


@given(st.sets(st.sampled_from(["model", "external"])), st.sets(st.sampled_from(["replicas", "autoscalingPolicyRef"])))
def test_exactly_one_of_is_kept_whatever_is_set(where: set[str], how: set[str]) -> None:
    fields: dict[str, Any] = {
        "model": {"uri": "hf://a/b"},
        "external": {"baseURL": "https://a.example/v1", "model": "m"},
        "replicas": 1,
        "autoscalingPolicyRef": {"name": "p"},
    }
    spec = {"tier": "Small"} | {name: fields[name] for name in where | how}
    accepted = parse_resource(manifest("ModelPool", spec))[0] is not None
    assert accepted == ((where == {"model"} and len(how) == 1) or (where == {"external"} and not how))


@given(st.lists(st.booleans(), min_size=2, max_size=8))
def test_every_stage_but_the_last_accepts(accepts: list[bool]) -> None:
    stages = [stage(f"p{n}", thresholdPermille=5) if yes else stage(f"p{n}") for n, yes in enumerate(accepts)]
    accepted = parse_resource(cascade(*stages))[0] is not None
    assert accepted == (all(accepts[:-1]) and not accepts[-1])


def test_engine_arguments_that_have_a_field_are_faults_in_both_spellings() -> None:
    args = {"max_model_len": 9, "served-model-name": "x", "enforce_eager": True}
    resource = ModelPool.model_validate(pool(engine={"args": args}))
    assert [str(fault) for fault in engine_arg_faults(resource)] == [
        "spec.engine.args.max_model_len: must not be set here: remove it, and set spec.engine.maxModelLength instead",
        "spec.engine.args.served-model-name: must not be set here: remove it,"
        " and set metadata.name, or a router's spec.servedModelNames instead",
    ]
    assert all(owned_engine_arg(name) for name in OWNED_ENGINE_ARGS)
    assert owned_engine_arg("gpu_memory_utilization") is None


def test_a_router_knows_the_pools_that_it_needs_each_once() -> None:
    value = cascade(stage("a", thresholdPermille=1), stage("b", thresholdPermille=1), stage("a"))
    value["spec"]["fallback"] = [{"poolRef": {"name": "c"}}]
    first = value["spec"]["strategy"]["cascade"]["stages"][0]["accept"]["scorer"]
    first["poolRefs"] = [{"role": "judge", "name": "d"}]
    resource = parse_resource(value)[0]
    assert isinstance(resource, ModelRouter)
    assert (resource.strategy_pools, resource.pool_names) == (("a", "b"), ("a", "b", "c", "d"))
