"""CustomResourceDefinitions, as values, as YAML, and as templates of the chart."""

import inspect
from typing import Any, get_args

import yaml

from pilotfish.api import API_VERSION, GROUP, VERSION, Resource
from pilotfish.api.common import Model
from pilotfish.api.resource import Definition
from pilotfish.base.errors import PilotfishError
from pilotfish.crdgen.structural import Schema, structural_schema, validations
from pilotfish.reconcile.kinds import KINDS

CATEGORY = "pilotfish"
"""`kubectl get pilotfish` lists objects of all kinds."""
MAX_BYTES = 256 * 1024
"""The maximum size of annotations. Client-side apply stores the whole object in one."""

_HEADER = "# Generated from the models in operator/pilotfish/api by `pilotfish crds`: do not edit.\n"

# These conditions stay until an operator processes the object, so they show that none is running.
_PENDING = [
    {
        "type": kind,
        "status": "Unknown",
        "reason": "Pending",
        "message": "Waiting for the operator",
        "lastTransitionTime": "1970-01-01T00:00:00Z",
    }
    for kind in ("Accepted", "Ready")
]


class TooLarge(PilotfishError):
    """A CRD is larger than the annotation in which client-side apply stores it."""


def definition(model: type[Resource]) -> dict[str, Any]:
    """The CustomResourceDefinition of one kind."""
    declared, name = model.definition, model.__name__
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _root(model)},
        "subresources": _subresources(declared),
        "additionalPrinterColumns": [
            {"name": column.name, "type": column.type, "jsonPath": column.path}
            | ({"priority": column.priority} if column.priority else {})
            for column in declared.columns
        ],
    }
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{declared.plural}.{GROUP}", "labels": {"app.kubernetes.io/name": "pilotfish"}},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": name,
                "listKind": f"{name}List",
                "plural": declared.plural,
                "singular": name.lower(),
                "shortNames": [declared.short_name],
                "categories": [CATEGORY],
            },
            "versions": [version],
        },
    }


def _root(model: type[Resource]) -> Schema:
    spec, status = (_model_of(model.model_fields[name].annotation) for name in ("spec", "status"))
    root: Schema = {
        "type": "object",
        "description": inspect.cleandoc(model.__doc__ or ""),
        "properties": {
            "apiVersion": {
                "type": "string",
                "description": f"The version of this object's schema: {API_VERSION}.",
            },
            "kind": {"type": "string", "description": f"The kind of this object: {model.__name__}."},
            "metadata": {"type": "object"},
            "spec": structural_schema(spec),
            "status": structural_schema(status) | {"default": {"conditions": _PENDING}},
        },
        "required": ["spec"],
    }
    if model.rules:
        root["x-kubernetes-validations"] = validations(model)
    return root


def _model_of(annotation: Any) -> type[Model]:
    candidates = (annotation, *get_args(annotation))
    return next(each for each in candidates if isinstance(each, type) and issubclass(each, Model))


def _subresources(declared: Definition) -> dict[str, Any]:
    scale = {
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        }
    }
    return {"status": {}} | (scale if declared.scale else {})


def render() -> dict[str, str]:
    """The YAML of every CRD, by file name. Raises TooLarge for one that `kubectl apply` could not apply."""
    files = {f"{kind.type.plural}.{GROUP}.yaml": _HEADER + _yaml(definition(kind.model)) for kind in KINDS}
    for name, text in files.items():
        if len(text.encode()) >= MAX_BYTES:
            raise TooLarge(f"{name} has {len(text.encode())} bytes, but `kubectl apply` accepts less than {MAX_BYTES}")
    return files


def render_templates() -> dict[str, str]:
    """The YAML of every CRD as a template of the chart, by file name, with the values crds.enabled and crds.keep."""
    templates = {}
    for kind in KINDS:
        value = definition(kind.model)
        value["metadata"]["annotations"] = {"helm.sh/resource-policy": "keep"}
        text = _yaml(value)
        if "{{" in text:
            raise PilotfishError(f"{kind.name}: a description contains '{{{{', which Helm would parse as a template")
        keep = "  annotations:\n    helm.sh/resource-policy: keep\n"
        guarded = text.replace(keep, "  {{- if .Values.crds.keep }}\n" + keep + "  {{- end }}\n", 1)
        templates[f"{kind.type.plural}.yaml"] = (
            f"{_HEADER}{{{{- if .Values.crds.enabled }}}}\n{guarded}{{{{- end }}}}\n"
        )
    return templates


class _Dumper(yaml.SafeDumper):
    """Repeats equal values instead of using anchors, which not every YAML parser supports."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _yaml(value: dict[str, Any]) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)
