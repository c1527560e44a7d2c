import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.base.errors import BadUpstream, ConfigError
from pilotfish.plugin_api.artifacts import write_artifact
from pilotfish.plugin_api.scorers import Answer, JudgeScorer, Question, TokenLogprobs
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.builtin.scorers.agreement import AgreementScorer, certainty
from pilotfish.plugins.builtin.scorers.answers import Compare, clusters_of_forms, clusters_of_vectors, normal_form
from pilotfish.plugins.builtin.scorers.combined import KIND, CombinedScorer
from pilotfish.plugins.builtin.scorers.heads import LogisticHead
from pilotfish.plugins.builtin.scorers.selfcheck import SelfCheckScorer
from pilotfish.plugins.builtin.scorers.verifier import VerifierScorer

QUESTION = Question(({"role": "user", "content": "What is 6 times 7?"},))
ANSWER = Answer("6 times 7 is 42.", (TokenLogprobs(math.log(0.5)),))


class Scripted:
    """Pools that answer by a script, and remember what they were asked."""

    def __init__(self, texts=(), vectors=(), relevance=(), logprobs=None):
        self.texts, self.vectors, self.relevance, self.logprobs = list(texts), vectors, relevance, logprobs
        self.asked = []

    async def complete(self, role, messages, **parameters):
        self.asked.append((role, messages, parameters))
        said, self.texts = self.texts[: parameters.get("n", 1)], self.texts[parameters.get("n", 1) :]
        choices = [{"message": {"content": text}} for text in said]
        if self.logprobs is not None:
            top = [{"token": token, "logprob": logprob} for token, logprob in self.logprobs]
            choices = [{"message": {"content": top[0]["token"]}, "logprobs": {"content": [{"top_logprobs": top}]}}]
        return {"choices": choices}

    async def embed(self, role, texts):
        self.asked.append((role, texts, {}))
        return self.vectors

    async def score(self, role, query, texts):
        self.asked.append((role, (query, *texts), {}))
        return self.relevance


async def judged(scorer, config, models, artifact=None):
    made = scorer.from_settings(Settings(config, artifact))
    assert isinstance(made, JudgeScorer)
    return await made.judge(question=QUESTION, answer=ANSWER, models=models)


async def test_self_check_is_the_share_of_yes_among_votes_that_can_be_read():
    models = Scripted(["Yes", " yes, it is", "No.", "Hm", "YES"])
    score = await judged(SelfCheckScorer, {"samples": 5}, models)
    assert (score.permille, score.details["votes"]) == (750, 4)
    ((role, messages, parameters),) = models.asked
    assert (role, parameters["n"]) == ("self", 5)
    assert "What is 6 times 7?" in messages[-1]["content"]
    assert "6 times 7 is 42." in messages[-1]["content"]


async def test_self_check_by_probability_weighs_yes_against_no():
    models = Scripted(logprobs=[("Yes", math.log(0.6)), ("No", math.log(0.15)), (" yes", math.log(0.05)), ("A", -9.0)])
    assert (await judged(SelfCheckScorer, {"vote": "probability"}, models)).permille == round(1000 * 0.65 / 0.8)


async def test_self_check_without_logprobs_says_whose_fault_it_is():
    with pytest.raises(BadUpstream, match="log-probabilities"):
        await judged(SelfCheckScorer, {"vote": "probability"}, Scripted(["Yes"]))


async def test_agreement_counts_samples_that_say_the_same_number():
    models = Scripted(["It is 42.0", "43", "42", "I do not know"])
    score = await judged(AgreementScorer, {"compare": "number", "samples": 4}, models)
    assert (score.permille, score.details["meanings"]) == (500, 3)


async def test_agreement_asks_half_of_the_samples_in_the_other_way():
    models = Scripted(["42", "42", "42"])
    config = {"compare": "number", "samples": 3, "otherInstruction": "Write a program."}
    assert (await judged(AgreementScorer, config, models)).permille == 1000
    assert [(len(messages), parameters["n"]) for _, messages, parameters in models.asked] == [(2, 2), (1, 1)]


