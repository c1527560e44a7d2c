import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pilotfish.base.errors import ConfigError
from pilotfish.plugin_api.scorers import AnswerScorer, Settings, TokenLogprobs
from pilotfish.routing.scorers.heads import LogisticHead
from pilotfish.routing.scorers.logprob import KIND, SIGNAL_NAMES, LogprobScorer, signals
from pilotfish.routing.scorers.support import write_artifact

CONFIGS = [
    {"statistic": "mean"},
    {"statistic": "mean", "scale": "odds"},
    {"statistic": "minimum"},
    {"statistic": "quantile", "permille": 0},
    {"statistic": "quantile", "permille": 100},
    {"statistic": "quantile", "permille": 1000},
    {"statistic": "entropy"},
    {"statistic": "margin"},
    {"statistic": "combination"},
]
HEAD = LogisticHead(SIGNAL_NAMES, (3.0, -1.0, 2.0, 0.5, -2.0, 1.5, -4.0), 0.25)


def make(config):
    artifact = write_artifact(KIND, HEAD.to_arrays()) if config["statistic"] == "combination" else None
    return LogprobScorer.from_settings(Settings(config, artifact))


@st.composite
def token(draw):
    shares = draw(st.lists(st.floats(0, 1), min_size=1, max_size=5))
    total = max(1.0, math.fsum(shares))
    top = tuple(
        sorted((math.log(share) - math.log(total) if share > 0 else -math.inf for share in shares), reverse=True)
    )
    return TokenLogprobs(draw(st.sampled_from(top)), top)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: "-".join(str(value) for value in config.values()))
@given(before=st.lists(token(), max_size=12), after=st.lists(token(), max_size=12), spare=st.integers(0, 5))
def test_bounds_of_a_prefix_hold_the_final_score(config, before, after, spare):
    running = make(config).start()
    running.add(before)
    known, unknown = running.bounds(len(after) + spare), running.bounds(None)
    running.add(after)
    final = running.score().permille
    assert 0 <= known.low <= final <= known.high <= 1000
    assert unknown.low <= final <= unknown.high


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: "-".join(str(value) for value in config.values()))
@given(tokens=st.lists(token(), min_size=1, max_size=12), cut=st.integers(0, 12))
def test_score_does_not_depend_on_how_tokens_are_cut(config, tokens, cut):
    at_once, in_parts = make(config).start(), make(config).start()
    at_once.add(tokens)
    in_parts.add(tokens[:cut])
    in_parts.add(tokens[cut:])
    assert at_once.score() == in_parts.score()
    score = at_once.score().permille
    bounds = at_once.bounds(0)
    assert bounds.low <= score <= bounds.high


def test_statistics_have_the_values_of_their_definitions():
    tokens = [TokenLogprobs(math.log(p), (math.log(p), math.log(1 - p))) for p in (0.9, 0.6, 0.8)]

    def score(**config):
        running = make(config).start()
        running.add(tokens)
        return running.score().permille

    entropies = [-(p * math.log(p) + (1 - p) * math.log(1 - p)) for p in (0.9, 0.6, 0.8)]
    assert score(statistic="mean") == round(1000 * (0.9 * 0.6 * 0.8) ** (1 / 3))
    assert score(statistic="minimum") == 600
    assert score(statistic="quantile", permille=500, scale="odds") == round(500 + 500 * math.log(4) / math.log(1e7 - 1))
    assert score(statistic="quantile", permille=500) == 800
    assert score(statistic="entropy") == round(1000 * math.exp(-sum(entropies) / 3))
    assert score(statistic="margin") == round(1000 * (0.8 + 0.2 + 0.6) / 3)
    assert score(statistic="combination") == round(1000 * HEAD.probability(signals(tokens)))


def test_an_impossible_token_is_not_the_end_of_a_mean():
    running = make({"statistic": "mean"}).start()
    running.add([TokenLogprobs(-math.inf), TokenLogprobs(math.nan)])
    running.add([TokenLogprobs(0.0)] * 9998)
    assert running.score().permille == round(1000 * math.exp(-0.02))


def test_odds_tell_apart_what_permille_of_a_probability_does_not():
    scores = []
    for doubt in (1e-3, 1e-4, 1e-5):
        running = make({"statistic": "mean", "scale": "odds"}).start()
        running.add([TokenLogprobs(math.log1p(-doubt))])
        scores.append(running.score().permille)
    assert scores[1] - scores[0] > 50
    assert scores[2] - scores[1] > 50


def test_only_statistics_that_look_at_alternatives_ask_for_them():
    asked = {config["statistic"]: make(config).top_logprobs > 0 for config in CONFIGS}
    assert asked == {
        "mean": False,
        "minimum": False,
        "quantile": False,
        "entropy": True,
        "margin": True,
        "combination": True,
    }
    assert isinstance(make(CONFIGS[0]), AnswerScorer)


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        (Settings({"statistic": "median"}), "config.statistic"),
        (Settings({"statistic": "quantile", "permille": 1001}), "config.permille"),
        (Settings({"statistic": "combination"}), "artifact"),
        (Settings({"statistic": "combination"}, b"PK not a zip"), "artifact"),
        (Settings({"statistic": "combination"}, write_artifact("linear", {})), "artifact"),
        (Settings({"statistic": "combination"}, write_artifact(KIND, {})), "artifact"),
    ],
)
def test_bad_settings_are_refused_by_field(settings, field):
    with pytest.raises(ConfigError) as fault:
        LogprobScorer.from_settings(settings)
    assert fault.value.field == field
