"""The pods that run a pool's engine: the same for both runtimes, within the `restricted` Pod Security Standard."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from pilotfish.api import ModelPool
from pilotfish.api.common import SecretKeyRef
from pilotfish.api.engine import ModelSource
from pilotfish.api.pod import Accelerator, EnvVar, Pod, Resources, Toleration
from pilotfish.render import labels
from pilotfish.render.context import RenderContext

MODELS = "/models"
"""Folder of the weights in a pod: `model`, `draft`, `adapters/<name>`, `logits/<number>/<role>` below it."""
VOLUMES = "/volumes"
"""Folder in which the claims of `pvc://` addresses are mounted, read-only."""
FETCH_MODEL = "fetch-model"
"""The container that fetches the pool's weights. Its termination message is their revision."""
DRAIN_SECONDS = 600
"""Seconds for requests in progress to finish when a replica stops."""
PRESTOP_SECONDS = 10
"""Seconds between a replica's removal from its endpoints and its stop, for clients that still have its address."""
_USER = 1000
_DEFAULT_REQUESTS = {"cpu": "1", "memory": "4Gi"}
_SHARED_MEMORY = {"cpu": "2Gi", "accelerator": "8Gi"}
_ENVIRONMENT = {
    "HOME": "/tmp",  # noqa: S108 - the pod's own volume
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_raylet_start_wait_time_s": "120",
    "HF_HUB_OFFLINE": "1",
    "PYTHONUNBUFFERED": "1",
}
_FETCH_ENVIRONMENT = {"HF_HUB_OFFLINE": "0", "PILOTFISH_REVISION_FILE": "/dev/termination-log"}
"""A variable, because older images of pools would reject an option."""


def model_path() -> str:
    """Folder of the pool's weights inside its pods."""
    return f"{MODELS}/model"


def draft_path() -> str:
    """Folder of the draft model's weights inside the pool's pods."""
    return f"{MODELS}/draft"


def adapter_path(name: str) -> str:
    """Folder of an adapter inside the pool's pods."""
    return f"{MODELS}/adapters/{name}"


def logits_path(number: int, role: str) -> str:
    """Folder of a model of the pool's logits plugin `number`, counted from 0, inside the pool's pods."""
    return f"{MODELS}/logits/{number}/{role}"


def pod_template(
    pool: ModelPool, context: RenderContext, container: Mapping[str, Any], *, accelerated: bool = True
) -> dict[str, Any]:
    """A pod around `container` (name, command, env, ports, probes). Without accelerators if `accelerated` is False."""
    pod = pool.spec.pod or Pod()
    accelerator = pool.spec.accelerator if accelerated else None
    sources = dict(_sources(pool))
    claims = sorted({claim for source in sources.values() if (claim := _claim(source))})
    main = {
        "image": context.pool_image,
        "imagePullPolicy": context.pull_policy,
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        **container,
        "env": [*_environment(pod.env), *container.get("env", [])],
        "resources": _resources(pool, accelerator),
        "volumeMounts": _mounts(context, claims),
    }
    fetches = [_fetch(to, source, context, claims) for to, source in sources.items()]
    spec: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": DRAIN_SECONDS + PRESTOP_SECONDS,
        "securityContext": pod_security(),
        "initContainers": fetches,
        "containers": [main],
        "volumes": _volumes(context, claims, accelerator),
        **_placement(pod, accelerator, context),
        **_tolerations(pod, pool.spec.accelerator),
    }
    return {
        "metadata": {"labels": {**pod.labels, **labels.labels(pool)}, "annotations": dict(pod.annotations)},
        "spec": spec,
    }


