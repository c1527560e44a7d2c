"""How likely it is that a context supports a sentence: the signals, and their combination."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import fsum, isfinite, log

from pilotfish.base.errors import BadUpstream, ConfigError
from pilotfish.plugin_api.models import Models, yes_or_no
from pilotfish.plugin_api.scorers import sigmoid
from pilotfish_verify.config import Config, Weights
from pilotfish_verify.overlap import Passage, Word, content_words

JUDGE = "judge"
SCORER = "scorer"
SCORED_PASSAGES = 4
"""The most passages that a Score pool compares with one sentence."""

FEW_PASSAGES = 100
"""With more passages, the overlap takes milliseconds and is computed in a thread."""

LARGEST_LOG_ODDS = 10.0
"""Log-odds of yes that count as 1."""

INSTRUCTION = (
    "You check statements against a text. Answer Yes if the text supports everything that the statement claims, and No "
    "if it does not."
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The probability that the context supports the sentence, and the signals that it follows from."""

    probability: float
    signals: Mapping[str, float]


def probability_of(signals: Mapping[str, float], weights: Weights) -> float:
    """The logistic regression. A signal that is missing counts as 0."""
    return sigmoid((weights.bias + fsum(getattr(weights, name) * value for name, value in signals.items())) / 1000)


def ranked_overlap(passages: Sequence[Passage], words: Sequence[Word]) -> tuple[dict[str, float], list[Passage]]:
    """The overlap of a sentence with the passage that fits best, and the passages, best first."""
    found = [(passage, passage.overlap(words)) for passage in passages]
    found.sort(key=lambda pair: pair[1].words + pair[1].pairs, reverse=True)
    return asdict(found[0][1]), [passage for passage, _ in found]


class Judge:
    """Judges sentences of one answer."""

    def __init__(self, config: Config, passages: Sequence[Passage], models: Models) -> None:
        self._config = config
        self._passages = passages
        self._models = models

    async def judge(self, sentence: str) -> Judgement | None:
        """The judgement, None for a sentence that is not checked.

        Raises ConfigError if a weight needs a pool that the manifest does not name, and RequestError if a pool does not
        answer or returns something else than numbers.
        """
        if not self._is_checked(sentence):
            return None
        if not self._passages:
            return Judgement(0.0, {})
        signals = await self.signals(sentence)
        return Judgement(probability_of(signals, self._config.weights), signals)

    async def signals(self, sentence: str) -> dict[str, float]:
        """The overlap, and what the pools say whose weight is not 0. There must be passages. Raises as `judge` does."""
        words = content_words(sentence)
        if len(self._passages) > FEW_PASSAGES:
            signals, passages = await self._models.compute(ranked_overlap, self._passages, words)
        else:
            signals, passages = ranked_overlap(self._passages, words)
        weights = self._config.weights
        if weights.yes:
            self._require(JUDGE, "yes")
            signals["yes"] = await self._log_odds_of_yes(sentence, passages)
        if weights.score:
            self._require(SCORER, "score")
            signals["score"] = await self._score(sentence, passages)
        return signals

    def _is_checked(self, sentence: str) -> bool:
        if len(content_words(sentence)) < self._config.fewest_words or sentence.rstrip().endswith("?"):
            return False
        return not any(re.search(pattern, sentence, re.IGNORECASE) for pattern in self._config.ignore)

    def _require(self, role: str, weight: str) -> None:
        if not self._models.has(role):
            raise ConfigError(f"config.weights.{weight}", f"needs a pool with the role {role!r} in poolRefs")

    async def _log_odds_of_yes(self, sentence: str, ranked: Sequence[Passage]) -> float:
        """From -1 to 1."""
        text = "\n\n".join(self._shown(ranked))
        question = "Does the text support the statement? Answer Yes or No."
        messages = [
            {"role": "system", "content": INSTRUCTION},
            {"role": "user", "content": f"Text:\n{text}\n\nStatement: {sentence.strip()}\n\n{question}"},
        ]
        response = await self._models.complete(
            JUDGE, messages, max_tokens=1, temperature=0, logprobs=True, top_logprobs=20
        )
        yes, no = yes_or_no(response)
        if not yes or not no:
            return float((yes > 0) - (no > 0))
        return min(1.0, max(-1.0, log(yes / no) / LARGEST_LOG_ODDS))

    async def _score(self, sentence: str, ranked: Sequence[Passage]) -> float:
        """The highest score of a passage."""
        passages = self._shown(ranked)[:SCORED_PASSAGES]
        entailment = self._config.entailment
        if entailment is None:
            scores = await self._models.score(SCORER, sentence.strip(), passages)
        else:
            template = entailment.template
            inputs = [template.replace("{sentence}", sentence.strip()).replace("{passage}", text) for text in passages]
            labels = await self._models.classify(SCORER, inputs)
            if any(len(each) <= entailment.label for each in labels):
                raise BadUpstream(f"the pool of role {SCORER!r} has no label {entailment.label}")
            scores = [each[entailment.label] for each in labels]
        if len(scores) != len(passages) or not all(map(isfinite, scores)):
            raise BadUpstream(f"the pool of role {SCORER!r} returned no score for a passage")
        return max(scores)

    def _shown(self, ranked: Sequence[Passage]) -> list[str]:
        """The best passages that fit into `longestContext` characters, at least a part of the best one."""
        left = self._config.longest_context
        shown: list[str] = []
        for passage in ranked:
            text = passage.text[:left]
            if len(text) < len(passage.text) and shown:
                break
            shown.append(text)
            left -= len(text)
        return shown