async def test_agreement_by_vectors_measures_the_entropy_of_meanings():
    models = Scripted(["a", "b", "c"], vectors=[[1, 0], [0.99, 0.05], [0, 1], [0.02, 1]])
    config = {"samples": 3, "embedRole": "embedder", "measure": "entropy"}
    assert (await judged(AgreementScorer, config, models)).permille == 500


@pytest.mark.parametrize(("config", "permille"), [({}, 800), ({"scale": "logit"}, 690)])
async def test_verifier_reads_its_pool_as_probability_or_logit(config, permille):
    assert (await judged(VerifierScorer, config, Scripted(relevance=[0.8]))).permille == permille


@pytest.mark.parametrize("relevance", [[], [math.nan]])
async def test_verifier_without_a_number_fails(relevance):
    with pytest.raises(BadUpstream, match="verifier"):
        await judged(VerifierScorer, {}, Scripted(relevance=relevance))


async def test_combined_joins_its_members_by_the_head():
    head = LogisticHead(("0-logprob", "1-verifier"), (2.0, 4.0), -1.0)
    config = {"members": [{"name": "logprob"}, {"name": "verifier"}]}
    artifact = write_artifact(KIND, head.to_arrays())
    score = await judged(CombinedScorer, config, Scripted(relevance=[0.25]), artifact)
    assert score.permille == round(1000 / (1 + math.exp(-(2 * 0.5 + 4 * 0.25 - 1))))
    assert CombinedScorer.from_settings(Settings(config, artifact)).top_logprobs == 0


@pytest.mark.parametrize(
    ("members", "field"),
    [
        ([{"name": "logprob"}, {"name": "oracle"}], "config.members.1.name"),
        (
            [{"name": "logprob", "config": {"statistic": "x"}}, {"name": "verifier"}],
            "config.members.0.config.statistic",
        ),
        ([{"name": "verifier"}, {"name": "verifier"}], "config.members"),
        ([{"name": "verifier"}, {"name": "logprob"}], "artifact"),
    ],
)
def test_combined_names_the_faulty_member(members, field):
    names = tuple(f"{place}-{name}" for place, name in enumerate(("logprob", members[1]["name"])))
    artifact = write_artifact(KIND, LogisticHead(names, (1.0, 1.0), 0.0).to_arrays())
    with pytest.raises(ConfigError) as fault:
        CombinedScorer.from_settings(Settings({"members": members}, artifact))
    assert fault.value.field == field


@given(number=st.decimals(-(10**9), 10**9, places=3), zeros=st.integers(0, 3))
def test_a_number_has_one_normal_form_however_it_is_written(number, zeros):
    forms = {normal_form(f"so it is {text}", Compare.NUMBER) for text in (f"{number:f}", f"{number:,f}" + "0" * zeros)}
    assert len(forms) == 1


def test_normal_forms_drop_what_does_not_matter():
    assert normal_form("The answer: Paris!", Compare.TEXT) == normal_form("answer  paris", Compare.TEXT)
    assert normal_form("thinking\nB\n", Compare.CHOICE) == "B"
    assert normal_form("first\n\nlast line.\n", Compare.LINE) == "last line"
    assert normal_form("none at all", Compare.NUMBER) == ""


def test_answers_with_nothing_to_compare_agree_with_nobody():
    assert clusters_of_forms(["", "", "x", "x"]) == [0, 1, 2, 2]


@given(st.lists(st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=1, max_size=8), st.floats(0.5, 1))
def test_certainty_is_between_nothing_and_one(vectors, cosine):
    clusters = clusters_of_vectors(vectors, cosine)
    assert -1e-9 <= certainty(clusters) <= 1
    assert certainty([0] * len(clusters)) == 1
    assert np.array_equal(np.unique(clusters), np.arange(max(clusters) + 1))
