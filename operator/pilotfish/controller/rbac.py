"""What each process may do at the API server: the table that the chart's roles are made of.

A verb is here because a handler uses it; tests/apiserver runs the operator with these rights and no others, and asks
the API server's audit log whether each was used. Nothing here imports Kopf or talks to anyone.
"""

from dataclasses import dataclass

from pilotfish.api import GROUP

_READ = ("get", "list", "watch")
_OWN = (*_READ, "create", "patch", "delete")
_KINDS = ("adaptationplugins", "autoscalingpolicies", "modelpools", "modelrouters")


@dataclass(frozen=True)
class Grant:
    """Verbs on resources of one API group, and what they are for."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    reason: str


OPERATOR = (
    Grant(GROUP, _KINDS, ("list", "watch"), "follows what is declared"),
    Grant(GROUP, tuple(f"{kind}/status" for kind in _KINDS), ("patch",), "reports state"),
    Grant("apps", ("deployments",), _OWN, "makes and mends pools"),
    Grant("ray.io", ("rayservices",), _OWN, "makes and mends pools where KubeRay runs them"),
    Grant("", ("services",), _OWN, "gives a pool's replicas one name"),
    Grant("networking.k8s.io", ("networkpolicies",), _OWN, "lets nobody but gateway and operator reach a pool"),
    Grant("", ("pods",), ("list", "watch"), "reads why a replica does not start"),
    Grant("", ("secrets",), ("get",), "asks external models, with their key, which models they have"),
    Grant("events.k8s.io", ("events",), ("create",), "tells a human once"),
)
"""In every namespace that is watched."""

OPERATOR_HOME = (
    Grant("coordination.k8s.io", ("leases",), ("get", "create", "update"), "one operator acts at a time"),
    Grant("discovery.k8s.io", ("endpointslices",), ("list",), "finds the gateway's replicas, to ask for their load"),
)
"""In the operator's own namespace."""

GATEWAY = (
    Grant(GROUP, _KINDS, ("list", "watch"), "follows what is declared"),
    Grant("discovery.k8s.io", ("endpointslices",), ("list", "watch"), "balances over a pool's replicas"),
    Grant("", ("configmaps", "secrets"), ("get",), "reads the documents, artifacts and keys that a resource names"),
)
"""In every namespace that is served. Nothing is written."""

WEBHOOK = (Grant(GROUP, ("modelpools",), ("get",), "sees which task a router's pools do"),)
"""In every namespace that is watched. Nothing is written."""

VIEWER = (
    Grant(GROUP, (*_KINDS, *(f"{kind}/status" for kind in _KINDS), "modelpools/scale"), _READ, "sees what is declared"),
)
EDITOR = (
    Grant(GROUP, _KINDS, ("create", "update", "patch", "delete", "deletecollection"), "declares"),
    Grant(GROUP, ("modelpools/scale",), ("update", "patch"), "scales a pool by hand"),
)

ROLES = {
    "operator": OPERATOR,
    "operatorHome": OPERATOR_HOME,
    "gateway": GATEWAY,
    "webhook": WEBHOOK,
    "viewer": VIEWER,
    "editor": EDITOR,
}
"""Each role's grants, by the name that the chart's templates know it by."""


def template() -> str:
    """The text of the chart's template that defines `pilotfish.rules.<role>` for every role."""
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
