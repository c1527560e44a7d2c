"""The contract suites of `pilotfish.testing` fail for scorers with the mistakes that they are there for."""

import asyncio

import pytest

from pilotfish.api.common import Model
from pilotfish.plugin_api.scorers import Bounds, Score
from pilotfish.plugin_api.settings import Settings, read_config
from pilotfish.testing.scorers import AnswerScorerContract, PromptScorerContract


class Prompts:
    @classmethod
    def from_settings(cls, settings):
        read_config(Model, settings)
        return cls()

    async def predict(self, *, question, models):
        return Score(500)


class Shared(Prompts):
    """Keeps the question of one request on the scorer, which serves all requests."""

    async def predict(self, *, question, models):
        self.question = question
        await asyncio.sleep(0)
        return Score(min(1000, len(str(self.question.messages))))


class Fraction(Prompts):
    async def predict(self, *, question, models):
        return Score(0.5)


class Unread(Prompts):
    @classmethod
    def from_settings(cls, settings):
        return cls()


class Answers(Prompts):
    """The share of likely tokens. Its bounds ignore the tokens that follow."""

    top_logprobs = 0

    def start(self):
        return Running()


class Running:
    def __init__(self):
        self.likely = self.count = 0

    def add(self, tokens):
        self.likely += sum(token.logprob > -1 for token in tokens)
        self.count += len(tokens)

    def score(self):
        return Score(round(1000 * self.likely / self.count) if self.count else 0)

    def bounds(self, remaining):
        known = self.score().permille
        return Bounds(known, known)


def suite(contract, plugin):
    return type("Suite", (contract,), {"plugin": plugin, "settings": Settings()})()


async def test_a_correct_scorer_passes():
    prompts = suite(PromptScorerContract, Prompts)
    prompts.test_the_class_implements_a_protocol()
    prompts.test_an_unknown_field_of_config_is_refused_by_name()
    await prompts.test_every_question_gets_permille_and_json_details()
    await prompts.test_questions_at_the_same_time_do_not_change_scores()


async def test_a_scorer_that_shares_state_between_requests_fails():
    with pytest.raises(AssertionError):
        await suite(PromptScorerContract, Shared).test_questions_at_the_same_time_do_not_change_scores()


async def test_a_score_that_is_not_permille_fails():
    with pytest.raises(AssertionError):
        await suite(PromptScorerContract, Fraction).test_every_question_gets_permille_and_json_details()


def test_a_config_that_is_not_read_fails():
    with pytest.raises(AssertionError, match="accepted"):
        suite(PromptScorerContract, Unread).test_an_unknown_field_of_config_is_refused_by_name()


def test_bounds_that_later_tokens_leave_fail():
    with pytest.raises(AssertionError, match="outside of bounds"):
        suite(AnswerScorerContract, Answers).test_the_bounds_of_every_prefix_contain_the_final_score()
