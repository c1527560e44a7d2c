"""Checks of a spec that no schema can make: they depend on the installed plugins.

`pilotfish validate` prints the faults as warnings, because another installation may have other plugins. The operator
does not accept a resource that has one.
"""

from collections.abc import Iterator, Mapping, Sequence

from pilotfish.api import AdaptationPlugin, ModelPool, ModelRouter
from pilotfish.api.common import FieldPath
from pilotfish.api.engineargs import engine_arg_faults
from pilotfish.api.modelrouter import PoolRole
from pilotfish.api.reasons import Reason
from pilotfish.api.strategy import Scorer, Streaming
from pilotfish.api.validation import Fault
from pilotfish.base.errors import PluginError
from pilotfish.plugin_api.preparing import Preparing
from pilotfish.reconcile.adaptation_checks import declared_faults
from pilotfish.reconcile.kind import PluginCatalog
from pilotfish.reconcile.plugin_config import config_faults
from pilotfish.render.preparation import LONGEST_NAME


def check_pool(pool: ModelPool, installed: PluginCatalog) -> Iterator[Fault]:
    """Sources that are not installed, and engine arguments that a field sets."""
    for path, source in pool.sources():
        yield from _scheme((*path, "uri"), source.uri, installed)
    yield from engine_arg_faults(pool)


def check_router(router: ModelRouter, installed: PluginCatalog) -> Iterator[Fault]:
    """Scorers that are not installed, or that refuse their config."""
    for path, scorer in router.scorer_uses():
        yield from _scorer(path, scorer, installed)


def remark_router(router: ModelRouter, installed: PluginCatalog) -> Iterator[Fault]:
    """Settings of EarlyExit that have no effect, because a scorer needs whole answers."""
    cascade = router.spec.strategy.cascade
    if cascade is None or cascade.streaming is not Streaming.EARLY_EXIT:
        return
    path: FieldPath = ("spec", "strategy", "cascade")
    accepts = [(index, stage.accept) for index, stage in enumerate(cascade.stages) if stage.accept is not None]
    whole = [(index, accept) for index, accept in accepts if _judges_whole(accept.scorer.name, installed)]
    for index, accept in whole:
        if accept.decide_within_tokens is not None:
            yield Fault(
                (*path, "stages", index, "accept", "decideWithinTokens"),
                f"scorer {accept.scorer.name!r} judges whole answers, so decideWithinTokens has no effect: remove it",
            )
    if accepts and len(whole) == len(accepts):
        yield Fault(
            (*path, "streaming"),
            "EarlyExit has no effect, because every scorer judges whole answers: set Hold",
        )


def check_plugin(plugin: AdaptationPlugin, installed: PluginCatalog) -> Iterator[Fault]:
    """A type or a source that is not installed, a config that is refused, and what the class does not declare."""
    yield from _adaptation(plugin, installed)
    for index, source in enumerate(plugin.spec.sources):
        if source.uri is not None:
            yield from _scheme(("spec", "sources", index, "uri"), source.uri, installed)


def _adaptation(plugin: AdaptationPlugin, installed: PluginCatalog) -> Iterator[Fault]:
    kind, inside = plugin.spec.type, plugin.spec.type not in installed.adaptations
    if inside and kind not in installed.logits:
        message = _not_installed("plugin", kind, sorted({*installed.adaptations, *installed.logits}))
        yield Fault(("spec", "type"), message, Reason.UNKNOWN_PLUGIN)
        return
    if inside and plugin.spec.pool_refs:
        message = f"plugin type {kind!r} works inside engines and asks no pools: remove poolRefs"
        yield Fault(("spec", "poolRefs"), message)
    try:
        found = installed.logits_plugin(kind) if inside else installed.adaptation(kind)
    except PluginError as error:
        yield Fault(("spec", "type"), str(error), Reason.UNKNOWN_PLUGIN)
        return
    if inside:
        yield from config_faults(("spec",), found, plugin.spec.config)
    else:
        yield from declared_faults(plugin, found)
    if isinstance(found, Preparing):
        yield from _preparing(plugin, optional=getattr(found, "sources_optional", False))


def _preparing(plugin: AdaptationPlugin, *, optional: bool) -> Iterator[Fault]:
    """What keeps a plugin that prepares documents from doing so."""
    if not plugin.spec.sources and not optional:
        message = f"plugin type {plugin.spec.type!r} prepares documents: add their source"
        yield Fault(("spec", "sources"), message)
    if plugin.spec.sources and len(plugin.name) > LONGEST_NAME:
        message = f"must have at most {LONGEST_NAME} characters for a plugin that prepares documents"
        yield Fault(("metadata", "name"), message)


def _judges_whole(scorer: str, installed: PluginCatalog) -> bool:
    """False for a scorer that cannot be loaded: another check reports it."""
    try:
        return hasattr(installed.scorer(scorer), "judge")
    except PluginError:
        return False


def _scheme(path: FieldPath, uri: str, installed: PluginCatalog) -> Iterator[Fault]:
    scheme = uri.partition("://")[0]
    if scheme not in installed.sources:
        yield Fault(path, _not_installed("source", f"{scheme}://", installed.sources), Reason.UNKNOWN_SOURCE)


def _scorer(path: FieldPath, scorer: Scorer, installed: PluginCatalog) -> Iterator[Fault]:
    if scorer.name not in installed.scorers:
        message = _not_installed("scorer", scorer.name, installed.scorers)
        yield Fault((*path, "name"), message, Reason.UNKNOWN_PLUGIN)
        return
    try:
        found = installed.scorer(scorer.name)
    except PluginError as error:
        yield Fault((*path, "name"), str(error), Reason.UNKNOWN_PLUGIN)
        return
    if scorer.artifact is None:
        yield from config_faults(path, found, scorer.config)


def _not_installed(what: str, name: str, installed: Sequence[str]) -> str:
    others = f"use one of {', '.join(installed)}, or " if installed else ""
    return f"no {what} {name} is installed: {others}install the package that has it"


def task_faults(router: ModelRouter, pools: Mapping[str, ModelPool]) -> Sequence[Fault]:
    """A fault for each pool that answers for the router and has another task than the strategy's first one.

    `pools` holds those that exist, by name. One that does not exist has no fault here.
    """
    uses = {(use.role, use.name): use for use in router.pool_uses() if use.role is not PoolRole.SCORER}
    known = [(use.path[:2], pools[use.name]) for use in uses.values() if use.name in pools]
    if not known:
        return ()
    first = known[0][1]
    return tuple(
        Fault(
            path,
            f"pool {pool.name!r} has task {pool.spec.task}, but {first.name!r} has {first.spec.task}: "
            "name pools of one task",
        )
        for path, pool in known
        if pool.spec.task is not first.spec.task
    )