def with_revision(template: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The template with the digest of what it runs among its annotations, and that digest (10 hexadecimal digits)."""
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()[:10]
    metadata = template["metadata"]
    annotations = {**metadata["annotations"], labels.REVISION_ANNOTATION: digest}
    return {**template, "metadata": {**metadata, "annotations": annotations}}, digest


def _sources(pool: ModelPool) -> Iterator[tuple[str, ModelSource]]:
    if pool.spec.model:
        yield model_path(), pool.spec.model
    speculative = pool.engine.speculative
    if speculative and speculative.draft_model:
        yield draft_path(), speculative.draft_model
    for adapter in pool.spec.adapters or ():
        yield adapter_path(adapter.name), adapter.model
    for index, use in enumerate(pool.spec.logits or ()):
        for each in use.models:
            yield logits_path(index, each.role), each.model


def _claim(source: ModelSource) -> str | None:
    address = urlsplit(source.uri)
    return address.netloc if address.scheme == "pvc" else None


def _fetch(to: str, source: ModelSource, context: RenderContext, claims: list[str]) -> dict[str, Any]:
    claim = _claim(source)
    optional = {"--revision": source.revision, "--sha256": source.sha256}
    args = ["--uri", source.uri, "--to", to, "--cache", f"{MODELS}/cache"]
    args += [part for flag, value in optional.items() if value for part in (flag, value)]
    args += ["--volume", f"{claim}={VOLUMES}/{claim}"] if claim else []
    credential = source.credentials_secret_ref
    variables = {**_ENVIRONMENT, **_FETCH_ENVIRONMENT}
    return {
        "name": "fetch-" + to.removeprefix(MODELS + "/").replace("/", "-")[:57].rstrip("-"),
        "image": context.pool_image,
        "imagePullPolicy": context.pull_policy,
        "command": ["pilotfish", "fetch", *args],
        "env": [
            *({"name": name, "value": value} for name, value in variables.items()),
            *([_from_secret("PILOTFISH_CREDENTIAL", credential)] if credential else []),
        ],
        "resources": {"requests": {"cpu": "250m", "memory": "1Gi"}},
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [mount for mount in _mounts(context, claims) if mount["name"] != "shm"],
    }


def pod_security() -> dict[str, Any]:
    """The security context of a pod."""
    return {
        "runAsNonRoot": True,
        "runAsUser": _USER,
        "runAsGroup": _USER,
        "fsGroup": _USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> dict[str, Any]:
    """The security context of a container, in addition to that of its pod."""
    return {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    }


def _environment(extra: tuple[EnvVar, ...]) -> list[dict[str, Any]]:
    values: dict[str, dict[str, Any]] = {name: {"name": name, "value": value} for name, value in _ENVIRONMENT.items()}
    for variable in extra:
        values[variable.name] = (
            _from_secret(variable.name, variable.secret_key_ref)
            if variable.secret_key_ref
            else {"name": variable.name, "value": variable.value}
        )
    return list(values.values())


def _from_secret(name: str, ref: SecretKeyRef) -> dict[str, Any]:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": ref.name, "key": ref.key}}}


def _resources(pool: ModelPool, accelerator: Accelerator | None) -> dict[str, Any]:
    said = pool.spec.resources or Resources()
    limits = dict(said.limits)
    # Kubernetes uses a limit as the request if there is none.
    defaults = {name: amount for name, amount in _DEFAULT_REQUESTS.items() if name not in limits}
    requests = {**defaults, **said.requests}
    if accelerator:
        requests[accelerator.resource_name] = limits[accelerator.resource_name] = str(accelerator.count)
    return {"requests": requests, **({"limits": limits} if limits else {})}


def _mounts(context: RenderContext, claims: list[str]) -> list[dict[str, Any]]:
    shared = [{"name": "cache", "mountPath": f"{MODELS}/cache"}] if context.cache_claim else []
    return [
        {"name": "models", "mountPath": MODELS},
        *shared,
        {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108 - the pod's own volume
        {"name": "shm", "mountPath": "/dev/shm"},  # noqa: S108 - the pod's own volume
        *(
            {"name": f"claim-{number}", "mountPath": f"{VOLUMES}/{claim}", "readOnly": True}
            for number, claim in enumerate(claims)
        ),
    ]


def _volumes(context: RenderContext, claims: list[str], accelerator: Accelerator | None) -> list[dict[str, Any]]:
    shared_memory = _SHARED_MEMORY["accelerator" if accelerator else "cpu"]
    claim = context.cache_claim
    shared = [{"name": "cache", "persistentVolumeClaim": {"claimName": claim}}] if claim else []
    return [
        {"name": "models", "emptyDir": {}},
        *shared,
        {"name": "tmp", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": shared_memory}},
        *(
            {"name": f"claim-{number}", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
            for number, claim in enumerate(claims)
        ),
    ]


def _placement(pod: Pod, accelerator: Accelerator | None, context: RenderContext) -> dict[str, Any]:
    product = context.accelerators.get(accelerator.type, {}) if accelerator else {}
    optional: dict[str, Any] = {
        "nodeSelector": {**product, **pod.node_selector},
        "affinity": pod.affinity,
        "topologySpreadConstraints": list(pod.topology_spread_constraints),
        "priorityClassName": pod.priority_class_name,
        "runtimeClassName": pod.runtime_class_name,
        "serviceAccountName": pod.service_account_name,
        "imagePullSecrets": [{"name": ref.name} for ref in pod.image_pull_secrets],
    }
    return {name: value for name, value in optional.items() if value}


def _tolerations(pod: Pod, accelerator: Accelerator | None) -> dict[str, Any]:
    """The manifest's tolerations, else one of the accelerator's taint, also for the head of a Ray cluster."""
    chosen = pod.tolerations
    if accelerator and not chosen:
        chosen = (Toleration(key=accelerator.resource_name, operator="Exists", effect="NoSchedule"),)
    return {"tolerations": [each.model_dump(by_alias=True, exclude_none=True) for each in chosen]} if chosen else {}
