"""ModelPool: one model, where its weights are, what runs it, and on how many replicas."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pilotfish.api.common import (
    Currency,
    DecimalString,
    FieldPath,
    HttpUrl,
    LocalObjectRef,
    Model,
    Rule,
    SecretKeyRef,
    exactly_one_of,
    list_map,
    ordered_list,
)
from pilotfish.api.engine import Adapter, Engine, ModelSource
from pilotfish.api.logits import LOGITS_RULES, LogitsUse
from pilotfish.api.pod import Accelerator, Pod, Resources
from pilotfish.api.resource import AGE_COLUMN, MESSAGE_COLUMN, READY_COLUMNS, Column, Definition, Resource
from pilotfish.api.status import ModelPoolStatus


class Tier(StrEnum):
    """Whether the model is small (cheap, fast) or large (expensive, better)."""

    SMALL = "Small"
    LARGE = "Large"


class Task(StrEnum):
    """What the model computes."""

    GENERATE = "Generate"
    EMBED = "Embed"
    SCORE = "Score"


class Runtime(StrEnum):
    """How a pool runs in a cluster."""

    AUTO = "Auto"
    RAY_SERVICE = "RayService"
    DEPLOYMENT = "Deployment"


class RolloutType(StrEnum):
    """Whether new replicas start before the old ones stop (Surge) or after (Recreate)."""

    SURGE = "Surge"
    RECREATE = "Recreate"


class Rollout(Model):
    """How replicas are replaced when the spec changes."""

    type: RolloutType = RolloutType.SURGE
    """The order in which replicas are replaced.
    - Surge: new replicas start beside the old ones, which answer until the new ones are ready. Both need room at once.
    - Recreate: old replicas stop first. The pool does not answer until the new replicas have loaded the model.
    """


class Pricing(Model):
    """The prices of the model, for the cost of requests in answers, metrics and traces and for Spend objectives."""

    currency: Currency
    """The currency of the prices, as an ISO 4217 code such as USD. Costs in different currencies are not summed."""
    per_replica_hour: DecimalString | None = None
    """The price of one replica for one hour, as a decimal string such as "1.50". It is shared among the requests that
    a pool processes at the same time.
    """
    per_million_input_tokens: DecimalString | None = None
    """The price of one million prompt tokens, as a decimal string."""
    per_million_output_tokens: DecimalString | None = None
    """The price of one million generated tokens, as a decimal string."""


class Power(Model):
    """The electric power of one replica, from which the energy of a request is estimated."""

    idle_watts: Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
    """The power of a replica without requests, in watts. Accepted, but not used yet."""
    active_watts: Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
    """The power of a replica that processes requests, in watts. A request's energy is this power for the time that the
    request took, shared among the requests that the pool processed at the same time.
    """


class External(Model):
    """A model that another OpenAI-compatible API serves."""

    base_url: HttpUrl = Field(alias="baseURL")
    """The base URL of the API, for example https://api.example.com/v1. Paths such as /chat/completions are appended."""
    model: Annotated[str, Field(min_length=1, max_length=253)]
    """The name of the model at the API. The gateway sends it in `model`."""
    api_key_secret_ref: SecretKeyRef | None = None
    """The Secret key that holds the API key. The gateway sends it as a bearer token. If unset, no key is sent."""


_DEPLOYED_ONLY = (
    "engine",
    "accelerator",
    "resources",
    "replicas",
    "autoscalingPolicyRef",
    "rollout",
    "adapters",
    "logits",
    "pod",
)


def _parallel_sizes_fit(spec: "ModelPoolSpec") -> bool:
    if spec.accelerator is None:
        return True
    engine = spec.engine or Engine()
    return engine.tensor_parallel_size * engine.pipeline_parallel_size == spec.accelerator.count * spec.nodes


