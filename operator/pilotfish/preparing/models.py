"""What a plugin may ask of pools while it prepares: calls to the addresses of pools, outside of any request."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import orjson

from pilotfish.base.errors import BadUpstream, ModelUnavailable
from pilotfish.plugin_api.models import completions
from pilotfish.routing.snapshot import Endpoint
from pilotfish.upstream.client import ModelServers
from pilotfish.upstream.pooling_answers import probabilities, scores, vectors

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class AskedPool:
    """The pool of a role: its name, where it answers, and what its model server calls the model."""

    name: str
    endpoint: Endpoint
    model: str


@dataclass(frozen=True)
class PreparingModels:
    """Implements `Models` over the pools of an AdaptationPlugin's roles."""

    servers: ModelServers
    pools: Mapping[str, AskedPool]

    async def complete(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> Mapping[str, Any]:
        """One chat completion."""
        return await self._ask(role, "/chat/completions", {**parameters, "messages": list(messages)})

    async def stream(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> AsyncIterator[str]:
        """The text of one chat completion, in one piece: no client waits for its beginning."""
        yield completions(await self.complete(role, messages, **parameters))[0]

    async def embed(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Vectors, one for each string."""
        return vectors(await self._ask(role, "/embeddings", {"input": list(texts)}), len(texts))

    async def score(self, role: str, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Relevance of each string to the query."""
        body = {"text_1": query, "text_2": list(texts)}
        return scores(await self._ask(role, "/score", body), len(texts))

    async def classify(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """The probability of each label, for each string."""
        return probabilities(await self._ask(role, "/classify", {"input": list(texts)}), len(texts))

    async def count_tokens(self, role: str, text: str) -> int:
        """Tokens of the string, without special tokens."""
        return int((await self._ask(role, "/tokenize", {"prompt": text, "add_special_tokens": False}))["count"])

    def has(self, role: str) -> bool:
        """Whether the role has a pool."""
        return role in self.pools

    async def compute(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """The result of a function, computed in a thread."""
        return await asyncio.to_thread(function, *arguments, **named)

    async def _ask(self, role: str, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        pool = self.pools.get(role)
        if pool is None:
            raise ModelUnavailable(f"poolRefs has no entry for the role {role!r}, which the plugin asks: add one")
        reply = await self.servers.post((pool.endpoint,), path, orjson.dumps({**body, "model": pool.model}), {})
        try:
            raw = await reply.read()
        finally:
            reply.close()
        try:
            answer = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise BadUpstream(f"pool {pool.name!r} returned no JSON: {error}") from error
        if not isinstance(answer, dict):
            raise BadUpstream(f"pool {pool.name!r} returned no JSON object")
        return answer
