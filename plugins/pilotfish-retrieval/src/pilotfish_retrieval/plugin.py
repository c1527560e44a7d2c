"""The adaptation: finds passages for a question, and notes which of them the answer cites.

Lewis et al., "Retrieval-Augmented Generation for Knowledge-Intensive NLP Tasks", NeurIPS 2020; with the passages in the
prompt of an unchanged model as in Ram et al., "In-Context Retrieval-Augmented Language Models", TACL 2023.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pilotfish.api.modelpool import Task
from pilotfish.plugin_api.adaptations import Channel, Conversation, Mode, Rewritten, Role
from pilotfish.plugin_api.messages import with_context
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.preparing import Documents, Prepared, Progress, Workspace
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish_retrieval.citations import CitationCheck
from pilotfish_retrieval.config import EMBEDDER, RERANKER, SPARSE_EMBEDDER, Config
from pilotfish_retrieval.context import context_of
from pilotfish_retrieval.index import Candidate, Index
from pilotfish_retrieval.pools import QuestionPools
from pilotfish_retrieval.preparation import Preparation
from pilotfish_retrieval.questions import last_user_turn, question_of


class Retrieval:
    """Puts passages of documents in front of the user's last turn."""

    roles: ClassVar = (
        Role(EMBEDDER, Task.EMBED, optional=True),
        Role(SPARSE_EMBEDDER, Task.EMBED, optional=True),
        Role(RERANKER, Task.SCORE, optional=True),
    )
    mode: ClassVar = Mode.OBSERVE
    config_model: ClassVar = Config
    prepared_format: ClassVar[int] = 1

    def __init__(self, config: Config, index: Index | None) -> None:
        self._config = config
        self._index = index

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of an invalid field, or for a prepared folder that cannot be read."""
        config = read_config(Config, settings)
        return cls(config, Index.open(settings.prepared, config) if settings.prepared else None)

    async def prepare(self, *, documents: Documents, into: Workspace, models: Models, progress: Progress) -> Prepared:
        """Write passages and indexes. Raises ConfigError if no document has text, or a pool is missing."""
        return await Preparation(self._config, documents, into, models, progress).run()

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | None:
        """The conversation with passages in the user's last turn, and their citations in the notes."""
        turn = last_user_turn(conversation.messages)
        if self._index is None or turn is None:
            return None
        room = self._config.max_context_tokens
        if conversation.context_tokens is not None:
            room = min(room, conversation.context_tokens)
        found, notes = await self._find(self._index, question_of(conversation.messages, self._config), models)
        if not found:
            return _unchanged(conversation, notes, "no passage is relevant enough")
        context = context_of(found, self._config.instruction, self._config.top_k, room)
        if context is None:
            return _unchanged(conversation, notes, f"no passage fits into {max(room, 0)} tokens")
        messages = conversation.messages
        changed = (*with_context(messages[: turn + 1], context.text), *messages[turn + 1 :])
        return Rewritten(changed, state=len(context.used), notes={"citations": context.citations, **notes})

    def on_answer(
        self, *, conversation: Conversation, state: Any, models: Models, channel: Channel
    ) -> CitationCheck | None:
        """Checks the citations of the text of an answer to a question with passages."""
        return CitationCheck(state) if state and channel.tool_call is None else None

    async def _find(self, index: Index, question: str, models: Models) -> tuple[list[Candidate], dict[str, Any]]:
        """The relevant candidates, best first, and notes about pools that did not answer."""
        pools = QuestionPools(self._config, models)
        vectors = await pools.vectors(index.by_vector, question)
        found = await models.compute(index.search, question, vectors)
        found = await pools.reranked(question, found)
        notes = {"unavailable": pools.unavailable} if pools.unavailable else {}
        return [each for each in found if each.relevant], notes


def _unchanged(conversation: Conversation, notes: Mapping[str, Any], reason: str) -> Rewritten:
    return Rewritten(conversation.messages, notes={"citations": [], "reason": reason, **notes})
