"""The adaptations of one request: those of scope REQUEST, and those of scope CALL for each call of a pool."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

from pilotfish.gateway.adaptations.chain import Chain
from pilotfish.gateway.adaptations.context import room, smallest_window
from pilotfish.gateway.adaptations.guard import BoundAdaptation
from pilotfish.gateway.plugin_models import PluginModels
from pilotfish.gateway.pool_calls import PoolCaller
from pilotfish.gateway.records import RequestRecord, StageRecord
from pilotfish.plugin_api.adaptations import CalledPool, Conversation, Scope
from pilotfish.plugin_api.models import Models
from pilotfish.routing.plan import Plan
from pilotfish.routing.snapshot import PoolView

Names = frozenset[str]


class RequestAdaptations:
    """The adaptations of one request, in the router's order. To be closed."""

    def __init__(self, adaptations: Sequence[BoundAdaptation], caller: PoolCaller, record: RequestRecord) -> None:
        self._caller = caller
        self._record = record
        self._inner = [each for each in adaptations if each.declaration.scope is Scope.CALL]
        self._window: int | None = None
        outer = [each for each in adaptations if each.declaration.scope is Scope.REQUEST]
        self.outer = self._chain(outer, None, frozenset())
        """Those of scope REQUEST."""

    def plan(self, plan: Plan) -> None:
        """The pools that may be asked, whose context windows bound what plugins may add."""
        views = [self._caller.snapshot.pool(self._caller.namespace, step.pool) for step in plan.steps]
        self._window = smallest_window(view for view in views if view)

    def inner(self, view: PoolView, inside: Names = frozenset()) -> Chain | None:
        """Those of scope CALL, for a call of this pool. `inside`: those whose own call it is, which do not apply."""
        used = [each for each in self._inner if each.name not in inside]
        return self._chain(used, view, inside) if used else None

    def models(
        self, owner: str, roles: Mapping[str, str], calls: list[StageRecord], inside: Names = frozenset()
    ) -> Models:
        """What a scorer or plugin may ask. Every call is added to `calls`."""
        return PluginModels(self._caller, owner, roles, calls, partial(self.inner, inside=inside))

    def close(self) -> None:
        """Stop what still observes an answer."""
        self.outer.drop()

    def _chain(self, adaptations: Sequence[BoundAdaptation], view: PoolView | None, inside: Names) -> Chain:
        pool = _called(view) if view else None
        return Chain(
            adaptations,
            self._caller.pools.guard,
            self._record,
            models=partial(self._models, inside=inside),
            tracing=self._caller.pools.tracing,
            span=self._caller.span,
            see=partial(self._seen, view, pool),
            pool=pool,
        )

    def _seen(self, view: PoolView | None, pool: CalledPool | None, conversation: Conversation) -> Conversation:
        window = smallest_window((view,)) if view else self._window
        return replace(conversation, pool=pool, context_tokens=room(conversation, window))

    def _models(self, adaptation: BoundAdaptation, *, inside: Names) -> Models:
        name = adaptation.name
        return self.models(name, adaptation.roles, self._record.plugin_calls, inside | {name})


def _called(view: PoolView) -> CalledPool:
    spec = view.pool.spec
    return CalledPool(view.name, spec.task, spec.tier, external=spec.external is not None)
