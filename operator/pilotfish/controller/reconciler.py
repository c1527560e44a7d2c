"""Observe, decide, apply, report: the reconcile of one key of any kind."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from pilotfish.api import Resource
from pilotfish.base.keys import Key
from pilotfish.controller.apply import Applier
from pilotfish.controller.mirror import CachedObject, Mirror
from pilotfish.controller.observer import ClusterObserver
from pilotfish.controller.report import Reporter
from pilotfish.kube.errors import Failing, Refused
from pilotfish.reconcile import invalid
from pilotfish.reconcile.kind import Kind
from pilotfish.reconcile.outcome import Context

logger = logging.getLogger(__name__)

REFUSED_SECONDS = 30.0
"""Between two attempts at what the API server refuses: permissions and quotas change without an event."""


class Reconciler:
    """Reconciles one resource at a time."""

    def __init__(
        self,
        *,
        mirror: Mirror,
        observer: ClusterObserver,
        applier: Applier,
        reporter: Reporter,
        context: Callable[[], Context],
    ) -> None:
        self._mirror, self._observer = mirror, observer
        self._applier, self._reporter = applier, reporter
        self._context = context
        self._failing: set[Key] = set()

    async def reconcile(self, key: Key) -> float | None:
        """Apply what should be and report it. Returns the seconds until the next reconcile. Raises KubeError."""
        cached = self._mirror.find(key)
        if cached is None or cached.going:
            self._observer.forget(key)
            self._failing.discard(key)
            return None
        if cached.resource is None:
            outcome = invalid.decide(cached.raw, cached.faults, self._context())
            await self._reporter.report(key, cached, outcome.status)
            return outcome.requeue_after
        return await self._carry_out(self._mirror.kinds[key.kind], cached, cached.resource)

    async def _carry_out(self, kind: Kind[Any, Any], cached: CachedObject, resource: Resource) -> float | None:
        key, context = resource.key, self._context()
        seen = await kind.observe(resource, self._observer)
        outcome = kind.decide(resource, seen, context)
        try:
            await self._applier.make_so(outcome, seen.children)
        except (Refused, Failing) as refusal:
            logger.warning("%s: %s", key, refusal)
            outcome = kind.decide(resource, replace(seen, refusal=str(refusal)), context)
            if isinstance(refusal, Failing):
                # The first failure in a row is not reported: most are over by the next attempt.
                if key in self._failing:
                    await self._reporter.report(key, cached, outcome.status)
                self._failing.add(key)
                raise
            outcome = replace(outcome, requeue_after=REFUSED_SECONDS)
        self._failing.discard(key)
        self._observer.remember(key, outcome)
        await self._reporter.report(key, cached, outcome.status)
        return outcome.requeue_after
