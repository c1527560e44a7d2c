"""What pools are asked for one question: its vectors, and the order of the candidates."""

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from pilotfish.base.errors import BadUpstream, ModelUnavailable, RequestError
from pilotfish.plugin_api.messages import BYTES_PER_TOKEN
from pilotfish.plugin_api.models import Models
from pilotfish_retrieval.config import RERANKER, Config
from pilotfish_retrieval.index import Candidate
from pilotfish_retrieval.vectors import cut

T = TypeVar("T")


@dataclass
class QuestionPools:
    """The pools of one question. `unavailable` lists the roles whose pool failed, with the reason."""

    config: Config
    models: Models
    unavailable: dict[str, str] = field(default_factory=dict)

    async def vectors(self, indexed: Collection[str], question: str) -> Mapping[str, Sequence[float]]:
        """The question's vector of each role that is indexed and answers. Raises RequestError in the modes that need
        the one that does not.
        """
        text = self.config.query_prefix + question
        roles = [role for role in self.config.mode.roles if role in indexed and self.models.has(role)]
        needed = self.config.mode.needed_role
        if needed and needed not in roles:
            raise ModelUnavailable(f"poolRefs has no entry for the role {needed!r}, which the mode needs: add one")
        found = await asyncio.gather(*(self._vector(role, text, required=role == needed) for role in roles))
        return {role: vector for role, vector in zip(roles, found, strict=True) if vector is not None}

    async def _vector(self, role: str, text: str, *, required: bool) -> Sequence[float] | None:
        short = cut(text, self.config.embedded_tokens, BYTES_PER_TOKEN)
        vectors = await self._answered(role, self.models.embed(role, [short]), required=required)
        if vectors is not None and len(vectors) != 1:
            raise BadUpstream(f"the pool of role {role!r} returned {len(vectors)} vectors for one string")
        return vectors[0] if vectors is not None else None

    async def reranked(self, question: str, candidates: Sequence[Candidate]) -> list[Candidate]:
        """The candidates in the order of the reranker's scores, if there is one and it answers. Those after the first
        `reranked` are dropped, because their scores cannot be compared.
        """
        if not self.models.has(RERANKER) or not candidates:
            return list(candidates)
        first = candidates[: self.config.reranked]
        texts = [cut(each.stored.passage.searched, self.config.embedded_tokens, BYTES_PER_TOKEN) for each in first]
        query = cut(question, self.config.embedded_tokens, BYTES_PER_TOKEN)
        scores = await self._answered(RERANKER, self.models.score(RERANKER, query, texts), required=False)
        if scores is None:
            return list(candidates)
        if len(scores) != len(first):
            raise BadUpstream(f"the pool of role {RERANKER!r} returned {len(scores)} scores for {len(first)} strings")
        least = self.config.min_rerank_permille / 1000
        judged = [
            replace(each, score=score, relevant=score >= least) for each, score in zip(first, scores, strict=True)
        ]
        return sorted(judged, key=lambda each: -each.score)

    async def _answered(self, role: str, call: Awaitable[T], *, required: bool) -> T | None:
        """What the pool returned. None, with a note, if it fails or takes too long and is not required."""
        milliseconds = self.config.pool_timeout_milliseconds
        try:
            async with asyncio.timeout(milliseconds / 1000):
                return await call
        except TimeoutError as error:
            reason = f"it did not answer within poolTimeoutMilliseconds, {milliseconds}"
            if required:
                raise ModelUnavailable(f"the pool of role {role!r}: {reason}") from error
        except RequestError as error:
            if required:
                raise
            reason = error.message
        self.unavailable[role] = reason
        return None
