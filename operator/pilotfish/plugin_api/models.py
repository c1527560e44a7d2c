"""What a plugin may ask of pools."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pilotfish.base.errors import BadUpstream


class Models(Protocol):
    """The pools that a scorer may ask, by the role that the manifest gives them; "self" is the stage's own pool.

    Every call counts towards the request's cost and is cancelled with it. Raises RequestError where none answers.
    """

    async def complete(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> Mapping[str, Any]:
        """One chat completion, as the model server answers it; `parameters` are OpenAI's."""

    async def embed(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """Vectors, one for each text."""

    async def score(self, role: str, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Relevance of each text to the query, by a pool with task Score."""


def completions(response: Mapping[str, Any]) -> list[str]:
    """The texts of a chat completion's choices. Raises BadUpstream if it holds none."""
    choices = response.get("choices")
    if not isinstance(choices, Sequence) or not choices:
        raise BadUpstream("the model server's answer to a scorer has no choices")
    return [str((choice.get("message") or {}).get("content") or "") for choice in choices]
