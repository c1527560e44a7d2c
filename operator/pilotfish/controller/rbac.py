"""The rights of each process at the API server, from which the chart's roles are generated.

Each verb is used by a handler. tests/apiserver runs the operator with these rights only, and checks in the audit log of
the API server that each was used. Nothing here imports Kopf or does I/O.
"""

from dataclasses import dataclass

from pilotfish.api import GROUP

_READ = ("get", "list", "watch")
_OWN = (*_READ, "create", "patch", "delete")
_KINDS = ("adaptationplugins", "autoscalingpolicies", "modelpools", "modelrouters")


@dataclass(frozen=True)
class Grant:
    """Verbs on resources of one API group, and the reason for them."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    reason: str


OPERATOR = (
    Grant(GROUP, _KINDS, ("list", "watch"), "watches the four kinds"),
    Grant(GROUP, tuple(f"{kind}/status" for kind in _KINDS), ("patch",), "writes the status"),
    Grant("apps", ("deployments",), _OWN, "creates and updates pools"),
    Grant("ray.io", ("rayservices",), _OWN, "creates and updates pools that KubeRay runs"),
    Grant("", ("services",), _OWN, "gives the replicas of a pool one address"),
    Grant("networking.k8s.io", ("networkpolicies",), _OWN, "restricts access to a pool to gateway and operator"),
    Grant("", ("pods",), ("list", "watch"), "finds out why a replica does not start"),
    Grant("", ("secrets",), ("get",), "lists the models of external APIs with their keys"),
    Grant("events.k8s.io", ("events",), ("create",), "reports changes to users"),
)
"""In every watched namespace."""

OPERATOR_HOME = (
    Grant("coordination.k8s.io", ("leases",), ("get", "create", "update"), "keeps only one operator active"),
    Grant("discovery.k8s.io", ("endpointslices",), ("list",), "finds the replicas of the gateway, to read their load"),
)
"""In the operator's own namespace."""

GATEWAY = (
    Grant(GROUP, _KINDS, ("list", "watch"), "watches the four kinds"),
    Grant("discovery.k8s.io", ("endpointslices",), ("list", "watch"), "balances requests over the replicas of a pool"),
    Grant("", ("configmaps", "secrets"), ("get",), "reads the artifacts and keys that a resource refers to"),
)
"""In every served namespace. Nothing is written."""

WEBHOOK = (Grant(GROUP, ("modelpools",), ("get",), "reads the tasks of a router's pools"),)
"""In every watched namespace. Nothing is written."""

VIEWER = (
    Grant(GROUP, (*_KINDS, *(f"{kind}/status" for kind in _KINDS), "modelpools/scale"), _READ, "reads the four kinds"),
)
EDITOR = (
    Grant(GROUP, _KINDS, ("create", "update", "patch", "delete", "deletecollection"), "writes the four kinds"),
    Grant(GROUP, ("modelpools/scale",), ("update", "patch"), "scales pools"),
)

ROLES = {
    "operator": OPERATOR,
    "operatorHome": OPERATOR_HOME,
    "gateway": GATEWAY,
    "webhook": WEBHOOK,
    "viewer": VIEWER,
    "editor": EDITOR,
}
"""The grants of each role, by its name in the templates of the chart."""


def template() -> str:
    """The template of the chart that defines `pilotfish.rules.<role>` for every role."""
    parts = ["{{/* Generated from operator/pilotfish/controller/rbac.py by `pilotfish crds`: do not edit. */}}\n"]
    for role, grants in ROLES.items():
        parts.append(f'{{{{- define "pilotfish.rules.{role}" -}}}}\n{_rules(grants)}{{{{- end }}}}\n')
    return "".join(parts)


def _rules(grants: tuple[Grant, ...]) -> str:
    return "".join(
        f"# {grant.reason}\n"
        f"- apiGroups: {_list((grant.group,))}\n"
        f"  resources: {_list(grant.resources)}\n"
        f"  verbs: {_list(grant.verbs)}\n"
        for grant in grants
    )


def _list(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"
