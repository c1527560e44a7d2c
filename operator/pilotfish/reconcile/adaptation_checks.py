"""Checks of an AdaptationPlugin by what its installed class declares: roles, config, and what a failure may do."""

from collections.abc import Iterator

from pilotfish.api import AdaptationPlugin, ModelPool
from pilotfish.api.adaptationplugin import FailurePolicy
from pilotfish.api.common import FieldPath
from pilotfish.api.reasons import Reason
from pilotfish.api.validation import Fault
from pilotfish.base.errors import ConfigError, PluginError
from pilotfish.plugin_api.adaptations import Declaration, Role
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.reconcile.kind import Find, PluginCatalog
from pilotfish.reconcile.plugin_config import config_faults


def declared_faults(plugin: AdaptationPlugin, found: object) -> Iterator[Fault]:
    """Faults of the manifest that need no other resource. `found` is the class of its type."""
    try:
        declared = Declaration.of(found)
    except TypeError as error:
        message = f"plugin type {plugin.spec.type!r} is not valid: {error}"
        yield Fault(("spec", "type"), message, Reason.UNKNOWN_PLUGIN)
        return
    if declared.protects and plugin.spec.failure_policy is FailurePolicy.IGNORE:
        yield Fault(
            ("spec", "failurePolicy"),
            f"plugin type {plugin.spec.type!r} protects, so no request may be answered without it: set Fail",
        )
    if hasattr(found, "roles"):  # of a class that does not declare its roles, none is known to be wrong
        yield from _roles(plugin, declared)
    if declared.config_model is None:
        yield from config_faults(("spec",), found, plugin.spec.config)
        return
    try:
        read_config(declared.config_model, Settings(plugin.spec.config))
    except ConfigError as error:
        yield Fault(("spec", *error.field.split(".")), error.message, Reason.INVALID_PLUGIN_CONFIG)


def check_pools(plugin: AdaptationPlugin, find: Find, installed: PluginCatalog) -> Iterator[Fault]:
    """Pools of another task than that of the role. Pools that do not exist have no fault here."""
    for path, role, pool in _pools(plugin, find, installed):
        if pool.spec.task is not role.task:
            message = f"pool {pool.name!r} has task {pool.spec.task}, but role {role.name!r} needs {role.task}"
            yield Fault(path, f"{message}: name a pool with that task")


def remark_pools(plugin: AdaptationPlugin, find: Find, installed: PluginCatalog) -> Iterator[Fault]:
    """Pools of another tier than the role suggests."""
    for path, role, pool in _pools(plugin, find, installed):
        if role.tier is not None and pool.spec.tier is not role.tier:
            yield Fault(
                path, f"pool {pool.name!r} has tier {pool.spec.tier}, but role {role.name!r} is meant for {role.tier}"
            )


def _roles(plugin: AdaptationPlugin, declared: Declaration) -> Iterator[Fault]:
    known = [role.name for role in declared.roles]
    given = [ref.role for ref in plugin.spec.pool_refs]
    for index, role in enumerate(given):
        if role not in known:
            have = f"use one of {', '.join(known)}, or remove it" if known else "remove it"
            message = f"plugin type {plugin.spec.type!r} has no role {role!r}: {have}"
            yield Fault(("spec", "poolRefs", index, "role"), message)
    missing = [role.name for role in declared.roles if not role.optional and role.name not in given]
    if missing:
        message = f"plugin type {plugin.spec.type!r} needs a pool for each of these roles: {', '.join(missing)}"
        yield Fault(("spec", "poolRefs"), message)


def _pools(
    plugin: AdaptationPlugin, find: Find, installed: PluginCatalog
) -> Iterator[tuple[FieldPath, Role, ModelPool]]:
    """The pools that exist and whose role is declared, with the path of their name."""
    if plugin.spec.type not in installed.adaptations:
        return
    try:
        roles = {role.name: role for role in Declaration.of(installed.adaptation(plugin.spec.type)).roles}
    except (PluginError, TypeError):
        return  # another check reports it
    for index, ref in enumerate(plugin.spec.pool_refs):
        pool = find(plugin.key.beside("ModelPool", ref.name))
        role = roles.get(ref.role)
        if role and isinstance(pool, ModelPool):
            yield ("spec", "poolRefs", index, "name"), role, pool
