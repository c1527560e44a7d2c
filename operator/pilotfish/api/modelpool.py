"""ModelPool: one model, where its weights are, what runs it, and on how many replicas."""

from enum import StrEnum
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pilotfish.api.common import (
    AnnotationValue,
    Currency,
    DecimalString,
    HttpUrl,
    Label,
    LabelValue,
    Metadata,
    Model,
    ObjectName,
    Opaque,
    Quantity,
    Rule,
    SecretKeyRef,
    Sha256,
    Uri,
    exactly_one_of,
    list_map,
    ordered_list,
)
from pilotfish.api.status import ModelPoolStatus


class Tier(StrEnum):
    """Whether the model is one of the cheap, fast ones or one of the dear, better ones."""

    SMALL = "Small"
    LARGE = "Large"


class Task(StrEnum):
    """What the model does: completes, turns text into vectors, or judges pairs of texts."""

    GENERATE = "Generate"
    EMBED = "Embed"
    SCORE = "Score"


class Runtime(StrEnum):
    """How a pool runs in a cluster; Auto takes RayService where KubeRay serves its API."""

    AUTO = "Auto"
    RAY_SERVICE = "RayService"
    DEPLOYMENT = "Deployment"


class RolloutType(StrEnum):
    """Surge starts the new replicas beside the old ones; Recreate stops the old ones first."""

    SURGE = "Surge"
    RECREATE = "Recreate"


class SpeculativeType(StrEnum):
    """Who drafts the tokens that the model checks."""

    DRAFT_MODEL = "DraftModel"
    NGRAM = "NGram"
    EAGLE = "Eagle"


class ModelSource(Model):
    """Where weights are."""

    uri: Uri = Field(description="scheme://…; the schemes are those of the installed sources, see `pilotfish plugins`.")
    revision: Annotated[str, Field(min_length=1, max_length=253)] | None = Field(
        None, description="A branch, tag or commit, for sources that have revisions."
    )
    sha256: Sha256 | None = Field(None, description="SHA-256, in hexadecimal, of the file that the address names.")
    credentials_secret_ref: SecretKeyRef | None = None


class Speculative(Model):
    """Speculative decoding: a cheap drafter proposes tokens, the model keeps those it would have said."""

    rules: ClassVar = (
        Rule(
            message="draftModel is needed for type DraftModel and Eagle, and belongs to no other type",
            cel="(self.type != 'NGram') == has(self.draftModel)",
            holds=lambda s: (s.type != SpeculativeType.NGRAM) == (s.draft_model is not None),
            field=("draftModel",),
        ),
    )
    type: SpeculativeType
    draft_model: ModelSource | None = None
    tokens: Annotated[int, Field(strict=True, ge=1, le=32)] = Field(description="Tokens drafted at a time.")


class Engine(Model):
    """How vLLM runs the model."""

    max_model_length: Annotated[int, Field(strict=True, ge=1, le=16_777_216)] | None = Field(
        None, description="Tokens of prompt and answer together; the model's own limit when left out."
    )
    tensor_parallel_size: Annotated[int, Field(strict=True, ge=1, le=256)] = 1
    pipeline_parallel_size: Annotated[int, Field(strict=True, ge=1, le=256)] = 1
    speculative: Speculative | None = None
    args: Opaque = Field(
        {}, description="vLLM engine arguments as they stand, but for those with a field of their own."
    )


class Accelerator(Model):
    """The accelerators of one node (pod) of a replica."""

    type: Label = Field(
        description="A name of the product, such as nvidia-h100. It chooses nodes where the installation has labels for"
        " it (the chart's pools.accelerators); elsewhere any node with the resource will do, unless pod.nodeSelector"
        " chooses."
    )
    count: Annotated[int, Field(strict=True, ge=1, le=64)] = 1
    resource_name: Annotated[str, Field(min_length=1, max_length=253)] = "nvidia.com/gpu"


class Resources(Model):
    """What one node (pod) of a replica asks for, as in a container."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = Field(
        {}, description="1 cpu and 4Gi of memory, each unless these or the limits name an amount."
    )
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = {}


class Rollout(Model):
    """How a change of the engine reaches the replicas."""

    type: RolloutType = Field(
        RolloutType.SURGE,
        description="Surge needs room for old and new replicas at once. Recreate does not, and costs an outage: nobody"
        " answers from the end of the old replicas until the new ones have loaded the model.",
    )


class Adapter(Model):
    """A LoRA adapter, served as `<pool>:<name>`."""

    name: Label
    model: ModelSource


class Toleration(Model):
    """A Kubernetes toleration."""

    key: Annotated[str, Field(max_length=317)] | None = None
    operator: Literal["Exists", "Equal"] = "Equal"
    value: Annotated[str, Field(max_length=63)] | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    toleration_seconds: Annotated[int, Field(strict=True)] | None = None


class EnvVar(Model):
    """An environment variable of the engine's container, by value or from a Secret."""

    rules: ClassVar = (exactly_one_of("value", "secretKeyRef"),)
    name: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=253)]
    value: Annotated[str, Field(max_length=32768)] | None = None
    secret_key_ref: SecretKeyRef | None = None


