"""`self-check`: a model judges the answer, several times; the score is the share of votes that call it right.

After Aggarwal et al., "AutoMix: Automatically Mixing Language Models", NeurIPS 2024 (few-shot self-verification,
sampled), and Kadavath et al., "Language Models (Mostly) Know What They Know", 2022 (the probability of the yes).
Whether a model can judge itself has to be measured: calibration says so where it cannot.
"""

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self

from pydantic import Field

from pilotfish.api.common import Label, Model
from pilotfish.base.errors import BadUpstream
from pilotfish.plugin_api.models import Models, completions
from pilotfish.plugin_api.scorers import Answer, Question, Score, permille, question_text
from pilotfish.plugin_api.settings import Settings, read_config

INSTRUCTION = (
    "You check answers. Read the question and the proposed answer, then say whether the answer is right: Yes or No."
)
EXAMPLES = (
    ("How many days are there in a week?", "There are seven days in a week.", "Yes"),
    ("Which planet is closest to the Sun?", "Venus is the planet closest to the Sun.", "No"),
    ("What is 15 + 28?", "15 + 28 = 43", "Yes"),
    ("Which language is spoken in Brazil?", "Most people in Brazil speak Spanish.", "No"),
)


class Vote(StrEnum):
    """How a vote is counted: sampled words, or the probability of the first word."""

    SAMPLED = "sampled"
    PROBABILITY = "probability"


class Config(Model):
    """Who judges (`role`, a pool of the manifest or "self"), how often, and how."""

    role: Label = "self"
    vote: Vote = Vote.SAMPLED
    samples: Annotated[int, Field(ge=1, le=32)] = 5
    temperature_permille: Annotated[int, Field(ge=1, le=2000)] = 700
    longest_answer_characters: Annotated[int, Field(ge=100, le=100_000)] = 8000


class SelfCheckScorer:
    """Scores an answer by asking a model whether it is right. Cannot bound its score from a prefix: such a stage is
    held.
    """

    config_model: ClassVar = Config

    top_logprobs: int | None = None

    def __init__(self, config: Config) -> None:
        self._config = config

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        """Raises ConfigError for a config that does not fit."""
        return cls(read_config(Config, settings))

    async def judge(self, *, question: Question, answer: Answer, models: Models) -> Score:
        """The share of yes among votes, or the probability of yes. Without any vote that reads yes or no the score
        is 0.
        """
        if not answer.text.strip():
            return Score(0, {"votes": 0})
        messages = _conversation(question_text(question), answer.text[: self._config.longest_answer_characters])
        if self._config.vote is Vote.PROBABILITY:
            response = await models.complete(
                self._config.role, messages, max_tokens=1, temperature=0, logprobs=True, top_logprobs=5
            )
            probability = _probability_of_yes(response)
            return Score(permille(probability), {"yes": round(probability, 4)})
        response = await models.complete(
            self._config.role,
            messages,
            n=self._config.samples,
            max_tokens=4,
            temperature=self._config.temperature_permille / 1000,
        )
        votes = [vote for text in completions(response) if (vote := _vote(text)) is not None]
        share = sum(votes) / len(votes) if votes else 0.0
        return Score(permille(share), {"votes": len(votes), "yes": sum(votes)})


def _conversation(question: str, answer: str) -> list[dict[str, str]]:
    messages = [{"role": "system", "content": INSTRUCTION}]
    for asked, said, verdict in (*EXAMPLES, (question, answer, "")):
        messages.append({"role": "user", "content": f"Question: {asked}\nAnswer: {said}\nIs the answer right?"})
        if verdict:
            messages.append({"role": "assistant", "content": verdict})
    return messages


def _vote(text: str) -> bool | None:
    word = text.strip().lower()
    if word.startswith("yes"):
        return True
    return False if word.startswith("no") else None


def _probability_of_yes(response: Mapping[str, Any]) -> float:
    """Yes against no among the alternatives of the first token. Raises BadUpstream where the server gave none."""
    try:
        alternatives = response["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        weighed = [(_vote(str(entry["token"])), math.exp(float(entry["logprob"]))) for entry in alternatives]
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise BadUpstream("the model server gave no log-probabilities to a self-check") from error
    yes = math.fsum(weight for vote, weight in weighed if vote is True)
    no = math.fsum(weight for vote, weight in weighed if vote is False)
    return yes / (yes + no) if yes + no > 0 else 0.0
