"""What a plugin may ask of pools."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from pilotfish.base.errors import BadUpstream


class Models(Protocol):
    """The pools that a plugin may ask, by the role that the manifest gives them in `poolRefs`.

    For a scorer, the role "self" is the pool whose answer it scores. Every call counts towards the request's cost and
    is cancelled with the request. Every method raises RequestError if no replica of the pool answers.
    """

    async def complete(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> Mapping[str, Any]:
        """One chat completion, as the model server returned it; `parameters` are those of OpenAI's API."""

    async def embed(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """One vector for each text, in order, by a pool with task Embed."""

    async def score(self, role: str, query: str, texts: Sequence[str]) -> Sequence[float]:
        """The relevance of each text to the query, in order, by a pool with task Score."""


def completions(response: Mapping[str, Any]) -> list[str]:
    """The text of each choice of a chat completion. Raises BadUpstream if there is none."""
    choices = response.get("choices")
    if not isinstance(choices, Sequence) or not choices:
        raise BadUpstream("the model server's response to a plugin has no `choices`")
    return [str((choice.get("message") or {}).get("content") or "") for choice in choices]
