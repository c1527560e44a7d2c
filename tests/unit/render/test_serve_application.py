"""What restarts an engine and what does not, and what an engine on the CPU gets."""

from dataclasses import replace

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.api import AutoscalingPolicy, ModelPool
from pilotfish.render.logits import LogitsSettings
from pilotfish.render.serve_application import (
    ONE_DEPLOYMENT_IMPORT_PATH,
    EngineContext,
    Rolling,
    serve_application,
)

API = "pilotfish.dev/v1alpha1"


def pool(**spec):
    base = {"tier": "Small", "model": {"uri": "file:///models/m"}}
    if "autoscalingPolicyRef" not in spec:
        base["replicas"] = 1
    return ModelPool.model_validate(
        {"apiVersion": API, "kind": "ModelPool", "metadata": {"name": "small"}, "spec": {**base, **spec}}
    )


def policy(minimum, maximum, target, delay=30, **more):
    spec = {
        "minReplicas": minimum,
        "maxReplicas": maximum,
        "signals": [{"type": "OngoingRequests", "target": target}],
        "behavior": {"upscaleDelaySeconds": delay},
        **more,
    }
    return AutoscalingPolicy.model_validate(
        {"apiVersion": API, "kind": "AutoscalingPolicy", "metadata": {"name": "p"}, "spec": spec}
    )


def rendered(manifest, **context):
    return serve_application(manifest, EngineContext(weights="/models/m", **context))


def restarting(application):
    return {key: value for key, value in application.items() if key != "deployments"}


@given(
    bounds=st.tuples(st.integers(1, 50), st.integers(1, 50)).map(sorted),
    target=st.integers(1, 100),
    delay=st.integers(0, 600),
    replicas=st.integers(1, 20),
)
def test_replicas_and_policies_move_numbers_only(bounds, target, delay, replicas):
    following = rendered(pool(autoscalingPolicyRef={"name": "p"}), policy=policy(*bounds, target, delay))
    fixed = rendered(pool(replicas=replicas))
    assert restarting(following) == restarting(fixed)
    assert [entry["name"] for entry in following["deployments"]] == [entry["name"] for entry in fixed["deployments"]]
    limits = following["deployments"][0]["autoscaling_config"]
    assert (limits["min_replicas"], limits["max_replicas"], limits["target_ongoing_requests"]) == (*bounds, target)
    assert limits["min_replicas"] <= limits["initial_replicas"] <= limits["max_replicas"]


def test_serve_keeps_the_last_replica_as_long_as_scale_to_zero_is_not_in_force():
    to_zero = policy(0, 3, 8, scaleToZero={"afterSeconds": 60, "holdRequestsSeconds": 60})
    limits = rendered(pool(autoscalingPolicyRef={"name": "p"}), policy=to_zero)["deployments"][0]["autoscaling_config"]
    assert limits["min_replicas"] == 1
    assert "downscale_to_zero_delay_s" not in limits


@pytest.mark.parametrize(
    "change",
    [
        {"tier": "Large"},
        {"pricing": {"currency": "USD", "perReplicaHour": "1"}},
        {"power": {"idleWatts": 1, "activeWatts": 2}},
        {"rollout": {"type": "Recreate"}},
        {"resources": {"requests": {"cpu": "1"}}},
    ],
)
def test_what_the_engine_does_not_see_leaves_the_application_as_it_is(change):
    assert rendered(pool(**change)) == rendered(pool())


@pytest.mark.parametrize(
    "change",
    [
        {"engine": {"maxModelLength": 1024}},
        {"engine": {"args": {"seed": 1}}},
        {"engine": {"speculative": {"type": "NGram", "tokens": 3}}},
        {"task": "Embed"},
        {"accelerator": {"type": "nvidia-l4", "count": 1}},
        {"pod": {"env": [{"name": "VLLM_LOGGING_LEVEL", "value": "DEBUG"}]}},
    ],
)
def test_what_the_engine_sees_restarts_it(change):
    assert restarting(rendered(pool(**change))) != restarting(rendered(pool()))


PROXY = LogitsSettings("proxy-tuning", {"alpha": 1}, {"expert": "/models/logits/0/expert"})


def test_logits_plugins_are_arguments_of_the_engine_beside_those_of_the_manifest():
    given = {"logits_processors": ["acme:Own"], "additional_config": {"own": 1}}
    manifest = pool(engine={"args": given})
    arguments = rendered(manifest, logits=(PROXY,))["args"]["llm_configs"][0]["engine_kwargs"]
    assert arguments["logits_processors"] == ["acme:Own", "pilotfish.engine.logits:proxy-tuning"]
    settings = {"proxy-tuning": {"config": {"alpha": 1}, "models": {"expert": "/models/logits/0/expert"}}}
    assert arguments["additional_config"] == {"own": 1, "pilotfish_logits": settings}
    assert arguments["logprobs_mode"] == "processed_logprobs"
    application = rendered(manifest, logits=(PROXY,))
    assert application["runtime_env"] == rendered(manifest)["runtime_env"]
    assert restarting(application) != restarting(rendered(manifest, logits=(replace(PROXY, config={"alpha": 2}),)))


def test_an_application_is_json():
    adapters = {"legal": "/adapters/legal"}
    application = rendered(pool(), adapters=adapters, traces_endpoint="http://127.0.0.1:4318/v1/traces")
    assert orjson.loads(orjson.dumps(application)) == application


def test_arguments_of_the_manifest_win_over_defaults():
    arguments = rendered(pool(engine={"args": {"dtype": "float32", "max_num_seqs": 4}}))["args"]["llm_configs"][0][
        "engine_kwargs"
    ]
    assert (arguments["dtype"], arguments["max_num_seqs"]) == ("float32", 4)


def test_a_gpu_replica_is_placed_on_its_gpus_and_told_nothing_of_the_cpu():
    manifest = pool(
        accelerator={"type": "nvidia-h100", "count": 4}, engine={"tensorParallelSize": 2, "pipelineParallelSize": 2}
    )
    application = rendered(manifest)
    config = application["args"]["llm_configs"][0]
    assert config["placement_group_config"] == {"bundles": [{"CPU": 1, "GPU": 1}] * 4, "strategy": "STRICT_PACK"}
    assert "dtype" not in config["engine_kwargs"]
    assert "TORCHDYNAMO_DISABLE" not in application["runtime_env"]["env_vars"]


@pytest.mark.parametrize(
    ("spec", "context", "deployments"),
    [
        ({}, {}, ["PoolServer:small"]),
        ({"task": "Embed"}, {}, ["PoolServer:small"]),
        ({"engine": {"tensorParallelSize": 2}}, {}, ["PoolServer:small", "OpenAiIngress"]),
        ({"accelerator": {"type": "nvidia-l4", "count": 1}}, {}, ["PoolServer:small", "OpenAiIngress"]),
        ({}, {"rolling": Rolling(surge=True, drain_seconds=1)}, ["PoolServer:small", "OpenAiIngress"]),
    ],
)
def test_an_engine_of_one_process_on_the_cpu_needs_no_ingress_where_serve_rolls_nothing_out(spec, context, deployments):
    application = rendered(pool(**spec), **context)
    assert [entry["name"] for entry in application["deployments"]] == deployments
    assert (application["import_path"] == ONE_DEPLOYMENT_IMPORT_PATH) == (len(deployments) == 1)
