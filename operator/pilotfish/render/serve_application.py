"""A pool as a Ray Serve application: `ray.serve.llm:build_openai_app` with one vLLM engine.

What restarts engines when it changes stands in `args` and `runtime_env`; what does not, replicas and their bounds,
stands in `deployments`, whose entries are there from the first day and differ in numbers alone. Routers, thresholds,
prices and policies that only move numbers therefore never touch an engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pilotfish.api import AutoscalingPolicy, ModelPool
from pilotfish.api.autoscalingpolicy import SignalType
from pilotfish.api.engine import Speculative, SpeculativeType
from pilotfish.api.modelpool import Task
from pilotfish.render.names import INGRESS_DEPLOYMENT, engine_deployment, served_model

IMPORT_PATH = "ray.serve.llm:build_openai_app"
SERVER_CLASS = "pilotfish.engine.server:PoolServer"
TRACE_EXPORTER = "pilotfish.telemetry.serve_exporter:span_processors"

MAX_ONGOING_REQUESTS = 1000
"""Requests that one replica holds, waiting ones included; the rest wait in Serve."""
CPU_KV_CACHE_BYTES = 512 * 1024**2
"""KV cache of an engine on the CPU where `engine.args.kv_cache_memory_bytes` says nothing else."""
REPLICA_CPUS = 0.1
"""Ray's bookkeeping for a replica's own process; engines bind their threads themselves."""
HEALTH_CHECK_SECONDS = 30
"""A busy machine of few cores answers health checks late; that is no reason to restart an engine."""

ENGINE_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "RAYLLM_ENABLE_REQUEST_PROMPT_LOGS": "0",
    "VLLM_NO_USAGE_STATS": "1",
}
CPU_ENVIRONMENT = {
    # Compiling costs the first answers seconds and needs a C++ compiler; eager speed on the CPU is the same.
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
}

_SPECULATIVE_METHODS = {
    SpeculativeType.DRAFT_MODEL: "draft_model",
    SpeculativeType.NGRAM: "ngram",
    SpeculativeType.EAGLE: "eagle",
}


@dataclass(frozen=True)
class EngineContext:
    """What an engine needs that its pool's manifest does not say."""

    weights: str
    """Folder that holds the model's files."""
    draft_weights: str | None = None
    """Folder of the draft model, for speculative decoding with one."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Folder of each LoRA adapter, by the adapter's name."""
    policy: AutoscalingPolicy | None = None
    """The policy that the pool names."""
    route_prefix: str = "/"
    """Where the application answers below Serve's port."""
    application: str | None = None
    """The application's name; the pool's where left out."""
    traces_endpoint: str | None = None
    """Address, with its path, that takes OTLP spans over HTTP."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables for the engine's process, stronger than those set here."""
    rolling: "Rolling | None" = None
    """How Serve replaces replicas; None where it runs one replica, and what is around it replaces that."""


@dataclass(frozen=True)
class Rolling:
    """How Serve carries a change of the application to its replicas, one after the other."""

    surge: bool
    """Whether the new replica answers before the old one is stopped."""
    drain_seconds: int
    """Time that open answers get to finish when a replica is to go."""
    ingress_resources: Mapping[str, float] = field(default_factory=dict)
    """Ray's resources that the ingress needs, which decide where it runs."""

    @property
    def ingress_actor(self) -> dict[str, Any]:
        """Ray's options for the ingress."""
        return {"num_cpus": 0, "resources": dict(self.ingress_resources)}

    @property
    def options(self) -> dict[str, Any]:
        """Serve's options for a deployment."""
        # Serve rounds up to a whole replica: one percent is one, of the hundred or fewer that a pool mostly has.
        return {"max_surge_percent": 1 if self.surge else 0, "graceful_shutdown_timeout_s": self.drain_seconds}


def serve_application(pool: ModelPool, context: EngineContext) -> dict[str, Any]:
    """The application as Serve's REST API and KubeRay's `serveConfigV2` take it: JSON values only.

    The pool must be one that is deployed (not external) and that wants a replica.
    """
    rolling = context.rolling
    ingress_actor = rolling.ingress_actor if rolling else {"num_cpus": REPLICA_CPUS}
    common = {"max_ongoing_requests": MAX_ONGOING_REQUESTS} | (rolling.options if rolling else {})
    return {
        "name": context.application or pool.name,
        "route_prefix": context.route_prefix,
        "import_path": IMPORT_PATH,
        "runtime_env": {"env_vars": engine_environment(pool, context)},
        "args": {
            "llm_configs": [_llm_config(pool, context)],
            "ingress_deployment_config": {"ray_actor_options": ingress_actor},
        },
        "deployments": [
            {"name": engine_deployment(pool), "autoscaling_config": _autoscaling(pool, context), **common},
            {"name": INGRESS_DEPLOYMENT, "num_replicas": 1, **common},
        ],
    }


