"""The Job that prepares an AdaptationPlugin: its documents are mounted, and the result is written to a shared claim."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import yaml

from pilotfish.api import AdaptationPlugin, ModelPool, Resource
from pilotfish.api.common import SecretKeyRef
from pilotfish.render import labels
from pilotfish.render.context import RenderContext
from pilotfish.render.podtemplate import VOLUMES, container_security, pod_security

PREPARED = "/prepared"
"""Where Jobs and gateways mount the claim."""
PREPARE = "prepare"
"""The container. Its termination message is the result, as JSON."""
JOB_NAME_LABEL = "batch.kubernetes.io/job-name"
"""The label by which Kubernetes marks the pods of a Job."""
TRIES = 4
"""Times that a failed Job is tried again before it counts as failed."""
PROGRESS_PORT = 8002
"""Port at which the container serves its progress."""
LONGEST_NAME = 40
_DOCUMENTS, _SECRETS = "/documents", "/secrets"
_WITHOUT_CLIENT = frozenset({"pvc", "package", "file", "https"})
"""Schemes of sources that need no client of an object store. The image of pools has these clients."""
_ENVIRONMENT = {"HOME": "/tmp", "PYTHONUNBUFFERED": "1"}  # noqa: S108 - the pod's own volume


def folder_of(plugin: AdaptationPlugin) -> str:
    """The folder of a plugin in the claim."""
    return f"{plugin.namespace}.{plugin.name}"


def preparation_job(
    plugin: AdaptationPlugin, pools: Sequence[ModelPool], documents: Mapping[str, str], context: RenderContext
) -> dict[str, Any]:
    """The Job. Its name has a digest of everything that it depends on, so that another one is made when that changes.

    `documents` are digests of the documents as far as they are known, by the name of what has them.
    """
    template = _template(plugin, pools, context)
    identity = json.dumps([template, sorted(documents.items())], sort_keys=True)
    digest = hashlib.sha256(identity.encode()).hexdigest()[:10]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{plugin.name}-prepare-{digest}",
            "namespace": plugin.namespace,
            "labels": _labels(plugin),
            "ownerReferences": [labels.owner_reference(plugin)],
        },
        "spec": {"backoffLimit": TRIES, "template": template},
    }


def _labels(plugin: AdaptationPlugin) -> dict[str, str]:
    return {
        labels.PLUGIN_LABEL: plugin.name,
        **labels.PREPARATION_LABELS,
        labels.MANAGED_BY_LABEL: labels.FIELD_MANAGER,
    }


def _template(plugin: AdaptationPlugin, pools: Sequence[ModelPool], context: RenderContext) -> dict[str, Any]:
    sources = plugin.spec.sources
    maps = sorted({source.config_map_ref.name for source in sources if source.config_map_ref})
    addresses = [source.uri.partition("://") for source in sources if source.uri]
    claims = sorted({rest.partition("/")[0] for scheme, _, rest in addresses if scheme == "pvc"})
    secrets = _secrets(plugin, pools)
    remote = any(scheme not in _WITHOUT_CLIENT for scheme, _, _ in addresses)
    command = ["pilotfish", "prepare", "--to", f"{PREPARED}/{folder_of(plugin)}", "--result", "/dev/termination-log"]
    command += ["--progress-port", str(PROGRESS_PORT)]
    command += _options("--config-map", maps, _DOCUMENTS)
    command += _options("--volume", claims, VOLUMES)
    command += _options("--secret", [f"{ref.name}/{ref.key}" for ref in secrets], _SECRETS)
    environment = {**_ENVIRONMENT, "PILOTFISH_MANIFESTS": _manifests(plugin, pools)}
    volumes = _volumes(context, maps, claims, secrets)
    container = {
        "name": PREPARE,
        "image": context.pool_image if remote else context.image,
        "imagePullPolicy": context.pull_policy,
        "command": command,
        "ports": [{"name": "progress", "containerPort": PROGRESS_PORT, "protocol": "TCP"}],
        "env": [{"name": name, "value": value} for name, value in environment.items()],
        "resources": {"requests": {"cpu": "250m", "memory": "512Mi"}},
        "securityContext": container_security(),
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "volumeMounts": [{"name": each["name"], **mount} for each, mount in volumes],
    }
    return {
        "metadata": {"labels": _labels(plugin)},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "securityContext": pod_security(),
            "containers": [container],
            "volumes": [each for each, _ in volumes],
        },
    }


def _options(option: str, names: Iterable[str], folder: str) -> list[str]:
    return [part for name in names for part in (option, f"{name}={folder}/{name}")]


def _secrets(plugin: AdaptationPlugin, pools: Sequence[ModelPool]) -> list[SecretKeyRef]:
    of_sources = (source.credentials_secret_ref for source in plugin.spec.sources)
    of_pools = (pool.spec.external.api_key_secret_ref for pool in pools if pool.spec.external)
    found = {ref for ref in (*of_sources, *of_pools) if ref}
    return sorted(found, key=lambda ref: (ref.name, ref.key))


def _manifests(plugin: AdaptationPlugin, pools: Sequence[ModelPool]) -> str:
    """The plugin and its pools, with what the digest of the folder and the calls need of them."""
    described = [_described(plugin, {}), *(_described(pool, _reached(pool)) for pool in pools)]
    return str(yaml.safe_dump_all(described))


def _reached(pool: ModelPool) -> dict[str, str]:
    known = {"url": pool.status.url, "resolvedRevision": pool.status.resolved_revision} if pool.status else {}
    return {name: value for name, value in known.items() if value}


def _described(resource: Resource, status: Mapping[str, str]) -> dict[str, Any]:
    found = resource.to_manifest()
    spec = found["spec"]
    if isinstance(resource, ModelPool):
        kept = {"tier", "task", "model", "external", "replicas"}
        spec = {name: value for name, value in spec.items() if name in kept}
        if not resource.spec.external:
            spec["replicas"] = 1
    if isinstance(resource, AdaptationPlugin):
        other = {"timeoutSeconds", "failurePolicy", "refreshSeconds"}
        spec = {name: value for name, value in spec.items() if name not in other}
    metadata = {"name": resource.name, "namespace": resource.namespace}
    described = {"apiVersion": found["apiVersion"], "kind": resource.kind, "metadata": metadata, "spec": spec}
    return {**described, "status": dict(status)} if status else described


def _volumes(
    context: RenderContext, maps: Sequence[str], claims: Sequence[str], secrets: Sequence[SecretKeyRef]
) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Each volume, and how the container mounts it."""
    found: list[tuple[dict[str, Any], dict[str, Any]]] = [
        ({"name": "tmp", "emptyDir": {}}, {"mountPath": "/tmp"}),  # noqa: S108 - the pod's own volume
        ({"name": "prepared", "persistentVolumeClaim": {"claimName": context.prepared_claim}}, {"mountPath": PREPARED}),
    ]
    for number, name in enumerate(maps):
        mount = {"mountPath": f"{_DOCUMENTS}/{name}", "readOnly": True}
        found.append(({"name": f"documents-{number}", "configMap": {"name": name}}, mount))
    for number, name in enumerate(claims):
        claim = {"claimName": name, "readOnly": True}
        mount = {"mountPath": f"{VOLUMES}/{name}", "readOnly": True}
        found.append(({"name": f"claim-{number}", "persistentVolumeClaim": claim}, mount))
    for number, ref in enumerate(secrets):
        secret = {"secretName": ref.name, "items": [{"key": ref.key, "path": ref.key}]}
        mount = {"mountPath": f"{_SECRETS}/{ref.name}/{ref.key}", "subPath": ref.key, "readOnly": True}
        found.append(({"name": f"secret-{number}", "secret": secret}, mount))
    return found
