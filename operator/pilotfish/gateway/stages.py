"""Runs a plan: asks one pool after the other until an answer is taken.

An answer that is judged is read ahead of the client until the decision. When it is rejected, closing the stage closes
the connection to the pool, which cancels the generation there, and the next stage starts at once.
The answer that is taken keeps its stage open, because the rest of it flows through the stage.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Any, Self, TypeVar

from pilotfish.api.strategy import Streaming
from pilotfish.base.errors import DeadlineExceeded, ModelUnavailable, PluginFailed, RequestError, RequestRefused
from pilotfish.gateway.adaptations.chain import Chain
from pilotfish.gateway.adaptations.guard import Escalated
from pilotfish.gateway.answer_reader import AnswerReader, GivenPieces, StreamedPieces, WholePiece
from pilotfish.gateway.exchange import Exchange
from pilotfish.gateway.judges import Judge
from pilotfish.gateway.pool_calls import PoolCall
from pilotfish.gateway.records import StageRecord
from pilotfish.plugin_api.adaptations import Answered
from pilotfish.routing.cascade import Decision, Verdict, explored, rejected_by_plugin
from pilotfish.routing.cost import Usage
from pilotfish.routing.plan import Plan, Step

T = TypeVar("T")

Uniform = Callable[[], float]
"""Draws from [0, 1)."""


@dataclass(slots=True)
class Taken:
    """The answer that the client gets. The rest of it flows through `stage`, which is to be closed at its end.

    `stage` is None where a plugin answered.
    """

    answer: AnswerReader
    stage: "StageRun | None" = None

    def close(self, error: BaseException | None = None) -> None:
        """Stop what still runs at a pool, and complete the record."""
        if self.stage:
            self.stage.close(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.close(error)


async def run(exchange: Exchange, plan: Plan, uniform: Uniform) -> Taken:
    """The first answer that is taken, as the adaptations release it.

    Each stage but the last has an equal share of the time that is left: one that hangs leaves time for the next.
    Raises the last stage's error when there is none, PluginFailed and RequestRefused at once.
    """
    exchange.record.drawn = plan.propensity
    failure: RequestError | None = None
    ends = exchange.caller.pools.clock() + exchange.route.timeout_seconds
    for place, (step, judge) in enumerate(zip_longest(plan.steps, exchange.route.judges)):
        stages_left = len(plan.steps) - place
        seconds = (ends - exchange.caller.pools.clock()) / stages_left if stages_left > 1 else None
        escalates = exchange.adaptations is not None and _may_answer(exchange, plan.steps[place + 1 :])
        mode = _Mode(plan.streaming, uniform, seconds, escalates=escalates)
        try:
            taken = await _visit(exchange, step.pool, judge, mode)
        except (PluginFailed, RequestRefused):
            raise
        except RequestError as error:
            failure = error
        else:
            if taken:
                return taken
    raise failure or ModelUnavailable(f"route {exchange.route.name!r} has no pool to ask")


def _may_answer(exchange: Exchange, steps: Sequence[Step]) -> bool:
    """Whether the pool of a step can answer now."""
    caller = exchange.caller
    answering = caller.snapshot.answering.get(caller.namespace, frozenset())
    return any(step.pool in answering for step in steps)


@dataclass(slots=True)
class _Mode:
    """How a stage runs, for at most `seconds` until its answer is taken.

    `escalates`: a plugin may reject its answer, because another pool can be asked.
    """

    streaming: Streaming
    uniform: Uniform
    seconds: float | None
    escalates: bool


async def _visit(exchange: Exchange, pool: str, judge: Judge | None, mode: _Mode) -> Taken | None:
    """The pool's answer, None if it was rejected. Raises DeadlineExceeded where it does not come in time."""
    stage = StageRun.begin(exchange, pool, judge)
    try:
        answer = await _within(mode.seconds, pool, stage.run(mode))
    except BaseException as error:
        stage.drop(error)
        raise
    if answer is None:
        stage.drop()
        return None
    return Taken(answer, stage)


async def _within(seconds: float | None, pool: str, running: Awaitable[T]) -> T:
    if seconds is None:
        return await running
    try:
        async with asyncio.timeout(seconds):
            return await running
    except TimeoutError as error:
        raise DeadlineExceeded(
            f"pool {pool!r} did not answer within {seconds:.1f} s, its share of the timeoutSeconds of the router"
        ) from error