class LocalObjectRef(Model):
    """An object of the same namespace, by name."""

    name: ObjectName


class Pod(Model):
    """What may be said about a pool's pods; nothing else of a pod is open."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    annotations: Annotated[dict[str, AnnotationValue], Field(max_length=32)] = {}
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    tolerations: Annotated[tuple[Toleration, ...], ordered_list(maximum=32)] = ()
    affinity: Opaque | None = None
    topology_spread_constraints: Annotated[tuple[Opaque, ...], ordered_list(maximum=8)] = ()
    priority_class_name: ObjectName | None = None
    runtime_class_name: ObjectName | None = None
    service_account_name: ObjectName | None = None
    image_pull_secrets: Annotated[tuple[LocalObjectRef, ...], *list_map("name", maximum=8)] = ()
    env: Annotated[tuple[EnvVar, ...], *list_map("name", maximum=64)] = ()


class Pricing(Model):
    """What the model costs, for traces, reports and objectives."""

    currency: Currency
    per_replica_hour: DecimalString | None = None
    per_million_input_tokens: DecimalString | None = None
    per_million_output_tokens: DecimalString | None = None


class Power(Model):
    """What one replica draws."""

    idle_watts: Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
    active_watts: Annotated[int, Field(strict=True, ge=0, le=1_000_000)]


class External(Model):
    """A model behind somebody's OpenAI-compatible API."""

    base_url: HttpUrl = Field(alias="baseURL", description="The address that ends in /v1.")
    model: Annotated[str, Field(min_length=1, max_length=253)]
    api_key_secret_ref: SecretKeyRef | None = None


_DEPLOYED_ONLY = (
    "engine",
    "accelerator",
    "resources",
    "replicas",
    "autoscalingPolicyRef",
    "rollout",
    "adapters",
    "pod",
)


def _parallel_sizes_fit(spec: "ModelPoolSpec") -> bool:
    if spec.accelerator is None:
        return True
    engine = spec.engine or Engine()
    return engine.tensor_parallel_size * engine.pipeline_parallel_size == spec.accelerator.count * spec.nodes


class ModelPoolSpec(Model):
    """What a pool should be."""

    rules: ClassVar = (
        exactly_one_of("model", "external"),
        Rule(
            message="an external pool deploys nothing: remove " + ", ".join(_DEPLOYED_ONLY),
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
            message="a pool of more than one node a replica needs runtime RayService (or Auto)",
            cel="self.nodes == 1 || self.runtime != 'Deployment'",
            holds=lambda s: s.nodes == 1 or s.runtime != Runtime.DEPLOYMENT,
            field=("nodes",),
        ),
    )
    tier: Tier
    task: Task = Task.GENERATE
    model: ModelSource | None = None
    external: External | None = None
    engine: Engine | None = None
    accelerator: Accelerator | None = None
    nodes: Annotated[int, Field(strict=True, ge=1, le=64)] = Field(1, description="Nodes (pods) of one replica.")
    resources: Resources | None = None
    runtime: Runtime = Runtime.AUTO
    replicas: Annotated[int, Field(strict=True, ge=0, le=1000)] | None = None
    autoscaling_policy_ref: LocalObjectRef | None = None
    rollout: Rollout | None = None
    adapters: Annotated[tuple[Adapter, ...], *list_map("name", maximum=64)] | None = None
    pod: Pod | None = None
    pricing: Pricing | None = None
    power: Power | None = None


class ModelPool(Model):
    """A model and the replicas that serve it."""

    rules: ClassVar = (
        Rule(
            message="a pool's name has at most 40 characters, as names of what is made of it are longer",
            cel="size(self.metadata.name) <= 40",
            holds=lambda pool: len(pool.metadata.name) <= 40,
            field=("metadata", "name"),
        ),
    )
    api_version: Literal["pilotfish.dev/v1alpha1"]
    kind: Literal["ModelPool"]
    metadata: Metadata
    spec: ModelPoolSpec
    status: ModelPoolStatus | None = None

    @property
    def name(self) -> str:
        """The object's name."""
        return self.metadata.name

    def adapter_name(self, adapter: str) -> str:
        """What clients and the model server call a LoRA adapter of the pool."""
        return f"{self.name}:{adapter}"

    @property
    def engine(self) -> Engine:
        """The engine's settings, defaults where none are given."""
        return self.spec.engine or Engine()
