"""The pods of a pool: accelerators, resources, and the part of a pod's spec that a manifest may set."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from pilotfish.api.common import (
    VARIABLE,
    AnnotationValue,
    Label,
    LabelValue,
    LocalObjectRef,
    Model,
    ObjectName,
    Opaque,
    Quantity,
    SecretKeyRef,
    exactly_one_of,
    list_map,
    ordered_list,
)


class Accelerator(Model):
    """The accelerators of each pod of a replica."""

    type: Label
    """The product name of the accelerator, for example nvidia-h100. If the installation maps the name to node labels
    (Helm value `pools.accelerators`), pods are scheduled to nodes with these labels. Otherwise pods are scheduled to
    any node that has `resourceName`, unless `spec.pod.nodeSelector` or `spec.pod.affinity` restricts them.
    """
    count: Annotated[int, Field(strict=True, ge=1, le=64)] = 1
    """The number of accelerators in each pod."""
    resource_name: Annotated[str, Field(min_length=1, max_length=253)] = "nvidia.com/gpu"
    """The extended resource that pods request, as the device plugin of the cluster names it."""


class Resources(Model):
    """The resources of each pod of a replica. Accelerators are set in `spec.accelerator`."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
    """The resources that a node must have free for the pod. cpu defaults to 1 and memory to 4Gi, each unless `requests`
    or `limits` sets it.
    """
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] = {}
    """The maximum resources that the pod may use. No limits if unset."""


class Toleration(Model):
    """A toleration, as in the spec of a pod."""

    key: Annotated[str, Field(max_length=317)] | None = None
    """The taint key that the toleration applies to. If unset, `operator` must be Exists; every key is tolerated."""
    operator: Literal["Exists", "Equal"] = "Equal"
    """The relation of the taint to `key` and `value`. Equal: the taint's value must equal `value`. Exists: any value
    is tolerated.
    """
    value: Annotated[str, Field(max_length=63)] | None = None
    """The taint value that the toleration matches, for operator Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """The taint effect to match. If unset, all effects are tolerated."""
    toleration_seconds: Annotated[int, Field(strict=True)] | None = None
    """How long a pod stays on a node after a NoExecute taint was added, in seconds. If unset, the pod stays for as long
    as the taint is there.
    """


class EnvVar(Model):
    """An environment variable of the engine's container, with a value or from a Secret."""

    rules: ClassVar = (exactly_one_of("value", "secretKeyRef"),)
    name: Annotated[str, Field(pattern=VARIABLE, max_length=253)]
    """The name of the variable."""
    value: Annotated[str, Field(max_length=32768)] | None = None
    """The value of the variable. Exactly one of value, secretKeyRef must be set."""
    secret_key_ref: SecretKeyRef | None = None
    """The Secret key that holds the value. Exactly one of value, secretKeyRef must be set."""


class Pod(Model):
    """The part of the pods' spec that can be set. Security settings, volumes and containers cannot."""

    labels: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    """Labels to add to the pods. Labels that the operator sets take precedence."""
    annotations: Annotated[dict[str, AnnotationValue], Field(max_length=32)] = {}
    """Annotations to add to the pods."""
    node_selector: Annotated[dict[str, LabelValue], Field(max_length=32)] = {}
    """Labels that a node must have for the pods to be scheduled to it. Takes precedence over the labels that the
    installation maps `spec.accelerator.type` to.
    """
    tolerations: Annotated[tuple[Toleration, ...], ordered_list(maximum=32)] = ()
    """The taints that the pods tolerate. If unset, pods with an accelerator tolerate NoSchedule taints whose key is
    `spec.accelerator.resourceName`.
    """
    affinity: Opaque | None = None
    """Scheduling constraints, as `spec.affinity` of a pod. The API server checks them when the pods are created."""
    topology_spread_constraints: Annotated[tuple[Opaque, ...], ordered_list(maximum=8)] = ()
    """How pods are spread over zones or nodes, as `spec.topologySpreadConstraints` of a pod. The API server checks the
    constraints when the pods are created.
    """
    priority_class_name: ObjectName | None = None
    """The PriorityClass of the pods."""
    runtime_class_name: ObjectName | None = None
    """The RuntimeClass of the pods."""
    service_account_name: ObjectName | None = None
    """The ServiceAccount of the pods, of the pool's namespace. Its token is not mounted. Defaults to the namespace's
    default account.
    """
    image_pull_secrets: Annotated[tuple[LocalObjectRef, ...], *list_map("name", maximum=8)] = ()
    """Secrets of the pool's namespace with the credentials for pulling the pods' image."""
    env: Annotated[tuple[EnvVar, ...], *list_map("name", maximum=64)] = ()
    """Environment variables of the engine's container."""
