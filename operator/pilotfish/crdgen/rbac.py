"""The rights of each process at the API server, from the table of kinds, and the chart's template that holds them.

Each verb is used. tests/apiserver runs operator and gateway with these rights only, and checks in the audit log of the
API server that each was used.
"""

from dataclasses import dataclass

from pilotfish.api import GROUP
from pilotfish.reconcile.kinds import KINDS, KindTable

_READ = ("get", "list", "watch")
_OWN = (*_READ, "create", "patch", "delete")


@dataclass(frozen=True)
class Grant:
    """Verbs on resources of one API group, and the reason for them."""

    group: str
    resources: tuple[str, ...]
    verbs: tuple[str, ...]
    reason: str


def _plurals(kinds: KindTable) -> tuple[str, ...]:
    return tuple(sorted(kind.type.plural for kind in kinds))


_KINDS = _plurals(KINDS)
_STATUSES = tuple(f"{plural}/status" for plural in _KINDS)
_SCALED = tuple(f"{kind.type.plural}/scale" for kind in KINDS if kind.model.definition.scale)


def operator_grants(kinds: KindTable) -> tuple[Grant, ...]:
    """The rights of an operator of these kinds in every watched namespace."""
    plurals = _plurals(kinds)
    purposes = {child.type: child.purpose for kind in kinds for child in kind.children}
    return (
        Grant(GROUP, plurals, ("list", "watch"), "watches the kinds"),
        Grant(GROUP, tuple(f"{plural}/status" for plural in plurals), ("patch",), "writes the status"),
        *(Grant(each.group, (each.plural,), _OWN, purpose) for each, purpose in purposes.items()),
        Grant("", ("pods",), ("list", "watch"), "finds out why a replica does not start"),
        Grant("", ("configmaps",), ("get",), "prepares plugins again when their documents change"),
        Grant("", ("secrets",), ("get",), "lists the models of external APIs with their keys"),
        Grant("events.k8s.io", ("events",), ("create",), "reports changes to users"),
    )


OPERATOR = operator_grants(KINDS)
"""In every watched namespace."""

OPERATOR_HOME = (
    Grant("coordination.k8s.io", ("leases",), ("get", "create", "update"), "keeps only one operator active"),
    Grant("discovery.k8s.io", ("endpointslices",), ("list",), "finds the replicas of the gateway, to read their load"),
)
"""In the operator's own namespace."""

GATEWAY = (
    Grant(GROUP, _KINDS, ("list", "watch"), "watches the kinds"),
    Grant("discovery.k8s.io", ("endpointslices",), ("list", "watch"), "balances requests over the replicas of a pool"),
    Grant("", ("configmaps", "secrets"), ("get",), "reads the artifacts and keys that a resource refers to"),
)
"""In every served namespace. Nothing is written."""

WEBHOOK = (Grant(GROUP, ("modelpools",), ("get",), "reads the tasks of a router's pools"),)
"""In every watched namespace. Nothing is written."""

VIEWER = (Grant(GROUP, (*_KINDS, *_STATUSES, *_SCALED), _READ, "reads the kinds"),)
EDITOR = (
    Grant(GROUP, _KINDS, ("create", "update", "patch", "delete", "deletecollection"), "writes the kinds"),
    Grant(GROUP, _SCALED, ("update", "patch"), "scales pools"),
)

ROLES = {
    "operator": OPERATOR,
    "operatorHome": OPERATOR_HOME,
    "gateway": GATEWAY,
    "webhook": WEBHOOK,
    "viewer": VIEWER,
    "editor": EDITOR,
}
"""Each role's grants, by the name that the chart's templates use."""


def template() -> str:
    """The chart's template that defines `pilotfish.rules.<role>` for every role."""
    parts = ["{{/* Generated from operator/pilotfish/crdgen/rbac.py by `pilotfish crds`: do not edit. */}}\n"]
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
