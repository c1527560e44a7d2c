"""The adaptation: prepares an index of demonstrations, and adds the best of them to each question."""

import io
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pilotfish.api.common import Model, Permille
from pilotfish.api.modelpool import Task
from pilotfish.base.errors import BadUpstream, ConfigError
from pilotfish.plugin_api.adaptations import Conversation, Rewritten, Role
from pilotfish.plugin_api.artifacts import write_artifact
from pilotfish.plugin_api.messages import estimate_tokens, last_user_text, with_context
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.preparing import Documents, Prepared, Progress, Workspace
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish_prompt_retrieval.bm25 import Bm25
from pilotfish_prompt_retrieval.demonstrations import Rows, read_rows, usefulness
from pilotfish_prompt_retrieval.index import BM25, DEMONSTRATIONS, Found, Index, Known, lines_of, shards_of

EMBEDDER = "embedder"
SHARD = 256
CANDIDATES = 8
"""Candidates for each demonstration that is wanted: more than one, so that near copies can be passed over."""
MOST_DEMONSTRATIONS = 50_000


class Placement(StrEnum):
    """Where demonstrations go: as turns before the last user message, or into that message."""

    TURNS = "Turns"
    LAST_TURN = "LastTurn"


class Config(Model):
    """The settings of `prompt-retrieval`."""

    demonstrations: Annotated[int, Field(strict=True, ge=1, le=32)] = 4
    """The most demonstrations that are added to a question."""
    max_tokens: Annotated[int, Field(strict=True, ge=16, le=100_000)] = 1000
    """The most tokens that they add to the prompt, estimated."""
    min_similarity_permille: Permille = 100
    """The similarity with the question below which a demonstration is left out: the cosine of vectors of the Embed
    pool, else the BM25 score as a share of the question's own.
    """
    diversity_permille: Permille = 200
    """The share of its rank that a demonstration loses if it equals one already chosen. 0: choose by rank alone."""
    placement: Placement = Placement.TURNS
    """Turns: each demonstration is a user turn and an assistant turn before the last user message. LastTurn: all are
    in front of the question, in the last user message.
    """
    heading: Annotated[str, Field(min_length=1, max_length=1000)] = "Examples of questions and good answers:"
    """The line in front of the demonstrations, for placement LastTurn."""


