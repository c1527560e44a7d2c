"""Checks between pools, routers and the AdaptationPlugins that they name: inside the engine, or in the gateway?"""

from collections.abc import Iterator, Sequence

from pilotfish.api import AdaptationPlugin, ModelPool, ModelRouter
from pilotfish.api.common import FieldPath
from pilotfish.api.logits import LogitsUse
from pilotfish.api.reasons import Reason
from pilotfish.api.validation import Fault
from pilotfish.base.errors import PluginError
from pilotfish.plugin_api.logits import ModelRole
from pilotfish.plugin_api.settings import Settings
from pilotfish.reconcile.kind import Find, PluginCatalog
from pilotfish.reconcile.plugin_config import config_faults


def check_pool_plugins(pool: ModelPool, find: Find, installed: PluginCatalog) -> Iterator[Fault]:
    """Plugins of `spec.logits` that cannot work inside the engine, or not with these models."""
    seen: dict[str, str] = {}
    for index, use in enumerate(pool.spec.logits or ()):
        plugin = find(pool.key.beside("AdaptationPlugin", use.plugin_ref.name))
        if not isinstance(plugin, AdaptationPlugin):
            continue  # an unresolved reference, which is reported as one
        path: FieldPath = ("spec", "logits", index)
        name_path = (*path, "pluginRef", "name")
        kind = plugin.spec.type
        if kind in seen:
            message = f"{plugin.name!r} and {seen[kind]!r} are both of type {kind!r}: name one of them"
            yield Fault(name_path, message)
        seen.setdefault(kind, plugin.name)
        if kind in installed.logits:
            yield from _fitting(plugin, use, path, installed)
        else:
            yield Fault(name_path, _not_inside(plugin, installed), _reason(kind, installed.adaptations))


def check_router_plugins(router: ModelRouter, find: Find, installed: PluginCatalog) -> Iterator[Fault]:
    """Plugins of `spec.plugins` that work inside engines only."""
    for index, use in enumerate(router.spec.plugins):
        plugin = find(router.key.beside("AdaptationPlugin", use.plugin_ref.name))
        if not isinstance(plugin, AdaptationPlugin):
            continue
        kind = plugin.spec.type
        if kind in installed.logits and kind not in installed.adaptations:
            yield Fault(
                ("spec", "plugins", index, "pluginRef", "name"),
                f"{plugin.name!r} has type {kind!r}, which works inside engines: name it in spec.logits of a ModelPool",
            )


def _fitting(plugin: AdaptationPlugin, use: LogitsUse, path: FieldPath, installed: PluginCatalog) -> Iterator[Fault]:
    try:
        found = installed.logits_plugin(plugin.spec.type)
    except PluginError as error:
        yield Fault((*path, "pluginRef", "name"), str(error), Reason.UNKNOWN_PLUGIN)
        return
    faults = list(config_faults(("spec",), found, plugin.spec.config))
    for fault in faults:
        yield Fault((*path, "pluginRef", "name"), f"AdaptationPlugin {plugin.name!r}: {fault}", fault.reason)
    if not faults:
        yield from _roles(found.from_settings(Settings(plugin.spec.config)).roles, plugin.spec.type, use, path)


def _roles(roles: tuple[ModelRole, ...], kind: str, use: LogitsUse, path: FieldPath) -> Iterator[Fault]:
    known = {role.name: role for role in roles}
    given = {each.role for each in use.models}
    for place, each in enumerate(use.models):
        if each.role not in known:
            have = f"use one of {', '.join(known)}, or remove it" if known else "remove it"
            message = f"plugin type {kind!r} has no role {each.role!r}: {have}"
            yield Fault((*path, "models", place, "role"), message)
    missing = [name for name, role in known.items() if not role.optional and name not in given]
    if missing:
        yield Fault(
            (*path, "models"), f"plugin type {kind!r} needs a model for each of these roles: {', '.join(missing)}"
        )


def _not_inside(plugin: AdaptationPlugin, installed: PluginCatalog) -> str:
    kind = plugin.spec.type
    if kind in installed.adaptations:
        return (
            f"{plugin.name!r} has type {kind!r}, which works in the gateway: name it in spec.plugins of a ModelRouter"
        )
    others = f"use one of {', '.join(installed.logits)}, or " if installed.logits else ""
    return f"no logits plugin {kind} is installed: {others}install the package that has it"


def _reason(kind: str, adaptations: Sequence[str]) -> Reason:
    return Reason.INVALID_SPEC if kind in adaptations else Reason.UNKNOWN_PLUGIN
