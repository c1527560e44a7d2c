"""A stand-in for the pools that a plugin asks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


def _vector_of(text: str) -> Sequence[float]:
    return [float(len(text)), 1.0]


@dataclass
class StandInModels:
    """Implements `Models`: completions with `texts`, one for each choice in turn; vectors and relevance by function.

    `asked` lists the roles of all calls, in order.
    """

    texts: Sequence[str] = ("Yes",)
    vector: Callable[[str], Sequence[float]] = _vector_of
    relevance: Callable[[str, str], float] = lambda _query, _text: 0.5
    asked: list[str] = field(default_factory=list)

    async def complete(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> Mapping[str, Any]:
        """A chat completion with `n` choices."""
        self.asked.append(role)
        texts = [self.texts[index % len(self.texts)] for index in range(int(parameters.get("n", 1)))]
        return {"choices": [_choice(index, text) for index, text in enumerate(texts)]}

    async def embed(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """The vector of each text."""
        self.asked.append(role)
        return [self.vector(text) for text in texts]

    async def score(self, role: str, query: str, texts: Sequence[str]) -> Sequence[float]:
        """The relevance of each text."""
        self.asked.append(role)
        return [self.relevance(query, text) for text in texts]


def _choice(index: int, text: str) -> dict[str, Any]:
    token = {"token": text, "logprob": -0.1, "top_logprobs": [{"token": text, "logprob": -0.1}]}
    message = {"role": "assistant", "content": text}
    return {"index": index, "message": message, "finish_reason": "stop", "logprobs": {"content": [token]}}
