"""A pool as a Ray Serve application: `ray.serve.llm:build_openai_app` with one vLLM engine.

Changes of `args` and `runtime_env` restart engines. Changes of `deployments` (replicas and their bounds) do not,
because its entries always exist and differ in numbers only. Routers, thresholds, prices and policies therefore never
restart an engine.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pilotfish.api import AutoscalingPolicy, ModelPool
from pilotfish.api.autoscalingpolicy import SignalType
from pilotfish.api.engine import Speculative, SpeculativeType
from pilotfish.api.modelpool import Task
from pilotfish.render.logits import LogitsSettings, logits_arguments

INGRESS_DEPLOYMENT = "OpenAiIngress"
"""The deployment that serves HTTP and forwards requests to the engine's replicas."""
IMPORT_PATH = "ray.serve.llm:build_openai_app"
"""Ray's own builder: an ingress in front of engines of any number of processes."""
ONE_DEPLOYMENT_IMPORT_PATH = "pilotfish.engine.application:build"
"""Ours, for engines of one process on the CPU, which take HTTP themselves."""
SERVER_CLASS = "pilotfish.engine.server:PoolServer"
TRACE_EXPORTER = "pilotfish.telemetry.serve_exporter:span_processors"

MAX_ONGOING_REQUESTS = 1000
"""Maximum number of running and waiting requests of a replica. More requests wait in Serve."""
CPU_KV_CACHE_BYTES = 512 * 1024**2
"""Default KV cache of an engine on CPUs, bytes (`engine.args.kv_cache_memory_bytes`)."""
REPLICA_CPUS = 0.1
"""Ray's CPUs for a replica's own process. Engines bind their threads themselves."""
HEALTH_CHECK_SECONDS = 30
"""Timeout of health checks, seconds. A busy machine with few cores answers late, which must not restart engines."""

ENGINE_ENVIRONMENT = {
    "DO_NOT_TRACK": "1",
    "HF_HUB_OFFLINE": "1",
    "RAYLLM_ENABLE_REQUEST_PROMPT_LOGS": "0",
    "VLLM_NO_USAGE_STATS": "1",
}
CPU_ENVIRONMENT = {
    # Compilation delays the first answers and needs a C++ compiler; on CPUs eager mode is as fast.
    "TORCHDYNAMO_DISABLE": "1",
    "VLLM_CPU_NUM_OF_RESERVED_CPU": "0",
}

_SPECULATIVE_METHODS = {
    SpeculativeType.DRAFT_MODEL: "draft_model",
    SpeculativeType.NGRAM: "ngram",
    SpeculativeType.EAGLE: "eagle",
}


def served_model(pool: ModelPool) -> str:
    """What the engine calls the model: the pool's name."""
    return pool.name


def engine_deployment(pool: ModelPool) -> str:
    """The deployment whose replicas hold engines. Ray derives it from the model's name in this way."""
    return "PoolServer:" + served_model(pool).replace("/", "--").replace(".", "_")


@dataclass(frozen=True)
class EngineContext:
    """Settings of an engine that are not in its pool's manifest."""

    weights: str
    """Folder that holds the model's files."""
    draft_weights: str | None = None
    """Folder of the draft model, for speculative decoding with one."""
    adapters: Mapping[str, str] = field(default_factory=dict)
    """Folder of each LoRA adapter, by the adapter's name."""
    logits: tuple[LogitsSettings, ...] = ()
    """The pool's logits plugins, in order."""
    policy: AutoscalingPolicy | None = None
    """The policy that the pool names."""
    route_prefix: str = "/"
    """Path prefix of the application at Serve's port."""
    application: str | None = None
    """The application's name. Defaults to the pool's name."""
    traces_endpoint: str | None = None
    """OTLP/HTTP endpoint for spans, with its path."""
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Environment variables of the engine's process, which take precedence over the defaults."""
    rolling: "Rolling | None" = None
    """How Serve replaces replicas; None if it runs one replica, which its surroundings replace."""


