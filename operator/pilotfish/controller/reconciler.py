"""Gather, decide, apply, report: what is done for one key. All that is known comes from the mirror."""

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from pilotfish.api import AdaptationPlugin, AutoscalingPolicy, ModelPool, ModelRouter, Resource
from pilotfish.api.validation import Fault
from pilotfish.controller.answers import Answers
from pilotfish.controller.apply import Applier
from pilotfish.controller.external import ExternalChecks
from pilotfish.controller.figures import ServedBook
from pilotfish.controller.load import LoadBook
from pilotfish.controller.mirror import Entry, Key, Mirror
from pilotfish.controller.report import Reporter
from pilotfish.kube.errors import Failing, Refused
from pilotfish.reconcile import invalid, plugin, policy, pool, router
from pilotfish.reconcile.outcome import Context, ObservedPool, Outcome
from pilotfish.render.context import RenderContext

logger = logging.getLogger(__name__)

REFUSED_SECONDS = 30.0
"""Between two tries of what the API server refuses: permissions and quotas change without an event."""


@dataclass(frozen=True)
class Installation:
    """What the reconciler knows of the installation besides the cluster."""

    render: Callable[[], RenderContext]
    """The choices for rendering, as of now."""
    faults: Callable[[Resource], tuple[Fault, ...]]
    """What the installed plugins refuse of a resource."""
    gateway_url: str | None = None


class Reconciler:
    """Brings one resource at a time to what it should be."""

    def __init__(
        self,
        *,
        mirror: Mirror,
        applier: Applier,
        reporter: Reporter,
        load: LoadBook,
        served: ServedBook,
        external: ExternalChecks,
        answers: Answers,
        installation: Installation,
    ) -> None:
        self._mirror, self._applier, self._reporter = mirror, applier, reporter
        self._served = served
        self._load, self._external, self._answers = load, external, answers
        self._installation = installation
        self._failing: set[Key] = set()

    async def reconcile(self, key: Key) -> float | None:
        """Make the resource so and report it. Returns the seconds until the next look. Raises KubeError."""
        entry = self._mirror.entry(key)
        if entry is None or entry.going:
            self._load.forget(key)
            self._external.forget(key)
            self._answers.forget(key)
            self._failing.discard(key)
            return None
        context = self._context()
        match entry.resource:
            case ModelPool() as found:
                return await self._pool(key, entry, found, context)
            case ModelRouter() as found:
                outcome = router.desired_state(found, self._seen_router(key, found), context)
            case AdaptationPlugin() as found:
                outcome = plugin.desired_state(found, self._seen_plugin(key, found), context)
            case AutoscalingPolicy() as found:
                outcome = policy.desired_state(found, len(self._mirror.referrers(key, "ModelPool")), context)
            case _:
                outcome = invalid.desired_state(entry.raw, entry.faults, context)
        await self._reporter.report(key, entry, outcome.status)
        return outcome.requeue_after

    async def _pool(self, key: Key, entry: Entry, found: ModelPool, context: Context) -> float | None:
        seen = await self._seen_pool(key, found)
        outcome = pool.desired_state(found, seen, context)
        try:
            await self._applier.make_so(key, outcome, seen.children)
        except (Refused, Failing) as refusal:
            logger.warning("%s: %s", key, refusal)
            outcome = pool.desired_state(found, replace(seen, refusal=str(refusal)), context)
            if isinstance(refusal, Failing):
                # Once is soon mended: statuses and Events tell what fails again.
                if key in self._failing:
                    await self._reporter.report(key, entry, outcome.status)
                self._failing.add(key)
                raise
            outcome = replace(outcome, requeue_after=REFUSED_SECONDS)
        self._failing.discard(key)
        self._remember(key, outcome)
        await self._reporter.report(key, entry, outcome.status)
        return outcome.requeue_after

    def _remember(self, key: Key, outcome: Outcome) -> None:
        if outcome.scaling is not None:
            self._load.remember(key, outcome.scaling)
        else:
            self._load.forget(key)

    async def _seen_pool(self, key: Key, found: ModelPool) -> ObservedPool:
        reference = found.spec.autoscaling_policy_ref
        named = self._resource(Key("AutoscalingPolicy", key.namespace, reference.name)) if reference else None
        children, pods = self._mirror.children(key, found.metadata.uid or ""), self._mirror.pods(key)
        return ObservedPool(
            faults=self._installation.faults(found),
            children=children,
            pods=pods,
            proof=await self._answers.check(key, found, children, pods),
            policy=named if isinstance(named, AutoscalingPolicy) else None,
            scaling=self._load.memory(key),
            clock=self._load.now(),
            external=await self._external.check(key, found) if found.spec.external else None,
        )

    def _seen_router(self, key: Key, found: ModelRouter) -> router.ObservedRouter:
        return router.ObservedRouter(
            faults=self._installation.faults(found),
            pools=self._pools(key, found.pool_names),
            plugins=tuple(
                named
                for use in found.spec.plugins
                if isinstance(
                    named := self._resource(Key("AdaptationPlugin", key.namespace, use.plugin_ref.name)),
                    AdaptationPlugin,
                )
            ),
            rivals=tuple(
                rival
                for other in self._mirror.serving(found.served_names)
                if other != key and isinstance(rival := self._resource(other), ModelRouter)
            ),
            served=self._served.of(key),
        )

    def _seen_plugin(self, key: Key, found: AdaptationPlugin) -> plugin.ObservedPlugin:
        return plugin.ObservedPlugin(
            faults=self._installation.faults(found),
            pools=self._pools(key, tuple(ref.name for ref in found.spec.pool_refs)),
            routers=len(self._mirror.referrers(key, "ModelRouter")),
        )

    def _pools(self, key: Key, names: tuple[str, ...]) -> tuple[ModelPool, ...]:
        found = (self._resource(Key("ModelPool", key.namespace, name)) for name in dict.fromkeys(names))
        return tuple(pool for pool in found if isinstance(pool, ModelPool))

    def _resource(self, key: Key) -> Resource | None:
        entry = self._mirror.entry(key)
        return entry.resource if entry and not entry.going else None

    def _context(self) -> Context:
        return Context(
            render=self._installation.render(),
            now=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            gateway_url=self._installation.gateway_url,
        )
