"""The adaptations of one request: those of scope REQUEST, and those of scope CALL for each call of a pool."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from opentelemetry.trace import Span, SpanKind

from pilotfish.gateway.adaptations.chain import Chain
from pilotfish.gateway.adaptations.guard import BoundAdaptation
from pilotfish.gateway.pool_calls import PoolCaller
from pilotfish.gateway.records import RequestRecord
from pilotfish.plugin_api.adaptations import Conversation, Scope
from pilotfish.plugin_api.models import Models


class RequestAdaptations:
    """The adaptations of one request, in the router's order. To be closed."""

    def __init__(self, adaptations: Sequence[BoundAdaptation], caller: PoolCaller, record: RequestRecord) -> None:
        self._caller = caller
        self._record = record
        self.outer = self._chain([each for each in adaptations if each.declaration.scope is Scope.REQUEST])
        """Those of scope REQUEST."""

    def close(self) -> None:
        """Stop what still observes an answer."""
        self.outer.drop()

    def _chain(self, adaptations: Sequence[BoundAdaptation]) -> Chain:
        return Chain(adaptations, self._caller.pools.guard, self._record, self._models, self._span, self._seen)

    def _seen(self, conversation: Conversation) -> Conversation:
        return conversation

    def _models(self, adaptation: BoundAdaptation) -> Models:
        return self._caller.models(adaptation.roles, self._record.plugin_calls)

    def _span(self, adaptation: BoundAdaptation) -> AbstractContextManager[Span]:
        name = f"adapt {adaptation.name}"
        return self._caller.pools.tracing.span(name, SpanKind.INTERNAL, self._caller.span, {})