@dataclass(frozen=True)
class Rolling:
    """How Serve applies a change of the application to its replicas, one after the other."""

    surge: bool
    """Whether the new replica answers before the old one is stopped."""
    drain_seconds: int
    """Seconds for requests in progress to finish when a replica stops."""
    ingress_resources: Mapping[str, float] = field(default_factory=dict)
    """Ray's resources that the ingress needs, which decide where it runs."""

    @property
    def ingress_actor(self) -> dict[str, Any]:
        """Ray's options for the ingress."""
        return {"num_cpus": 0, "resources": dict(self.ingress_resources)}

    @property
    def options(self) -> dict[str, Any]:
        """Serve's options for a deployment."""
        # Serve rounds up to a whole replica, so one percent of up to a hundred replicas is one.
        return {"max_surge_percent": 1 if self.surge else 0, "graceful_shutdown_timeout_s": self.drain_seconds}


def serve_application(pool: ModelPool, context: EngineContext) -> dict[str, Any]:
    """The application as Serve's REST API and KubeRay's `serveConfigV2` take it: JSON values only.

    The pool must be deployed (not external) and have at least one replica.
    """
    if context.rolling is None and takes_http_itself(pool):
        return _one_deployment(pool, context)
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


@dataclass(frozen=True)
class ServeApplication:
    """Typed access to what `serve_application` returns."""

    value: Mapping[str, Any]

    @property
    def model(self) -> str:
        """The name by which the engine serves the model."""
        model: str = self._config["model_loading_config"]["model_id"]
        return model

    @property
    def accelerators(self) -> int:
        """Accelerators of one replica."""
        return sum(bundle.get("GPU", 0) for bundle in self._config["placement_group_config"]["bundles"])

    @property
    def engine_deployment(self) -> str:
        """The deployment whose replicas hold engines."""
        name: str = self.value["deployments"][0]["name"]
        return name

    @property
    def _config(self) -> Mapping[str, Any]:
        config: Mapping[str, Any] = self.value["args"]["llm_configs"][0]
        return config


def takes_http_itself(pool: ModelPool) -> bool:
    """Whether the pool can be one deployment. Where Serve rolls out changes, an ingress has to outlive engines."""
    return pool.spec.accelerator is None and engine_processes(pool) == 1


def _one_deployment(pool: ModelPool, context: EngineContext) -> dict[str, Any]:
    name = engine_deployment(pool)
    return {
        "name": context.application or pool.name,
        "route_prefix": context.route_prefix,
        "import_path": ONE_DEPLOYMENT_IMPORT_PATH,
        "runtime_env": {"env_vars": engine_environment(pool, context)},
        "args": {"name": name, "llm_configs": [_llm_config(pool, context)]},
        "deployments": [
            {
                "name": name,
                "autoscaling_config": _autoscaling(pool, context),
                "max_ongoing_requests": MAX_ONGOING_REQUESTS,
            }
        ],
    }


def engine_environment(pool: ModelPool, context: EngineContext) -> dict[str, str]:
    """Environment variables of the engine's processes."""
    environment = dict(ENGINE_ENVIRONMENT)
    if pool.spec.accelerator is None:
        environment |= CPU_ENVIRONMENT
    if context.traces_endpoint:
        environment["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = "http/protobuf"
    if pool.spec.pod:
        environment |= {variable.name: variable.value for variable in pool.spec.pod.env if variable.value is not None}
    return environment | dict(context.environment)


def serve_tracing_environment(traces_endpoint: str, ratio: float = 1.0) -> dict[str, str]:
    """Environment variables of Ray that make Serve export spans. Serve samples 1% by default."""
    return {
        "RAY_SERVE_TRACING_EXPORTER_IMPORT_PATH": TRACE_EXPORTER,
        "RAY_SERVE_TRACING_SAMPLING_RATIO": str(ratio),
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": traces_endpoint,
    }


def _autoscaling(pool: ModelPool, context: EngineContext) -> dict[str, Any]:
    if context.policy:
        return _policy_bounds(context.policy)
    # A fixed number is a pair of equal bounds, so that a policy changes numbers only.
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
    # By default Ray collects streamed tokens for 50 ms, which is most of the latency that it adds to the first token.
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
    """Engine arguments of vLLM: defaults for the machine, fields of the manifest, then `engine.args` unchanged."""
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
    return arguments | engine.args | logits_arguments(context.logits, engine.args)


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