class PromptRetrieval:
    """Adds demonstrations that resemble the question and have helped."""

    config_model: ClassVar = Config
    roles: ClassVar = (Role(EMBEDDER, Task.EMBED, optional=True),)
    prepared_format: ClassVar = 1

    def __init__(self, config: Config, index: Index | None) -> None:
        self._config = config
        self._index = index

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError with the path of the invalid field."""
        config = read_config(Config, settings)
        return cls(config, Index.load(settings.prepared) if settings.prepared else None)

    async def prepare(self, *, documents: Documents, into: Workspace, models: Models, progress: Progress) -> Prepared:
        """Read demonstrations, learn their usefulness from trials, and index them.

        Raises ConfigError for rows that are not valid, RequestError if the Embed pool does not answer.
        """
        rows = read_rows(documents)
        learned = usefulness(rows.trials)
        fitting = self._fitting(rows, learned)
        into.write(DEMONSTRATIONS, lines_of([(each.demonstration, each.usefulness) for each in fitting]))
        inputs = [each.demonstration.input for each in fitting]
        into.write(BM25, await models.compute(lambda: write_artifact(BM25, Bm25.of(inputs).to_arrays())))
        if models.has(EMBEDDER):
            for number, (name, strings) in enumerate(shards_of(inputs, SHARD)):
                if not into.has(name):
                    into.write(name, _bytes_of(await self._vectors(strings, models)))
                progress(min((number + 1) * SHARD, len(inputs)), len(inputs), "embed demonstrations")
        details = {
            "demonstrations": len(fitting),
            "longerThanMaxTokens": len(rows.demonstrations) - len(fitting),
            "withKnownUsefulness": sum(each.demonstration.id in learned for each in fitting),
        }
        return Prepared(len(documents), details)

    async def on_request(self, *, conversation: Conversation, models: Models) -> Rewritten | None:
        """The conversation with demonstrations, None where none fits.

        Raises RequestError if the Embed pool does not answer, BadUpstream for vectors of another length.
        """
        question = last_user_text(conversation.messages)
        if question is None or self._index is None:
            return None
        by_vector = self._index.vectors is not None and models.has(EMBEDDER)
        vector = (await self._vectors([question], models))[0] if by_vector else None
        chosen = await models.compute(self._chosen, self._index, question, vector, conversation.context_tokens)
        if not chosen:
            return None
        placed = self._turns if self._config.placement is Placement.TURNS else self._in_last_turn
        # The most similar comes last, nearest to the question.
        messages = placed(conversation.messages, sorted(chosen, key=lambda each: each.similarity))
        return Rewritten(messages, notes={"demonstrations": [_note(each) for each in chosen]})

    def _fitting(self, rows: Rows, learned: Mapping[str, float]) -> list[Known]:
        if len(rows.demonstrations) > MOST_DEMONSTRATIONS:
            text = f"have {len(rows.demonstrations)} demonstrations, and at most {MOST_DEMONSTRATIONS} are supported"
            raise ConfigError("sources", text)
        known = (Known.of(each, learned.get(each.id, 0.0)) for each in rows.demonstrations)
        fitting = [each for each in known if each.tokens <= self._config.max_tokens]
        if not fitting:
            raise ConfigError("config.maxTokens", "is less than every demonstration has: increase it")
        return fitting

    async def _vectors(self, strings: Sequence[str], models: Models) -> NDArray[np.float32]:
        """A vector of length 1 for each string. Raises BadUpstream for vectors of another length than prepared."""
        vectors = np.asarray(await models.embed(EMBEDDER, strings), np.float32)
        prepared = None if self._index is None else self._index.vectors
        width = vectors.shape[1] if prepared is None else prepared.shape[1]
        if vectors.shape != (len(strings), width):
            raise BadUpstream(f"the pool of role {EMBEDDER!r} returns vectors of another length than the prepared ones")
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0), np.float32)

    def _chosen(self, index: Index, question: str, vector: NDArray[np.float32] | None, room: int | None) -> list[Found]:
        config = self._config
        most = config.max_tokens if room is None else min(config.max_tokens, room)
        if config.placement is Placement.LAST_TURN:
            most -= estimate_tokens(config.heading)
        similarities = index.similarities(question, vector)
        wanted = config.demonstrations
        candidates = index.best(similarities, config.min_similarity_permille / 1000, CANDIDATES * wanted)
        return index.diverse(candidates, wanted, most, config.diversity_permille / 1000)

    def _turns(self, messages: Sequence[Mapping[str, Any]], chosen: Sequence[Found]) -> tuple[Mapping[str, Any], ...]:
        added = [
            turn
            for each in chosen
            for turn in (
                {"role": "user", "content": each.known.demonstration.input},
                {"role": "assistant", "content": each.known.demonstration.output},
            )
        ]
        return (*messages[:-1], *added, messages[-1])

    def _in_last_turn(
        self, messages: Sequence[Mapping[str, Any]], chosen: Sequence[Found]
    ) -> tuple[Mapping[str, Any], ...]:
        pairs = (each.known.demonstration for each in chosen)
        shown = "\n\n".join(f"Question: {each.input}\nAnswer: {each.output}" for each in pairs)
        return with_context(messages, f"{self._config.heading}\n\n{shown}")


def _bytes_of(vectors: NDArray[np.float32]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, vectors)
    return buffer.getvalue()


def _note(found: Found) -> dict[str, Any]:
    return {
        "id": found.known.demonstration.id,
        "similarity": round(found.similarity, 4),
        "usefulness": round(found.known.usefulness, 4),
    }