class ModelPoolSpec(Model):
    """The desired state of a pool: a model, the engine and resources that run it, and its number of replicas."""

    rules: ClassVar = (
        exactly_one_of("model", "external"),
        Rule(
            message="nothing is deployed for an external pool: remove " + ", ".join(_DEPLOYED_ONLY) + ", or external",
            cel="!has(self.external) || !(" + " || ".join(f"has(self.{name})" for name in _DEPLOYED_ONLY) + ")",
            holds=lambda s: s.external is None or not s.wire_fields_set() & set(_DEPLOYED_ONLY),
            field=("external",),
        ),
        Rule(
            message="exactly one of replicas, autoscalingPolicyRef must be set",
            cel="has(self.external) || (has(self.replicas) != has(self.autoscalingPolicyRef))",
            holds=lambda s: s.external is not None or (s.replicas is None) != (s.autoscaling_policy_ref is None),
        ),
        Rule(
            message="tensorParallelSize times pipelineParallelSize must equal accelerator.count times nodes",
            cel="!has(self.accelerator) || (has(self.engine) ? self.engine.tensorParallelSize"
            " * self.engine.pipelineParallelSize : 1) == self.accelerator.count * self.nodes",
            holds=_parallel_sizes_fit,
            field=("engine",),
        ),
        Rule(
            message="nodes above 1 needs runtime RayService or Auto",
            cel="self.nodes == 1 || self.runtime != 'Deployment'",
            holds=lambda s: s.nodes == 1 or s.runtime != Runtime.DEPLOYMENT,
            field=("nodes",),
        ),
        *LOGITS_RULES,
    )
    tier: Tier
    """Small for a cheap, fast model, Large for an expensive, better one. `kubectl get` shows it, and `pilotfish up`
    starts small pools first. Routers do not read it: a strategy lists its pools in order.
    """
    task: Task = Task.GENERATE
    """What the model computes.
    - Generate: text, for chat completions and completions.
    - Embed: an embedding vector for each input.
    - Score: a score for a pair of inputs, such as a reranker's.

    All pools that answer for one router must have the same task.
    """
    model: ModelSource | None = None
    """The weights of the model that this pool runs. Exactly one of model, external must be set."""
    external: External | None = None
    """A model that another API serves. Nothing is deployed for it. Exactly one of model, external must be set. If set,
    engine, accelerator, resources, replicas, autoscalingPolicyRef, rollout, adapters, logits and pod must be unset.
    """
    engine: Engine | None = None
    """The settings of vLLM, the engine that runs the model. Defaults to vLLM's defaults for the model; on CPUs to an
    engine without compilation and with a small KV cache.
    """
    accelerator: Accelerator | None = None
    """The accelerators of each pod of a replica. If unset, the model runs on CPUs."""
    nodes: Annotated[int, Field(strict=True, ge=1, le=64)] = 1
    """The number of pods, each on a node, that one replica spans. More than 1 needs runtime RayService or Auto."""
    resources: Resources | None = None
    """The resources of each pod of a replica. Defaults to requests of 1 CPU and 4Gi of memory."""
    runtime: Runtime = Runtime.AUTO
    """The kind of object that runs the replicas.
    - Auto: the runtime that the pool already has, then the installation's default runtime, then RayService if the
    cluster serves KubeRay's API and Deployment if not.
    - RayService: a KubeRay RayService. Needed for replicas of more than one node.
    - Deployment: a Deployment with one pod for each replica.

    A change moves the pool to the other runtime; `rollout` applies to the move.
    """
    replicas: Annotated[int, Field(strict=True, ge=0, le=1000)] | None = None
    """The number of replicas. `kubectl scale` sets it. With 0, the pool does not answer. Unless external is set,
    exactly one of replicas, autoscalingPolicyRef must be set.
    """
    autoscaling_policy_ref: LocalObjectRef | None = None
    """The AutoscalingPolicy of the same namespace that sets the number of replicas. Unless external is set, exactly one
    of replicas, autoscalingPolicyRef must be set.
    """
    rollout: Rollout | None = None
    """How replicas are replaced when the spec changes. Defaults to type Surge."""
    adapters: Annotated[tuple[Adapter, ...], *list_map("name", maximum=64)] | None = None
    """The LoRA adapters that the pool serves beside its model, at most 64. Clients call an adapter as
    `<pool>:<adapter>`.
    """
    logits: Annotated[tuple[LogitsUse, ...], ordered_list(minimum=1, maximum=4)] | None = None
    """The plugins that change the scores of the next token inside the engine, in order, 1 to 4. Not with speculative
    decoding, and only with task Generate and pipelineParallelSize 1. A change restarts the engine.
    """
    pod: Pod | None = None
    """Labels, scheduling and environment of the pool's pods."""
    pricing: Pricing | None = None
    """The prices of the model. Without it, the cost of a request is unknown, and a Spend objective that needs this pool
    has no effect.
    """
    power: Power | None = None
    """The electric power of a replica. If set, answers, logs and traces contain an estimate of the energy used."""


class ModelPool(Resource):
    """A ModelPool is one model and the replicas that serve it, or a model that another API serves."""

    rules: ClassVar = (
        Rule(
            message="the name of a ModelPool must have at most 40 characters and no '.', because it is part"
            " of the name of a Service",
            cel="size(self.metadata.name) <= 40 && !self.metadata.name.contains('.')",
            holds=lambda pool: len(pool.metadata.name) <= 40 and "." not in pool.metadata.name,
            field=("metadata", "name"),
        ),
    )
    definition: ClassVar = Definition(
        "modelpools",
        "mp",
        (
            *READY_COLUMNS,
            Column("Tier", ".spec.tier"),
            Column("Replicas", ".status.readyReplicas", "integer"),
            Column("Desired", ".status.desiredReplicas", "integer"),
            Column("Runtime", ".status.runtime"),
            AGE_COLUMN,
            Column("Task", ".spec.task", priority=1),
            Column("Revision", ".status.revision", priority=1),
            MESSAGE_COLUMN,
        ),
        scale=True,
    )
    kind: Literal["ModelPool"]
    spec: ModelPoolSpec
    status: ModelPoolStatus | None = None

    def adapter_name(self, adapter: str) -> str:
        """The name by which clients and the model server address a LoRA adapter of the pool."""
        return f"{self.name}:{adapter}"

    @property
    def engine(self) -> Engine:
        """The settings of the engine, or the defaults if the spec has none."""
        return self.spec.engine or Engine()

    def sources(self) -> tuple[tuple[FieldPath, ModelSource], ...]:
        """Every place of weights that the pool names, with its path: the model, its draft model, its adapters, the
        models of its logits plugins.
        """
        found: list[tuple[FieldPath, ModelSource]] = []
        if self.spec.model:
            found.append((("spec", "model"), self.spec.model))
        if self.engine.speculative and self.engine.speculative.draft_model:
            found.append((("spec", "engine", "speculative", "draftModel"), self.engine.speculative.draft_model))
        for index, adapter in enumerate(self.spec.adapters or ()):
            found.append((("spec", "adapters", index, "model"), adapter.model))
        for index, use in enumerate(self.spec.logits or ()):
            for place, each in enumerate(use.models):
                found.append((("spec", "logits", index, "models", place, "model"), each.model))
        return tuple(found)
