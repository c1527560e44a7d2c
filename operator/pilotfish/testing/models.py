"""Stand-ins for the pools that a plugin asks."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ParamSpec, TypeVar

from pilotfish.base.errors import ModelUnavailable

P = ParamSpec("P")
T = TypeVar("T")


def _vector_of(text: str) -> Sequence[float]:
    return [float(len(text)), 1.0]


@dataclass
class StandInModels:
    """Implements `Models`: completions with `texts`, one for each choice in turn; vectors and relevance by function.

    `labels` gives the probabilities of a text's labels. A word is a token. `missing` are the roles without a pool.
    `asked` lists the roles of all calls, in order.
    """

    texts: Sequence[str] = ("Yes",)
    vector: Callable[[str], Sequence[float]] = _vector_of
    relevance: Callable[[str, str], float] = lambda _query, _text: 0.5
    labels: Callable[[str], Sequence[float]] = lambda _text: (0.5, 0.5)
    missing: frozenset[str] = frozenset()
    asked: list[str] = field(default_factory=list)

    async def reach(self, role: str) -> None:
        """Note a call to the pool of a role, and let other tasks run. Every call begins with it."""
        self.asked.append(role)
        await asyncio.sleep(0)

    async def complete(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> Mapping[str, Any]:
        """A chat completion with `n` choices."""
        await self.reach(role)
        texts = [self.texts[index % len(self.texts)] for index in range(int(parameters.get("n", 1)))]
        return {"choices": [_choice(index, text) for index, text in enumerate(texts)]}

    async def embed(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """The vector of each text."""
        await self.reach(role)
        return [self.vector(text) for text in texts]

    async def score(self, role: str, query: str, texts: Sequence[str]) -> Sequence[float]:
        """The relevance of each text."""
        await self.reach(role)
        return [self.relevance(query, text) for text in texts]

    async def stream(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> AsyncIterator[str]:
        """The first of `texts`, in two parts."""
        await self.reach(role)
        half = len(self.texts[0]) // 2
        for part in (self.texts[0][:half], self.texts[0][half:]):
            yield part

    async def classify(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """The probabilities of each text's labels."""
        await self.reach(role)
        return [self.labels(text) for text in texts]

    async def count_tokens(self, role: str, text: str) -> int:
        """The number of words."""
        await self.reach(role)
        return len(text.split())

    def has(self, role: str) -> bool:
        """True for every role that is not missing."""
        return role not in self.missing

    async def compute(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """The result of the function, computed in a thread."""
        return await asyncio.to_thread(function, *arguments, **named)


@dataclass
class FailingModels(StandInModels):
    """No pool answers."""

    async def reach(self, role: str) -> None:
        """Raises ModelUnavailable."""
        await super().reach(role)
        raise ModelUnavailable(f"the stand-in pool of role {role!r} does not answer")


@dataclass
class SilentModels(StandInModels):
    """Pools that never answer. `reached` is set when one is asked."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def reach(self, role: str) -> None:
        """Wait forever."""
        await super().reach(role)
        self.reached.set()
        await asyncio.Event().wait()


def _choice(index: int, text: str) -> dict[str, Any]:
    token = {"token": text, "logprob": -0.1, "top_logprobs": [{"token": text, "logprob": -0.1}]}
    message = {"role": "assistant", "content": text}
    return {"index": index, "message": message, "finish_reason": "stop", "logprobs": {"content": [token]}}
