"""What scorers and plugins may ask of pools: `Models` of the plugin API. Plugins of scope CALL see every call."""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import orjson

from pilotfish.base.errors import BadUpstream, ModelUnavailable
from pilotfish.gateway.adaptations.chain import Chain
from pilotfish.gateway.answer_reader import AnswerReader, GivenPieces, StreamedPieces, WholePiece
from pilotfish.gateway.pool_calls import PoolCall, PoolCaller
from pilotfish.gateway.records import StageRecord
from pilotfish.gateway.wire.request import ClientRequest, Task
from pilotfish.gateway.wire.strings import Strings
from pilotfish.gateway.wire.upstream import Chunk, choice_text, parse_object, read_usage
from pilotfish.plugin_api.adaptations import Answered
from pilotfish.routing.snapshot import PoolView
from pilotfish.upstream.pooling_answers import probabilities, scores, vectors

P = ParamSpec("P")
T = TypeVar("T")

ChainFor = Callable[[PoolView], Chain | None]
"""The adaptations of a call to a pool, None where there are none."""


def no_chain(_view: PoolView) -> None:
    """No adaptation applies."""


@dataclass
class PluginModels:
    """`Models` of the plugin API, over pools, for the plugin `owner`. Calls are added to `calls` when they begin."""

    caller: PoolCaller
    owner: str
    roles: Mapping[str, str]
    calls: list[StageRecord]
    chain_for: ChainFor = no_chain

    async def complete(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> Chunk:
        """One chat completion."""
        request = _chat(messages, {**parameters, "stream": False})
        with self._begun(role, "completions") as (call, record):
            async with aclosing(self._answers(call, record, request)) as answers:
                async for answer in answers:
                    return answer
        raise BadUpstream("the model server sent no answer")

    async def stream(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> AsyncIterator[str]:
        """The text of one chat completion as it arrives."""
        request = _chat(messages, {**parameters, "stream": True})
        with self._begun(role, "chat") as (call, record):
            async with aclosing(self._answers(call, record, request)) as chunks:
                async for chunk in chunks:
                    for choice in chunk["choices"]:
                        if not choice.get("index") and (text := choice_text(choice)):
                            yield text

    async def embed(self, role: str, texts: Sequence[str]) -> list[list[float]]:
        """Vectors, one for each string."""
        answer = await self._numbers(role, "/embeddings", texts, lambda strings: {"input": strings})
        return vectors(answer, len(texts))

    async def score(self, role: str, query: str, texts: Sequence[str]) -> list[float]:
        """Relevance of each string to the query."""
        answer = await self._numbers(
            role, "/score", (query, *texts), lambda strings: {"text_1": strings[0], "text_2": strings[1:]}
        )
        return scores(answer, len(texts))

    async def classify(self, role: str, texts: Sequence[str]) -> list[list[float]]:
        """The probability of each label, for each string."""
        answer = await self._numbers(role, "/classify", texts, lambda strings: {"input": strings})
        return probabilities(answer, len(texts))

    async def count_tokens(self, role: str, text: str) -> int:
        """Tokens of the string, without special tokens."""
        answer = await self._numbers(
            role, "/tokenize", (text,), lambda strings: {"prompt": strings[0], "add_special_tokens": False}
        )
        return int(answer["count"])

    def has(self, role: str) -> bool:
        """Whether the role has a pool."""
        return role in self.roles

    async def compute(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """The result of a function, computed in a thread of the plugin."""
        return await self.caller.pools.threads.run(self.owner, function, *arguments, **named)

    async def _answers(
        self, call: PoolCall, record: StageRecord, request: ClientRequest
    ) -> AsyncGenerator[Chunk, None]:
        """The whole answer, or its chunks, as adaptations release them."""
        chain = self.chain_for(call.view)
        asked = await chain.on_request(request) if chain else request
        if isinstance(asked, Answered):
            answer = AnswerReader(GivenPieces(request, record.pool, asked.text))
        else:
            body = asked.body_for(call.view.model, stream=asked.stream, extra={})
            reply = await call.post(asked.task, body)
            answer = AnswerReader(
                StreamedPieces(reply, parse=True, choices=asked.choices)
                if asked.stream
                else WholePiece(reply, altered=True)
            )
        released = chain.on_answer(answer, streamed=request.stream) if chain else answer
        try:
            while piece := await released.next():
                for chunk in piece.chunks or ():
                    yield chunk
        finally:
            record.usage = answer.usage
            if chain:
                chain.drop()

    async def _numbers(
        self, role: str, path: str, strings: Sequence[str], body_of: Callable[[Sequence[str]], Mapping[str, Any]]
    ) -> dict[str, Any]:
        with self._begun(role, path.rpartition("/")[2]) as (call, record):
            chain = self.chain_for(call.view)
            if chain:
                strings = (await chain.on_strings(Strings(tuple(strings)))).strings
            body = {**body_of(list(strings)), "model": call.view.model}
            answer = parse_object(await (await call.post(path, orjson.dumps(body))).read())
            record.usage = read_usage(answer) or record.usage
        return answer

    @contextmanager
    def _begun(self, role: str, operation: str) -> Iterator[tuple[PoolCall, StageRecord]]:
        pool = self.roles.get(role)
        if pool is None:
            raise ModelUnavailable(f"poolRefs has no entry for the role {role!r}, which a plugin asks: add one")
        record = StageRecord(pool)
        self.calls.append(record)
        with self.caller.begin(record, operation) as call:
            yield call, record


def _chat(messages: Sequence[Mapping[str, Any]], parameters: Mapping[str, Any]) -> ClientRequest:
    return ClientRequest(Task.CHAT, {**parameters, "messages": list(messages)})
