"""Contract suites for scorers: what the gateway and `pilotfish calibrate` rely on.

A test module subclasses the suite of its scorer's protocol, in a class whose name starts with `Test`:

    class TestShortness(PromptScorerContract):
        plugin = ShortnessScorer
"""

import asyncio
import json
import math
import random
from typing import Generic, TypeVar

from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.scorers import (
    Answer,
    AnswerScorer,
    JudgeScorer,
    PromptScorer,
    Question,
    RunningScore,
    Score,
    TokenLogprobs,
)
from pilotfish.plugin_api.settings import FromSettings, Settings
from pilotfish.plugins.extension_points import SCORERS
from pilotfish.testing.models import StandInModels
from pilotfish.testing.settings import refused_field

ScorerT = TypeVar("ScorerT", bound=FromSettings)

SEED = 7
STREAMS = 50
QUESTIONS = (
    Question(({"role": "user", "content": "What is the capital of Australia?"},)),
    Question(({"role": "user", "content": ""},)),
    Question(({"role": "user", "content": None}, {"role": "tool", "content": "17", "tool_call_id": "a"})),
    Question(
        (
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [{"type": "text", "text": "Ein Bild: 鯨"}, {"type": "image_url"}]},
        ),
        max_tokens=1,
    ),
    Question(({"role": "user", "content": "word " * 20_000},)),
)


class _ScorerContract(Generic[ScorerT]):
    """What every scorer keeps. `plugin` is the class; `settings` are valid settings for it."""

    plugin: type[ScorerT]
    settings = Settings()

    def make(self) -> ScorerT:
        """A scorer to test."""
        return self.plugin.from_settings(self.settings)

    def models(self) -> Models:
        """The pools that the scorer asks."""
        return StandInModels()

    def test_the_class_implements_a_protocol(self) -> None:
        SCORERS.check(self.plugin)

    def test_an_unknown_field_of_config_is_refused_by_name(self) -> None:
        settings = Settings({**self.settings.config, "noSuchField": 1}, self.settings.artifact)
        assert refused_field(self.plugin, settings) == "config.noSuchField"

    def test_an_artifact_that_is_needed_is_refused_where_it_is_absent_or_broken(self) -> None:
        if self.settings.artifact is None:
            return
        for artifact in (None, b"", self.settings.artifact[: len(self.settings.artifact) // 2]):
            assert refused_field(self.plugin, Settings(self.settings.config, artifact)) == "artifact"


class PromptScorerContract(_ScorerContract[PromptScorer]):
    """What every PromptScorer keeps."""

    async def test_every_question_gets_permille_and_json_details(self) -> None:
        scorer = self.make()
        for question in QUESTIONS:
            check_score(await scorer.predict(question=question, models=self.models()))

    async def test_questions_at_the_same_time_do_not_change_scores(self) -> None:
        """One scorer serves all requests of a router."""
        scorer = self.make()
        alone = [await scorer.predict(question=question, models=self.models()) for question in QUESTIONS]
        together = [scorer.predict(question=question, models=self.models()) for question in (*QUESTIONS, *QUESTIONS)]
        assert await asyncio.gather(*together) == [*alone, *alone]


class JudgeScorerContract(_ScorerContract[JudgeScorer]):
    """What every JudgeScorer keeps."""

    async def test_every_answer_gets_permille_and_json_details(self) -> None:
        scorer = self.make()
        for question in QUESTIONS:
            for text in ("", "Canberra.", "鯨", "word " * 20_000):
                answer = Answer(text, tuple(_stream(random.Random(SEED), 5)))  # noqa: S311 - test data
                check_score(await scorer.judge(question=question, answer=answer, models=self.models()))


class AnswerScorerContract(_ScorerContract[AnswerScorer]):
    """What every AnswerScorer keeps, on random answers."""

    def test_no_tokens_score_zero(self) -> None:
        assert self.make().start().score().permille == 0

    def test_scores_do_not_depend_on_how_tokens_arrive(self) -> None:
        scorer = self.make()
        for stream in _streams():
            at_once, one_by_one = scorer.start(), scorer.start()
            at_once.add(stream)
            for token in stream:
                one_by_one.add([token])
            check_score(at_once.score())
            assert at_once.score() == one_by_one.score()

    def test_the_bounds_of_every_prefix_contain_the_final_score(self) -> None:
        scorer = self.make()
        for stream in _streams():
            running, bounds = scorer.start(), []
            for place, token in enumerate(stream):
                left = len(stream) - place
                bounds += [running.bounds(left), running.bounds(left + 3), running.bounds(None)]
                running.add([token])
            bounds.append(running.bounds(0))
            _check_within(running, [(each.low, each.high) for each in bounds])


def check_score(score: Score) -> None:
    """A score is a whole number from 0 to 1000, and its details are JSON."""
    assert isinstance(score.permille, int)
    assert 0 <= score.permille <= 1000
    json.dumps(dict(score.details), allow_nan=False)


def _check_within(running: RunningScore, bounds: list[tuple[int, int]]) -> None:
    final = running.score().permille
    wrong = [(low, high) for low, high in bounds if not 0 <= low <= final <= high <= 1000]
    assert not wrong, f"the final score {final} is outside of bounds {wrong[:3]}"


def _streams() -> list[list[TokenLogprobs]]:
    numbers = random.Random(SEED)  # noqa: S311 - test data
    return [_stream(numbers, numbers.randint(1, 40)) for _ in range(STREAMS)]


def _stream(numbers: random.Random, length: int) -> list[TokenLogprobs]:
    """Tokens with their alternatives, likeliest first; some are impossible, some certain."""
    tokens = []
    for _ in range(length):
        shares = [numbers.random() ** 4 for _ in range(numbers.randint(1, 5))]
        total = max(1.0, sum(shares))
        top = sorted((math.log(share / total) for share in shares), reverse=True)
        logprob = numbers.choice([*top, 0.0, -math.inf, -200.0])
        tokens.append(TokenLogprobs(logprob, tuple(top)))
    return tokens
