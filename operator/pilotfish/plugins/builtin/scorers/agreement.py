"""`agreement`: the question is asked again; the score says how far the answers agree.

`measure: share` is the share of samples that say what the answer says (self-consistency, Wang et al., ICLR 2023; as a
cascade's signal Yue et al., "Large Language Model Cascades with Mixture of Thoughts Representations for
Cost-efficient Reasoning", ICLR 2024, whose two ways of asking are `otherInstruction`). `measure: entropy` is 1 -
semantic entropy / log(answers), after Kuhn et al., "Semantic Uncertainty", ICLR 2023, and Farquhar et al., "Detecting
Hallucinations in Large Language Models Using Semantic Entropy", Nature 2024; meaning is compared by normal forms or
by clusters of embeddings, not by entailment.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from pilotfish.api.common import Label, Model
from pilotfish.plugin_api.models import Models, completions
from pilotfish.plugin_api.scorers import Answer, Question, Score, permille
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.plugins.builtin.scorers.answers import Compare, clusters_of_forms, clusters_of_vectors, normal_form


class Measure(StrEnum):
    """What of the clusters counts."""

    SHARE = "share"
    ENTROPY = "entropy"


class Config(Model):
    """Who is asked again (`role`), how often, and how answers are compared.

    With `embedRole` (a pool of task Embed) vectors are compared instead of normal forms, and `leastCosinePermille`
    counts. With `otherInstruction` half of the samples are asked with this system message before the conversation.
    """

    role: Label = "self"
    samples: Annotated[int, Field(ge=1, le=32)] = 4
    temperature_permille: Annotated[int, Field(ge=1, le=2000)] = 800
    measure: Measure = Measure.SHARE
    compare: Compare = Compare.TEXT
    embed_role: Label | None = None
    least_cosine_permille: Annotated[int, Field(ge=0, le=1000)] = 900
    other_instruction: Annotated[str, Field(min_length=1, max_length=8192)] | None = None
    longest_answer_tokens: Annotated[int, Field(ge=1, le=32_768)] = 512


class AgreementScorer:
    """Scores an answer by asking again. Cannot bound its score from a prefix: such a stage is held."""

    config_model: ClassVar = Config

    top_logprobs: int | None = None

    def __init__(self, config: Config) -> None:
        self._config = config

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError for a config that does not fit."""
        return cls(read_config(Config, settings))

    async def judge(self, *, question: Question, answer: Answer, models: Models) -> Score:
        """How far the samples agree with the answer, or with each other. An empty answer scores 0."""
        if not answer.text.strip():
            return Score(0, {"samples": 0})
        samples = [text for asked in self._ways(question) for text in await self._ask(models, question, *asked)]
        clusters = await self._clusters([answer.text, *samples], models)
        agreed = sum(cluster == clusters[0] for cluster in clusters[1:])
        value = agreed / len(samples) if self._config.measure is Measure.SHARE else certainty(clusters)
        return Score(permille(value), {"samples": len(samples), "agreed": agreed, "meanings": len(set(clusters))})

    def _ways(self, question: Question) -> list[tuple[Sequence[Mapping[str, Any]], int]]:
        """The conversations to ask with, and how many samples of each."""
        samples, other = self._config.samples, self._config.other_instruction
        if other is None:
            return [(question.messages, samples)]
        rephrased = ({"role": "system", "content": other}, *question.messages)
        ways: list[tuple[Sequence[Mapping[str, Any]], int]] = [(rephrased, (samples + 1) // 2)]
        return ways if samples == 1 else [*ways, (question.messages, samples // 2)]

    async def _ask(
        self, models: Models, question: Question, messages: Sequence[Mapping[str, Any]], samples: int
    ) -> list[str]:
        longest = min(self._config.longest_answer_tokens, question.max_tokens or self._config.longest_answer_tokens)
        temperature = self._config.temperature_permille / 1000
        response = await models.complete(
            self._config.role, messages, n=samples, max_tokens=longest, temperature=temperature
        )
        return completions(response)

    async def _clusters(self, texts: Sequence[str], models: Models) -> list[int]:
        if self._config.embed_role is None:
            return clusters_of_forms([normal_form(text, self._config.compare) for text in texts])
        vectors = await models.embed(self._config.embed_role, texts)
        return clusters_of_vectors(vectors, self._config.least_cosine_permille / 1000)


def certainty(clusters: Sequence[int]) -> float:
    """1 - entropy of the clusters' shares / log(n): 1 where all say the same, 0 where no two do."""
    if len(clusters) < 2:
        return 1.0
    shares = [count / len(clusters) for count in Counter(clusters).values()]
    entropy = -math.fsum(share * math.log(share) for share in shares)
    return 1.0 - entropy / math.log(len(clusters))
