"""Runs a plan: asks one pool after the other until an answer is taken.

A stage with `accept` is read and judged before anything of it is passed on. When it is rejected, closing it closes the
connection to the pool, which cancels the generation there, and the next stage starts at once.
The answer that is taken keeps its stage open: what is still to come flows through it.
"""

import random
from collections import deque
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from typing import Any, Self

import orjson

from pilotfish.api.strategy import Accept, Streaming
from pilotfish.base.errors import BadUpstream, ModelUnavailable, RequestError
from pilotfish.gateway.pools import Call, ScorerModels, Visitor
from pilotfish.gateway.routes import Route
from pilotfish.gateway.wire import logprobs
from pilotfish.gateway.wire.chunks import Chunk, Ending, chunk_text, notable, parse_chunk, read_usage
from pilotfish.gateway.wire.decision import StageRecord, Trail
from pilotfish.gateway.wire.forward import pool_body
from pilotfish.gateway.wire.request import ClientRequest
from pilotfish.gateway.wire.whole import Assembly, WholeAnswer, answer_text, parse_whole, spliced
from pilotfish.plugin_api.scorers import Answer, AnswerScorer, JudgeScorer, TokenLogprobs
from pilotfish.routing.boundaries import boundaries_of
from pilotfish.routing.cascade import AcceptancePolicy, Decision, Ground, StageJudge, Verdict, explored, judge_whole
from pilotfish.routing.cost import Usage
from pilotfish.routing.plan import Plan, Step
from pilotfish.upstream.client import Reply
from pilotfish.upstream.sse import DONE, EventCutter, event, payloads

UNFINISHED = "the model server ended its stream before its end, without [DONE]"


@dataclass(slots=True)
class Taken:
    """The answer that the client gets: a whole body, or a stream, perhaps with its first piece here already.

    What is still to come flows through `stage`, which is to be closed at its end.
    """

    trail: Trail
    stage: "Stage"
    whole: bytes = b""
    first: bytes = b""
    pieces: AsyncGenerator[bytes] | None = None


@dataclass(slots=True)
class Run:
    """One request on its way through a plan."""

    request: ClientRequest
    route: Route
    visitor: Visitor
    trail: Trail = field(init=False)

    def __post_init__(self) -> None:
        self.trail = Trail(self.route.name, self.route.strategy)

    async def answer(self, plan: Plan) -> Taken:
        """The first answer that is taken. Raises the last stage's error when there is none."""
        self.trail.drawn = plan.propensity
        failure: RequestError | None = None
        for step in plan.steps:
            try:
                taken = await self._visit(step, plan.streaming)
            except RequestError as error:
                failure = error
            else:
                if taken:
                    return taken
        raise failure or ModelUnavailable(f"{self.route.name!r} has no pool to ask")

    async def _visit(self, step: Step, streaming: Streaming) -> Taken | None:
        stage = self.enter(step)
        try:
            taken = await stage.run(step.accept, streaming)
        except BaseException as error:
            stage.close(error)
            raise
        if taken is None:
            stage.close()
        return taken

    def enter(self, step: Step) -> "Stage":
        """The stage of a step, begun and put down in the trail."""
        record = StageRecord(step.pool)
        self.trail.stages.append(record)
        return Stage(self, self.visitor.begin(record, self.request.task.operation), record)