class StageRun:
    """One pool that is being asked. To be closed, by hand or as a context."""

    def __init__(self, exchange: Exchange, judge: Judge | None, record: StageRecord, call: PoolCall) -> None:
        self._exchange = exchange
        self._judge = judge
        self._call = call
        self._answer: AnswerReader | None = None
        self._chain: Chain | None = None
        self.record = record

    @classmethod
    def begin(cls, exchange: Exchange, pool: str, judge: Judge | None = None) -> Self:
        """A stage, begun and recorded. Raises ModelUnavailable where the pool cannot answer."""
        record = StageRecord(pool, judge.accept.scorer.name, judge.digest) if judge else StageRecord(pool)
        exchange.record.stages.append(record)
        return cls(exchange, judge, record, exchange.caller.begin(record, exchange.request.task.operation))

    def close(self, error: BaseException | None = None) -> None:
        """Stop what still runs at the pool, and complete the record."""
        if answer := self._answer:
            self._answer = None
            self.record.usage, self.record.answer = self._used(answer.usage), answer.text
        if self._chain:
            self._chain.drop()
        self._call.close(error)

    def _used(self, usage: Usage) -> Usage:
        """The usage, with an estimate of the prompt where the answer ended before the model server reported any."""
        if usage.prompt_tokens is not None:
            return usage
        return Usage(self._exchange.request.estimated_prompt_tokens, usage.completion_tokens)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.close(error)

    def drop(self, error: BaseException | None = None) -> None:
        """Close the stage, and what plugins do with its answer."""
        if adaptations := self._exchange.adaptations:
            adaptations.outer.drop()
        self.close(error)

    async def run(self, mode: _Mode) -> AnswerReader | None:
        """The answer, ready to be sent. None if it was rejected."""
        request, judge = self._exchange.request, self._judge
        early = mode.streaming is Streaming.EARLY_EXIT
        streamed = request.stream or bool(judge and judge.incremental and early and request.can_be_streamed)
        answer = await self.ask(streamed=streamed)
        try:
            return await self._taken(answer, mode, early=early and streamed)
        except Escalated as escalated:
            self._reject(escalated)
            return None

    async def _taken(self, answer: AnswerReader, mode: _Mode, *, early: bool) -> AnswerReader | None:
        """The answer as plugins release it. None if it was rejected. Raises Escalated."""
        stream, judge = self._exchange.request.stream, self._judge
        called = self._called(answer, escalates=mode.escalates)
        if judge:
            decision = await self._decide(judge, answer if judge.incremental else called, early=early)
            self.record.decision = explored(decision, self._exchange.route.exploration_permille, mode.uniform())
            if self.record.decision.verdict is Verdict.REJECTED:
                return None
        adaptations = self._exchange.adaptations
        if adaptations is None:
            await answer.begin(whole=not stream)
            return answer
        adapted = adaptations.outer.on_answer(called, streamed=stream, escalates=mode.escalates)
        await adapted.begin(whole=not stream)
        for chain in (self._chain, adaptations.outer):
            if chain:
                chain.take()
        return adapted

    def _called(self, answer: AnswerReader, *, escalates: bool = False) -> AnswerReader:
        """The answer as the plugins of scope CALL release it."""
        if self._chain is None:
            return answer
        streamed = self._exchange.request.stream and (self._judge is None or self._judge.incremental)
        return self._chain.on_answer(answer, streamed=streamed, escalates=escalates)

    async def explained(self, *, escalates: bool) -> dict[str, Any]:
        """The whole answer, and what plugins release of it. It is judged as a whole; the decision is recorded."""
        answer = await self.ask(streamed=False)
        found: dict[str, Any] = {}
        try:
            found = await self._explained(answer, escalates=escalates)
        except Escalated as escalated:
            self._reject(escalated)
        except RequestRefused as refused:
            found = {"refused": refused.message}
        known = {name: value for name, value in found.items() if value and value != answer.text}
        return {"answer": answer.text or "", **known}

    async def _explained(self, answer: AnswerReader, *, escalates: bool) -> dict[str, Any]:
        called = self._called(answer, escalates=escalates)
        if self._judge:
            judged = answer if self._judge.incremental else called
            self.record.decision = await self._decide(self._judge, judged, early=False)
        await called.begin(whole=True)
        if self._chain:
            self._chain.take()
        adaptations = self._exchange.adaptations
        if adaptations is None or self.record.decision.verdict is Verdict.REJECTED:
            return {"released": called.text}
        adaptations.outer.drop()
        released = adaptations.outer.on_answer(called, streamed=False, escalates=escalates, apart=True)
        await released.begin(whole=True)
        return {"released": released.text, "notes": dict(adaptations.outer.notes)}

    def _reject(self, escalated: Escalated) -> None:
        self.record.decision = rejected_by_plugin(self.record.decision)
        self.record.plugin, self.record.reason = escalated.plugin, escalated.reason
        self.record.notes = escalated.notes

    async def ask(self, *, streamed: bool) -> AnswerReader:
        """Send the request to the pool."""
        request, judge, view = self._exchange.request, self._judge, self._call.view
        extra = judge.parameters(request) if judge else {}
        adaptations = self._exchange.adaptations
        adapted = adaptations is not None and adaptations.outer.handle_answers
        if adaptations and (chain := adaptations.inner(view)):
            self._chain = chain
            asked = await chain.on_request(request)
            if isinstance(asked, Answered):
                self._answer = AnswerReader(GivenPieces(request, self.record.pool, asked.text))
                return self._answer
            request, adapted = asked, adapted or chain.handle_answers
        body = request.body_for(
            view.model,
            stream=streamed,
            extra=extra,
            usage_in_every_chunk=bool(extra) and view.pool.spec.external is None,
        )
        reply = await self._call.post(request.task, body)
        # A client that gets a whole answer from a stream needs it assembled, so it is parsed as for a judge.
        parse = judge is not None or adapted or not request.stream
        whole = not streamed
        self._answer = AnswerReader(
            WholePiece(reply, altered=bool(extra) or adapted)
            if whole
            else StreamedPieces(reply, parse=parse, choices=request.choices)
        )
        return self._answer

    async def _decide(self, judge: Judge, answer: AnswerReader, *, early: bool) -> Decision:
        return await judge.decide(answer, self._exchange.request, self._exchange.scorer_models, early=early)
