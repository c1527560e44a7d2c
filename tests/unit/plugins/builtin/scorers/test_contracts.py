"""The built-in scorers keep the contracts that `pilotfish.testing` checks of everybody's."""

import numpy as np

from pilotfish.plugin_api.artifacts import write_artifact
from pilotfish.plugin_api.learning import Outcomes
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.builtin.scorers.agreement import AgreementScorer
from pilotfish.plugins.builtin.scorers.combined import CombinedScorer
from pilotfish.plugins.builtin.scorers.heads import LogisticHead
from pilotfish.plugins.builtin.scorers.linear import LinearScorer
from pilotfish.plugins.builtin.scorers.linear_training import train_linear
from pilotfish.plugins.builtin.scorers.logprob import SIGNAL_NAMES, LogprobScorer
from pilotfish.plugins.builtin.scorers.selfcheck import SelfCheckScorer
from pilotfish.plugins.builtin.scorers.verifier import VerifierScorer
from pilotfish.testing.scorers import AnswerScorerContract, JudgeScorerContract, PromptScorerContract

PROMPTS = [f"What is the {'sum' if place % 2 else 'capital'} of {place}?" for place in range(60)]
GOOD = np.array([float(place % 2 == 0 or place % 5 == 0) for place in range(60)])


def head(kind, names):
    weights = tuple(3.0 - place for place in range(len(names)))
    return write_artifact(kind, LogisticHead(tuple(names), weights, 0.25).to_arrays())


class TestLinear(PromptScorerContract):
    plugin = LinearScorer
    settings = Settings(artifact=train_linear(PROMPTS, Outcomes(GOOD, np.ones(60))).model.to_bytes())


class TestAgreement(JudgeScorerContract):
    plugin = AgreementScorer


class TestSelfCheck(JudgeScorerContract):
    plugin = SelfCheckScorer


class TestSelfCheckByProbability(JudgeScorerContract):
    plugin = SelfCheckScorer
    settings = Settings({"vote": "probability"})


class TestVerifier(JudgeScorerContract):
    plugin = VerifierScorer


class TestCombined(JudgeScorerContract):
    plugin = CombinedScorer
    settings = Settings(
        {"members": [{"name": "logprob"}, {"name": "self-check"}]}, head("combined", ("0-logprob", "1-self-check"))
    )


class TestLogprobMean(AnswerScorerContract):
    plugin = LogprobScorer


class TestLogprobQuantile(AnswerScorerContract):
    plugin = LogprobScorer
    settings = Settings({"statistic": "quantile", "permille": 100})


class TestLogprobEntropy(AnswerScorerContract):
    plugin = LogprobScorer
    settings = Settings({"statistic": "entropy"})


class TestLogprobMargin(AnswerScorerContract):
    plugin = LogprobScorer
    settings = Settings({"statistic": "margin"})


class TestLogprobCombination(AnswerScorerContract):
    plugin = LogprobScorer
    settings = Settings({"statistic": "combination"}, head("logprob", SIGNAL_NAMES))