@dataclass(slots=True)
class Stage:
    """One stage of a run, at a pool that is being asked; to be closed, by hand or as a context."""

    of: Run
    call: Call
    record: StageRecord

    def close(self, error: BaseException | None = None) -> None:
        """Stop what still runs at the pool, and complete the account."""
        self.call.close(error)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        self.close(error)

    @property
    def request(self) -> ClientRequest:
        """What the client asked."""
        return self.of.request

    async def run(self, accept: Accept | None, streaming: Streaming) -> Taken | None:
        """The answer, if it is taken; None if it was rejected."""
        if accept is None:
            return await (self._pass_stream() if self.request.stream else self._pass_whole())
        scorer = self._scorer(accept)
        early = streaming is Streaming.EARLY_EXIT
        if isinstance(scorer, AnswerScorer) and (self.request.stream or (early and self.request.can_be_streamed)):
            return await self._judge_stream(accept, scorer, early=early)
        if isinstance(scorer, JudgeScorer) and self.request.stream:
            return await self._judge_held(accept, scorer)
        answer = await self.whole(accept)
        if self._rejected(self.record.decision):
            return None
        for choice in answer["choices"]:
            logprobs.restore(self.request, choice)
        return self._finished(orjson.dumps(answer))

    async def whole(self, accept: Accept | None) -> WholeAnswer:
        """The whole answer, with the verdict on it put down in the record."""
        scorer = self._scorer(accept) if accept else None
        reply = await self._ask(stream=False, extra=self._logprobs_for(scorer) if scorer else {})
        answer = parse_whole(await reply.read())
        self._read(answer)
        if accept and isinstance(scorer, AnswerScorer):
            self.record.decision = self._judge_at_once(accept, scorer, answer)
        elif accept and isinstance(scorer, JudgeScorer):
            self.record.decision = await self._judgement(accept, scorer, answer)
        return answer

    def _read(self, answer: WholeAnswer) -> None:
        self.record.usage = read_usage(answer) or self.record.usage
        self.record.answer = answer_text(answer)

    # taken as it comes

    async def _pass_whole(self) -> Taken:
        reply = await self._ask(stream=False, extra={})
        raw = await reply.read()
        self._read(parse_whole(raw))
        return self._finished(raw)

    async def _pass_stream(self) -> Taken:
        pieces = self._relay(await self._ask(stream=True, extra={}))
        first = await anext(pieces)
        return Taken(self.of.trail, self, first=first, pieces=pieces)

    async def _relay(self, reply: Reply) -> AsyncGenerator[bytes]:
        """Text flows as it comes, unparsed; the events around a stream's end are looked at."""
        ending = Ending(self.request)
        cutter = EventCutter()
        while arrived := await reply.piece():
            piece = cutter.feed(arrived)
            if not notable(piece):
                if held := ending.flush():
                    piece = _events(held) + piece
                if piece:
                    yield piece
                continue
            for payload in payloads(piece):
                if payload == DONE:
                    yield self._last(ending)
                    return
                ready = ending.take(parse_chunk(payload))
                self.record.usage = ending.usage
                if ready:
                    yield _events(ready)
        raise BadUpstream(UNFINISHED)

    # judged while it is being written

    async def _judge_stream(self, accept: Accept, scorer: AnswerScorer, *, early: bool) -> Taken | None:
        reply = await self._ask(stream=True, extra=self._logprobs_for(scorer))
        policy = AcceptancePolicy(
            accept.threshold_permille,
            accept.decide_within_tokens,
            self.request.max_tokens,
            early=early,
            boundaries=boundaries_of(scorer),
        )
        judge = StageJudge(scorer, policy, self.request.choices)
        ending = Ending(self.request)
        chunks = _Chunks(reply)
        held: list[Chunk] = []
        counted = 0
        async for chunk in chunks:
            counted += self._feed(judge, chunk)
            held += ending.take(chunk)
            self.record.usage = ending.usage if ending.usage.completion_tokens else Usage(None, counted)
            if judge.decision:
                break
        decision = judge.decision or judge.end()
        if decision.ground is Ground.END_OF_ANSWER:
            self.record.answer = chunks.text
        if self._rejected(decision):
            return None
        if self.request.stream:
            return Taken(self.of.trail, self, pieces=self._flow(held, chunks, ending))
        return await self._assembled(held, chunks, ending)

    def _feed(self, judge: StageJudge, chunk: Chunk) -> int:
        """Show the judge a chunk's tokens and take out of the chunk what the client did not ask for."""
        counted = 0
        for choice in chunk["choices"]:
            index = int(choice.get("index", 0))
            if index >= self.request.choices:
                raise BadUpstream(f"the model server sent choice {index} of {self.request.choices} asked for")
            tokens = logprobs.read(self.request, choice)
            counted += len(tokens)
            judge.add(index, tokens)
            if choice.get("finish_reason"):
                judge.end_choice(index)
            logprobs.restore(self.request, choice)
        return counted

    async def _flow(self, held: list[Chunk], chunks: "_Chunks", ending: Ending) -> AsyncGenerator[bytes]:
        if held:
            yield _events(held)
        async for chunk in chunks:
            for choice in chunk["choices"]:
                logprobs.restore(self.request, choice)
            ready = ending.take(chunk)
            self.record.usage = ending.usage
            if ready:
                yield _events(ready)
        self.record.answer = chunks.text
        yield self._last(ending)

    async def _assembled(self, held: list[Chunk], chunks: "_Chunks", ending: Ending) -> Taken:
        assembly = Assembly(self.request)
        for chunk in held:
            assembly.add(chunk)
        async for chunk in chunks:
            for choice in chunk["choices"]:
                logprobs.restore(self.request, choice)
            for ready in ending.take(chunk):
                assembly.add(ready)
        for chunk in ending.flush():
            assembly.add(chunk)
        self.record.usage, self.record.answer = ending.usage, chunks.text
        answer = assembly.whole()
        answer["usage"] = ending.usage_object
        return self._finished(orjson.dumps(answer))

    # judged when it is whole

    def _judge_at_once(self, accept: Accept, scorer: AnswerScorer, answer: WholeAnswer) -> Decision:
        policy = AcceptancePolicy(accept.threshold_permille, accept.decide_within_tokens, early=False)
        judge = StageJudge(scorer, policy, max(1, len(answer["choices"])))
        for index, choice in enumerate(answer["choices"]):
            judge.add(index, logprobs.read(self.request, choice))
        return judge.end()

    async def _judge_held(self, accept: Accept, scorer: JudgeScorer) -> Taken | None:
        reply = await self._ask(stream=True, extra=self._logprobs_for(scorer))
        ending, assembly = Ending(self.request), Assembly(self.request)
        held: list[Chunk] = []
        chunks = _Chunks(reply)
        async for chunk in chunks:
            assembly.add(chunk)
            for choice in chunk["choices"]:
                logprobs.restore(self.request, choice)
            held += ending.take(chunk)
        self.record.usage, self.record.answer = ending.usage, chunks.text
        if self._rejected(await self._judgement(accept, scorer, assembly.whole())):
            return None
        return Taken(self.of.trail, self, pieces=self._flow(held, chunks, ending))

    async def _judgement(self, accept: Accept, scorer: JudgeScorer, answer: WholeAnswer) -> Decision:
        """With several choices the least sure one counts."""
        roles = {"self": self.record.pool, **{ref.role: ref.name for ref in accept.scorer.pool_refs}}
        models = ScorerModels(self.of.visitor, roles, self.of.trail.scorer_calls)
        tokens: list[TokenLogprobs] = []
        scores = []
        for choice in answer["choices"]:
            tokens = logprobs.read(self.request, choice)
            said = Answer(answer_text({"choices": [choice]}), tuple(tokens))
            scores.append(await scorer.judge(question=self.request.question, answer=said, models=models))
        if not scores:
            raise BadUpstream("the model server answered no choices")
        return judge_whole(min(scores, key=lambda score: score.permille), accept.threshold_permille, len(tokens))

    # what all ways share

    async def _ask(self, *, stream: bool, extra: dict[str, Any]) -> Reply:
        body = pool_body(
            self.request,
            self.call.view.model,
            stream=stream,
            extra=extra,
            usage_in_every_chunk=bool(extra) and self.call.view.pool.spec.external is None,
        )
        return await self.call.post(self.request.task.value, body)

    def _scorer(self, accept: Accept) -> AnswerScorer | JudgeScorer:
        scorer = self.of.route.scorer(accept.scorer)
        if isinstance(scorer, AnswerScorer | JudgeScorer):
            return scorer
        raise ModelUnavailable(f"scorer {accept.scorer.name!r} scores prompts, not answers")

    def _logprobs_for(self, scorer: AnswerScorer | JudgeScorer) -> dict[str, Any]:
        return {} if scorer.top_logprobs is None else logprobs.ask_for(self.request, scorer.top_logprobs)

    def _rejected(self, decision: Decision) -> bool:
        router = self.of.route.router
        permille = router.spec.exploration.permille if router and router.spec.exploration else 0
        uniform = random.random()  # noqa: S311 - a share of traffic, not a secret
        self.record.decision = explored(decision, permille, uniform)
        return self.record.decision.verdict is Verdict.REJECTED

    def _finished(self, raw: bytes) -> Taken:
        """A whole answer is here: its stage is closed, so that the account is complete, and told in the answer."""
        self.close()
        return Taken(self.of.trail, self, whole=spliced(raw, self.of.trail.as_object()))

    def _last(self, ending: Ending) -> bytes:
        """The stream's last events, after the stage was closed and its account is complete."""
        self.close()
        return _events(ending.last(self.of.trail.as_object())) + event(DONE)


class _Chunks:
    """Parsed chunks up to [DONE]. Raises BadUpstream for garbage and for a stream that ends without it."""

    def __init__(self, reply: Reply) -> None:
        self._reply = reply
        self._cutter = EventCutter()
        self._payloads: deque[bytes] = deque()
        self._said: list[str] = []
        self._done = False

    @property
    def text(self) -> str:
        """What the first choice has said so far."""
        return "".join(self._said)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Chunk:
        while not self._payloads and not self._done:
            arrived = await self._reply.piece()
            if not arrived:
                raise BadUpstream(UNFINISHED)
            self._payloads.extend(payloads(self._cutter.feed(arrived)))
        if self._done or (payload := self._payloads.popleft()) == DONE:
            self._done = True
            raise StopAsyncIteration
        chunk = parse_chunk(payload)
        self._said.append(chunk_text(chunk))
        return chunk


def _events(chunks: list[Chunk]) -> bytes:
    return b"".join(event(orjson.dumps(chunk)) for chunk in chunks)
