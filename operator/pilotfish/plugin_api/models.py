"""What a plugin may ask of pools."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from math import exp, fsum
from typing import Any, ParamSpec, Protocol, TypeVar

from pilotfish.base.errors import BadUpstream

P = ParamSpec("P")
T = TypeVar("T")


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

    def stream(self, role: str, messages: Sequence[Mapping[str, Any]], **parameters: Any) -> AsyncIterator[str]:
        """The text of one chat completion, as it arrives. Closing the iterator ends the generation."""

    async def classify(self, role: str, texts: Sequence[str]) -> Sequence[Sequence[float]]:
        """The probability of each label, in the model's order of labels, for each text, by a pool with task Score."""

    async def count_tokens(self, role: str, text: str) -> int:
        """The number of tokens of the text for the pool's model, without special tokens."""

    def has(self, role: str) -> bool:
        """Whether the manifest names a pool for the role."""

    async def compute(self, function: Callable[P, T], *arguments: P.args, **named: P.kwargs) -> T:
        """The result of a function that takes more than a few milliseconds of CPU, computed in a thread.

        Code of a plugin that does not use this delays every request of the gateway.
        """


def completions(response: Mapping[str, Any]) -> list[str]:
    """The text of each choice of a chat completion. Raises BadUpstream if there is none."""
    choices = response.get("choices")
    if not isinstance(choices, Sequence) or not choices:
        raise BadUpstream("the model server's response to a plugin has no `choices`")
    return [str((choice.get("message") or {}).get("content") or "") for choice in choices]


def yes_or_no(response: Mapping[str, Any]) -> tuple[float, float]:
    """The probabilities of yes and of no as the first token of a chat completion with `top_logprobs`, in any case.

    Raises BadUpstream where it has no log-probabilities.
    """
    try:
        alternatives = response["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        tokens = [(str(entry["token"]).strip().lower(), exp(float(entry["logprob"]))) for entry in alternatives]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BadUpstream("the model server's response to a plugin has no log-probabilities") from error
    yes, no = (fsum(share for token, share in tokens if token == answer) for answer in ("yes", "no"))
    return yes, no
