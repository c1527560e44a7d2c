"""`tool-retrieval`: offers a model only the tools that a question may need.

After the API retriever of Qin et al., "ToolLLM: Facilitating Large Language Models to Master 16000+ Real-world APIs",
ICLR 2024. Here, tools are ranked by BM25, and by the vectors of an Embed pool where there is one.
"""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from pilotfish.api.common import Model
from pilotfish.api.modelpool import Task
from pilotfish.base.errors import BadUpstream, RequestError
from pilotfish.plugin_api.adaptations import Conversation, Rewritten, Role
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.scorers import message_text
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish_tool_retrieval.ranking import cosines, fused, overlaps
from pilotfish_tool_retrieval.tools import described, name_of, used_names

__all__ = ["ToolRetrieval"]

EMBEDDER = "embedder"
LONGEST_QUESTION = 2000
USER_TURNS = 3
CACHED_VECTORS = 4096


class Config(Model):
    """How many tools are offered, and which are always offered."""

    max_tools: Annotated[int, Field(strict=True, ge=1, le=128)] = 8
    """The maximum number of tools. Requests with fewer tools are left as they are."""
    always: Annotated[tuple[str, ...], Field(max_length=128)] = ()
    """Names of tools that are always kept."""


class ToolRetrieval:
    """Removes the tools that rank last for the question. Those that the conversation has called are kept."""

    roles: ClassVar = (Role(EMBEDDER, Task.EMBED, optional=True),)
    config_model: ClassVar = Config

    def __init__(self, config: Config) -> None:
        self._config = config
        self._vectors: OrderedDict[str, Sequence[float]] = OrderedDict()

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of an invalid field."""
        return cls(read_config(Config, settings))

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | None:
        """The conversation with the tools of the highest rank, in their order. None if all are kept."""
        tools, question = conversation.tools, _question(conversation.messages)
        if len(tools) <= self._config.max_tools or not question:
            return None
        descriptions = [described(tool) for tool in tools]
        rankings = [await models.compute(overlaps, question, descriptions)]
        notes: dict[str, Any] = {}
        if models.has(EMBEDDER):
            try:
                rankings.append(await self._by_vector(question, descriptions, models))
            except RequestError as error:
                notes["unavailable"] = {EMBEDDER: error.message}
        order = fused(rankings)
        if not order:
            return Rewritten(conversation.messages, notes={"reason": "no tool matches the question", **notes})
        kept = self._kept(tools, order, used_names(conversation.messages))
        notes |= {"offered": [name_of(tools[place]) for place in kept], "removed": len(tools) - len(kept)}
        return Rewritten(conversation.messages, tuple(tools[place] for place in kept), notes=notes)

    def _kept(self, tools: Sequence[Mapping[str, Any]], order: Sequence[int], used: frozenset[str]) -> list[int]:
        """The places of the tools to offer: those that must stay, and the first others up to the maximum."""
        needed = used | set(self._config.always)
        kept = {place for place, tool in enumerate(tools) if name_of(tool) in needed or name_of(tool) is None}
        for place in order:
            if len(kept) >= self._config.max_tools:
                break
            kept.add(place)
        return sorted(kept)

    async def _by_vector(self, question: str, descriptions: Sequence[str], models: Models) -> list[float]:
        """The cosine of each tool with the question. Vectors of tools are kept for later requests."""
        missing = [text for text in dict.fromkeys(descriptions) if text not in self._vectors]
        found = await models.embed(EMBEDDER, [question, *missing])
        if len(found) != len(missing) + 1:
            raise BadUpstream(
                f"the pool of role {EMBEDDER!r} returned {len(found)} vectors for {len(missing) + 1} strings"
            )
        fresh = dict(zip(missing, found[1:], strict=True))
        vectors = [fresh[text] if text in fresh else self._vectors[text] for text in descriptions]
        if any(len(vector) != len(found[0]) for vector in vectors):
            self._vectors.clear()
            raise BadUpstream(f"the pool of role {EMBEDDER!r} returned vectors of different lengths")
        self._vectors.update(fresh)
        while len(self._vectors) > CACHED_VECTORS:
            self._vectors.popitem(last=False)
        return cosines(found[0], vectors)


def _question(messages: Sequence[Mapping[str, Any]]) -> str:
    """The user's last turns, at most 2000 characters from their end."""
    turns = [message_text(message) for message in messages if message.get("role") == "user"]
    return "\n".join(turns[-USER_TURNS:])[-LONGEST_QUESTION:].strip()
