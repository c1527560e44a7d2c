"""Values: documented, closed, in step with their schema, and each of them in use."""

import json
import re
from collections.abc import Iterator
from copy import deepcopy
from functools import cache
from itertools import pairwise
from typing import Any

import pytest
import yaml
from helm import CHART, Rejected, render

VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
SCHEMA = json.loads((CHART / "values.schema.json").read_text())
MONITORING = ("--api-versions", "monitoring.coreos.com/v1")

Path = tuple[str, ...]


def leaves(values: dict[str, Any], path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every value that is no group of others."""
    for key, value in values.items():
        if isinstance(value, dict) and value and key not in {"requests", "limits"}:
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key), value


def at(values: dict[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """A copy of `values` with `value` at `path`."""
    changed = deepcopy(values)
    holder = changed
    for key in path[:-1]:
        holder = holder.setdefault(key, {})
    holder[path[-1]] = value
    return changed


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    return SCHEMA["definitions"][schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def fields(schema: dict[str, Any], path: Path = ()) -> Iterator[Path]:
    for key, below in resolved(schema).get("properties", {}).items():
        inner = resolved(below)
        if inner.get("properties") and key != "resources":
            yield from fields(inner, (*path, key))
        else:
            yield (*path, key)


def test_schema_and_values_have_the_same_fields() -> None:
    known = {path[:-1] if path[-1] in {"requests", "limits"} else path for path, _ in leaves(VALUES)}
    assert set(fields(SCHEMA)) - {("global",)} == known


# names that say to anyone who knows Kubernetes or Helm what they are
PLAIN = (
    "affinity annotations autoscaling digest enabled env image interval key limits maxReplicas minReplicas name "
    "nodeSelector podAnnotations podLabels port priorityClassName pullPolicy registry repository requests resources "
    "service serviceAccount tag targetCPUPercent tolerations type"
)


def test_every_value_is_documented_above_itself() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    bare = [
        line
        for above, line in pairwise(["", *lines])
        if (key := re.match(r" +([a-zA-Z]+):", line))
        and key[1] not in PLAIN.split()
        and not above.strip().startswith("#")
    ]
    assert not bare


# what each value may be instead of its default, where a plain variation of the default would not do
OTHER: dict[Path, Any] = {
    ("image", "digest"): "sha256:" + "a" * 64,
    ("pools", "image", "digest"): "sha256:" + "a" * 64,
    ("pools", "runtime"): "Deployment",
    ("pools", "accelerators"): {"nvidia-l4": {"nvidia.com/gpu.product": "NVIDIA-L4"}},
    ("imagePullSecrets",): ["other"],
    ("watchNamespaces",): ["other"],
    ("operator", "logLevel"): "debug",
    ("gateway", "logLevel"): "debug",
    ("webhook", "logLevel"): "debug",
    ("webhook", "failurePolicy"): "Fail",
    ("webhook", "certificate", "type"): "SelfMade",
    ("webhook", "certificate", "issuer", "kind"): "ClusterIssuer",
    ("webhook", "env"): [{"name": "OTHER", "value": "1"}],
    ("webhook", "tolerations"): [{"key": "other"}],
    ("plugins", "extra", "volume"): {"configMap": {"name": "plugins"}},
    ("operator", "env"): [{"name": "OTHER", "value": "1"}],
    ("gateway", "env"): [{"name": "OTHER", "value": "1"}],
    ("operator", "tolerations"): [{"key": "other"}],
    ("gateway", "tolerations"): [{"key": "other"}],
    ("gateway", "topologySpreadConstraints"): [{"topologyKey": "other"}],
    ("gateway", "service", "type"): "LoadBalancer",
    ("networkPolicy", "apiServerPorts"): [1],
    ("networkPolicy", "externalPorts"): [1],
    ("networkPolicy", "externalExcept"): ["10.0.0.0/8"],
    ("networkPolicy", "gatewayFrom"): [{"podSelector": {}}],
    ("networkPolicy", "metricsFrom"): [{"podSelector": {}}],
    ("telemetry", "otlpEndpoint"): "http://collector:4318",
    ("serviceMonitor", "interval"): "1m",
}
# what must be given too for the value to mean anything
_CERT_MANAGER = {"type": "CertManager", "issuer": {"name": "ours"}}
WITH: dict[Path, dict[str, Any]] = {
    ("gateway", "autoscaling"): {"gateway": {"autoscaling": {"enabled": True}}},
    ("gateway", "apiKeysSecret", "key"): {"gateway": {"apiKeysSecret": {"name": "keys"}}},
    ("plugins", "extra", "requirements"): {"plugins": {"extra": {"volume": {"configMap": {"name": "plugins"}}}}},
    ("telemetry", "samplingRatio"): {"telemetry": {"otlpEndpoint": "http://collector:4318"}},
    ("serviceMonitor",): {"serviceMonitor": {"enabled": True}},
    ("webhook", "certificate", "issuer"): {"webhook": {"enabled": True, "certificate": _CERT_MANAGER}},
    ("webhook",): {"webhook": {"enabled": True, "certificate": {"type": "CertManager"}}},
}


def varied(path: Path, value: Any) -> Any:
    if path in OTHER:
        return OTHER[path]
    match value:
        case bool():
            return not value
        case int():
            return value + 1 if path[-1] != "samplingRatio" else 0.5
        case str():
            return "Always" if path[-1] == "pullPolicy" else "other"
        case dict() if path[-1] in {"requests", "limits"}:
            return {"memory": "7Gi"}
        case dict():
            return {"other": "value"}
    raise AssertionError(f"say in OTHER what {'.'.join(path)} may be instead of {value!r}")


@cache
def rendered(values: str) -> list[dict[str, Any]]:
    return render(*MONITORING, values=json.loads(values))


@pytest.mark.parametrize(
    ("path", "value"), list(leaves(VALUES)), ids=lambda part: ".".join(part) if isinstance(part, tuple) else ""
)
def test_every_value_changes_what_is_rendered(path: Path, value: Any) -> None:
    base: dict[str, Any] = next((more for prefix, more in WITH.items() if path[: len(prefix)] == prefix), {})
    if path[-1] == "enabled":
        base = {}
    assert render(*MONITORING, values=at(base, path, varied(path, value))) != rendered(json.dumps(base))


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"gatway": {}}, "gatway"),
        ({"gateway": {"replica": 3}}, "replica"),
        ({"gateway": {"replicas": "3"}}, "gateway/replicas"),
        ({"image": {"digest": "latest"}}, "image/digest"),
        ({"pools": {"runtime": "Kubernetes"}}, "pools/runtime"),
        ({"telemetry": {"otlpEndpoint": "collector:4318"}}, "otlpEndpoint"),
        ({"gateway": {"autoscaling": {"enabled": True, "minReplicas": 11}}}, "minReplicas is above"),
        ({"serviceMonitor": {"enabled": True}}, "install it first"),
    ],
    ids=str,
)
def test_wrong_values_are_refused_by_name(values: dict[str, Any], complaint: str) -> None:
    with pytest.raises(Rejected, match=complaint):
        render(values=values)