def engine_environment(pool: ModelPool, context: EngineContext) -> dict[str, str]:
    """Variables of the processes that hold the engine."""
    environment = dict(ENGINE_ENVIRONMENT)
    if pool.spec.accelerator is None:
        environment |= CPU_ENVIRONMENT
    if context.traces_endpoint:
        environment["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "http/protobuf"
    if pool.spec.pod:
        environment |= {variable.name: variable.value for variable in pool.spec.pod.env if variable.value is not None}
    return environment | dict(context.environment)


def serve_tracing_environment(traces_endpoint: str, ratio: float = 1.0) -> dict[str, str]:
    """Variables for Ray's own processes that make Serve export its spans; Serve samples 1% unless told otherwise."""
    return {
        "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": TRACE_EXPORTER,
        "RAY_SERVE_TRACING_SAMPLING_RATIO": str(ratio),
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": traces_endpoint,
    }


def _autoscaling(pool: ModelPool, context: EngineContext) -> dict[str, Any]:
    if context.policy:
        return _policy_bounds(context.policy)
    # A fixed number is a pair of equal bounds: a policy later changes numbers only.
    fixed = pool.spec.replicas or 1
    return _bounds(fixed, fixed, MAX_ONGOING_REQUESTS)


def _policy_bounds(policy: AutoscalingPolicy) -> dict[str, Any]:
    spec = policy.spec
    targets = {signal.type: signal.target for signal in spec.signals}
    ongoing = targets.get(SignalType.ONGOING_REQUESTS, MAX_ONGOING_REQUESTS)
    bounds = _bounds(spec.least_replicas, spec.max_replicas, ongoing)
    bounds["look_back_period_s"] = spec.behavior.look_back_seconds
    bounds["upscale_delay_s"] = spec.behavior.upscale_delay_seconds
    bounds["downscale_delay_s"] = spec.behavior.downscale_delay_seconds
    return bounds


def _bounds(minimum: int, maximum: int, target: int) -> dict[str, Any]:
    return {
        "min_replicas": minimum,
        "initial_replicas": minimum,
        "max_replicas": maximum,
        "target_ongoing_requests": target,
    }


def _llm_config(pool: ModelPool, context: EngineContext) -> dict[str, Any]:
    # Ray gathers streamed tokens for 50 ms unless told not to, which is most of what it adds to the first token.
    experimental: dict[str, Any] = {"stream_batching_interval_ms": 0}
    if context.adapters:
        experimental["pilotfish_adapters"] = {
            pool.adapter_name(name): folder for name, folder in sorted(context.adapters.items())
        }
    return {
        "server_cls": SERVER_CLASS,
        "model_loading_config": {"model_id": served_model(pool), "model_source": context.weights},
        "engine_kwargs": engine_arguments(pool, context),
        "placement_group_config": _placement(pool),
        "deployment_config": {
            "ray_actor_options": {"num_cpus": REPLICA_CPUS},
            "health_check_timeout_s": HEALTH_CHECK_SECONDS,
        },
        "experimental_configs": experimental,
    }


def engine_arguments(pool: ModelPool, context: EngineContext) -> dict[str, Any]:
    """Engine arguments of vLLM: defaults for the machine, fields of the manifest, then `engine.args` as it stands."""
    engine, spec = pool.engine, pool.spec
    arguments: dict[str, Any] = {
        "tensor_parallel_size": engine.tensor_parallel_size,
        "pipeline_parallel_size": engine.pipeline_parallel_size,
    }
    if spec.accelerator is None:
        generates = spec.task is Task.GENERATE
        arguments |= {"dtype": "bfloat16" if generates else "float32", "enforce_eager": True}
        if generates:
            arguments["kv_cache_memory_bytes"] = CPU_KV_CACHE_BYTES
    if spec.task is not Task.GENERATE:
        arguments["runner"] = "pooling"
    if engine.max_model_length:
        arguments["max_model_len"] = engine.max_model_length
    if engine.speculative:
        arguments["speculative_config"] = _speculative(engine.speculative, context)
    if context.adapters:
        arguments["enable_lora"] = True
    if context.traces_endpoint:
        arguments["otlp_traces_endpoint"] = context.traces_endpoint
    return arguments | engine.args


def _speculative(speculative: Speculative, context: EngineContext) -> dict[str, Any]:
    config: dict[str, Any] = {
        "method": _SPECULATIVE_METHODS[speculative.type],
        "num_speculative_tokens": speculative.tokens,
    }
    if speculative.type is SpeculativeType.NGRAM:
        config |= {"prompt_lookup_min": 2, "prompt_lookup_max": 5}
    if context.draft_weights:
        config["model"] = context.draft_weights
    return config


def engine_processes(pool: ModelPool) -> int:
    """Processes of one engine, over all nodes of a replica; each takes one CPU of Ray's count, and one accelerator."""
    return pool.engine.tensor_parallel_size * pool.engine.pipeline_parallel_size


def _placement(pool: ModelPool) -> dict[str, Any]:
    bundle = {"CPU": 1, "GPU": 1} if pool.spec.accelerator else {"CPU": 1}
    strategy = "STRICT_PACK" if pool.spec.nodes == 1 else "PACK"
    return {"bundles": [bundle] * engine_processes(pool), "strategy": strategy}
