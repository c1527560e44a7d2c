"""The table of kinds. A new kind is a module in `api`, a module here, and an entry in KINDS.

The reconciler, the watches, the RBAC rules, the CRDs and the checks of `pilotfish validate` read this table.
"""

from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from typing import Any

from pilotfish.api import GROUP, AdaptationPlugin, AutoscalingPolicy, ModelPool, ModelRouter, Resource, validation
from pilotfish.api.validation import Fault
from pilotfish.base.keys import Key
from pilotfish.reconcile import adaptation_checks, logits_checks, plugin, policy, pool, router, spec_checks
from pilotfish.reconcile.kind import Child, Find, Kind, PluginCatalog, Reference
from pilotfish.render.labels import PLUGIN_LABEL, POOL_LABEL
from pilotfish.render.resources import DEPLOYMENTS, JOBS, NETWORK_POLICIES, RAY_SERVICES, SERVICES, ResourceType


class KindTable:
    """Kinds by name."""

    def __init__(self, kinds: Iterable[Kind[Any, Any]]) -> None:
        self._by_name = {kind.name: kind for kind in kinds}

    def __iter__(self) -> Iterator[Kind[Any, Any]]:
        return iter(self._by_name.values())

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> Kind[Any, Any]:
        return self._by_name[name]

    def parse(self, value: object) -> tuple[Resource | None, tuple[Fault, ...]]:
        """The typed resource, or None and every fault that was found."""
        return validation.parse(value, self._models)

    def references(self, resource: Resource) -> tuple[Reference, ...]:
        """What the resource refers to, by kinds of the table: objects of others, such as Secrets, are not watched."""
        return tuple(each for each in self[resource.kind].references(resource) if each.key.kind in self)

    def claims(self, resource: Resource) -> tuple[str, ...]:
        """Names that the resource claims."""
        return tuple(self[resource.kind].claims(resource))

    def check(self, resource: Resource, installed: PluginCatalog) -> tuple[Fault, ...]:
        """Faults of the spec that a schema cannot check. References are not checked."""
        return tuple(self[resource.kind].check(resource, installed))

    def check_all(self, resource: Resource, find: Find, installed: PluginCatalog) -> tuple[Fault, ...]:
        """`check`, and faults between the resource and those that it refers to, where these are found."""
        links = self[resource.kind].check_links(resource, find, installed)
        return (*self.check(resource, installed), *links)

    @cached_property
    def children(self) -> tuple[ResourceType, ...]:
        """Types of the objects that are made for some kind, each once."""
        return tuple(dict.fromkeys(child.type for kind in self for child in kind.children))

    @cached_property
    def types(self) -> Mapping[str, ResourceType]:
        """The type of each kind, and of each kind of children."""
        return {each.kind: each for each in (*(kind.type for kind in self), *self.children)}

    @property
    def pod_labels(self) -> Mapping[str, str]:
        """The kind whose pods have a label, by label."""
        return {kind.pod_label: kind.name for kind in self if kind.pod_label}

    def owner(self, manifest: Mapping[str, Any]) -> tuple[Key, str] | None:
        """Key and uid of the resource of ours that controls the object."""
        metadata = manifest["metadata"]
        for reference in metadata.get("ownerReferences") or []:
            if reference["kind"] in self and reference["apiVersion"].startswith(f"{GROUP}/"):
                return Key(reference["kind"], metadata["namespace"], reference["name"]), reference["uid"]
        return None

    def pod_owner(self, pod: Mapping[str, Any]) -> Key | None:
        """Key of the resource of ours that the pod belongs to."""
        labels = pod["metadata"].get("labels") or {}
        for label, kind in self.pod_labels.items():
            if name := labels.get(label):
                return Key(kind, pod["metadata"]["namespace"], name)
        return None

    @cached_property
    def _models(self) -> dict[str, type[Resource]]:
        return {kind.name: kind.model for kind in self}


KINDS = KindTable(
    (
        Kind(
            ModelPool,
            observe=pool.observe,
            decide=pool.decide,
            references=pool.references,
            check=spec_checks.check_pool,
            check_links=logits_checks.check_pool_plugins,
            children=(
                Child(DEPLOYMENTS, "creates and updates pools"),
                Child(RAY_SERVICES, "creates and updates pools that KubeRay runs"),
                Child(SERVICES, "gives the replicas of a pool one address"),
                Child(NETWORK_POLICIES, "restricts access to a pool to gateway and operator"),
            ),
            pod_label=POOL_LABEL,
        ),
        Kind(
            ModelRouter,
            observe=router.observe,
            decide=router.decide,
            references=router.references,
            claims=lambda resource: resource.served_names,
            check=spec_checks.check_router,
            check_links=logits_checks.check_router_plugins,
            remark=spec_checks.remark_router,
        ),
        Kind(
            AdaptationPlugin,
            observe=plugin.observe,
            decide=plugin.decide,
            references=plugin.references,
            check=spec_checks.check_plugin,
            check_links=adaptation_checks.check_pools,
            remark_links=adaptation_checks.remark_pools,
            children=(Child(JOBS, "prepares the documents of plugins"),),
            pod_label=PLUGIN_LABEL,
            counts_referrers=True,
        ),
        Kind(
            AutoscalingPolicy,
            observe=policy.observe,
            decide=policy.decide,
            check=policy.check,
            counts_referrers=True,
        ),
    )
)


def parse_resource(value: object) -> tuple[Resource | None, tuple[Fault, ...]]:
    """The resource that a manifest declares, or None and every fault that was found."""
    return KINDS.parse(value)
