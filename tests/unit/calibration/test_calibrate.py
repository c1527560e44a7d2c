import numpy as np
import orjson
import pytest
import yaml
from tests.unit.calibration.conftest import make_log
from typer.testing import CliRunner

from pilotfish.base.errors import ConfigError
from pilotfish.calibration.calibrate import calibrate
from pilotfish.calibration.evaluate import evaluate
from pilotfish.calibration.learning import train
from pilotfish.calibration.log import RecordedRequest, RecordedStage, write_jsonl
from pilotfish.calibration.manifest import rewrite, to_yaml
from pilotfish.calibration.replay import estimate, replay
from pilotfish.calibration.statistics.choose import Goal, GoalType, Recommendation, choose
from pilotfish.calibration.statistics.diagnose import WarningCode
from pilotfish.calibration.statistics.table import simulate
from pilotfish.cli.main import application
from pilotfish.manifests import load
from pilotfish.plugin_api.artifacts import read_artifact, write_artifact
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.builtin.scorers.logprob import LogprobScorer
from pilotfish.plugins.registry import Registry
from pilotfish.routing.threshold_control import NEVER, ThresholdRange

GOAL = Goal(GoalType.QUALITY_LOSS, 0.05, 0.9)
REGISTRY = Registry.installed()


@pytest.mark.parametrize("name", ["assistant", "combination", "picker"])
def test_a_score_with_signal_saves_within_the_promise(log, routers, name):
    found = calibrate(log, routers[name], GOAL, REGISTRY, artifacts={})
    assert found.choice.recommendation is Recommendation.ROUTE
    fresh = make_log(1500, seed=99)
    router = routers[name]
    document = router.to_manifest()
    strategy = document["spec"]["strategy"]
    if "cascade" in strategy:
        strategy["cascade"]["stages"][0]["accept"]["thresholdPermille"] = found.choice.thresholds[0]
    else:
        strategy["predictive"]["candidates"][0]["thresholdPermille"] = found.choice.thresholds[0]
    told = replay(fresh, type(router).model_validate(document), REGISTRY, found.artifacts)
    alone = replay(fresh, routers["plain"], REGISTRY, {})
    assert alone.quality[0] - told.quality[0] < 0.05
    assert told.cost[0] < 0.8 * alone.cost[0]


def test_thresholds_of_a_prefix_are_calibrated_on_prefixes_and_carry_boundaries(log, routers):
    found = calibrate(log, routers["assistant"], GOAL, REGISTRY, artifacts={})
    scorer = LogprobScorer.from_settings(Settings({"statistic": "mean"}, found.artifacts[0]))
    assert scorer.boundaries.threshold == found.choice.thresholds[0]
    running = scorer.start()
    running.add(log[0].stages[0].tokens(48))
    assert found.evaluated.table.scores[0, 0] == running.score().permille
    assert found.stopping[0].mean_tokens < found.stopping[0].mean_tokens_without


def test_thresholds_keep_what_boundaries_leave_of_the_promise(log, routers):
    """Of 5% with 90%, boundaries may change one in a hundred verdicts, and may fail in half of the failures allowed."""
    whole, short = (
        calibrate(entries, routers["assistant"], GOAL, REGISTRY, artifacts={}) for entries in (log, log[:500])
    )
    left = Goal(GoalType.QUALITY_LOSS, 0.04, 0.95)
    assert whole.stopping[0].promised_error == pytest.approx(0.01)
    assert whole.choice.thresholds == choose(whole.evaluated.table, left).thresholds
    assert whole.choice.thresholds > choose(whole.evaluated.table, GOAL).thresholds
    assert not short.stopping
    assert short.choice.thresholds == choose(short.evaluated.table, GOAL).thresholds


def sure_log(count, seed=0):
    """A small model that gives nearly every token more than 0.999, and is right where it doubts least."""
    random = np.random.default_rng(seed)
    doubts = 10 ** random.uniform(-6, -3.3, count)
    entries = []
    for number, doubt in enumerate(doubts):
        right = random.random() < (0.99 if doubt < 3e-5 else 0.5)
        logprobs = tuple(np.log1p(-doubt * random.uniform(0.5, 1.5, 20)).tolist())
        small = RecordedStage(pool="small", logprobs=logprobs, quality=float(right), cost=0.001)
        large = RecordedStage(pool="large", quality=float(random.random() < 0.98), cost=0.02)
        entries.append(RecordedRequest(id=str(number), prompt=f"number {number}", stages=(small, large)))
    return entries


def with_config(router, config):
    document = router.to_manifest()
    document["spec"]["strategy"]["cascade"]["stages"][0]["accept"]["scorer"]["config"] = config
    return type(router).model_validate(document)


def test_a_model_that_is_sure_of_everything_ties_on_probability_and_not_on_the_default(tmp_path, routers):
    entries = sure_log(1000)
    by_default, by_probability = (
        calibrate(entries, with_config(routers["assistant"], config), GOAL, REGISTRY, artifacts={})
        for config in ({}, {"scale": "probability"})
    )
    assert by_probability.choice.recommendation is Recommendation.LARGE_ALONE
    assert WarningCode.TIES in {warning.code for warning in by_probability.choice.warnings}
    assert by_default.choice.recommendation is Recommendation.ROUTE
    assert not by_default.choice.warnings
    document = yaml.safe_load(to_yaml(rewrite(by_default, tmp_path)).split("---")[0])
    accept = document["spec"]["strategy"]["cascade"]["stages"][0]["accept"]
    assert (accept["thresholdPermille"], accept["scorer"]["config"]) == (
        *by_default.choice.thresholds,
        {"scale": "odds"},
    )


def test_an_artifact_made_before_odds_became_the_default_is_calibrated_on_as_it_was(tmp_path, log, routers):
    before = calibrate(log, routers["assistant"], GOAL, REGISTRY, artifacts={})
    arrays = read_artifact(Settings({}, before.artifacts[0]), "logprob")
    old = write_artifact("logprob", {name: array for name, array in arrays.items() if name != "scale"})
    unnamed = with_config(routers["assistant"], {"statistic": "mean"})
    again = calibrate(log, unnamed, GOAL, REGISTRY, artifacts={0: old})
    assert again.choice == before.choice
    assert "scale: probability" in to_yaml(rewrite(again, tmp_path))
    anew = calibrate(log, unnamed, GOAL, REGISTRY, artifacts={})
    assert anew.choice.thresholds != before.choice.thresholds
    assert replay(log, unnamed, REGISTRY, anew.artifacts) == replay(log, unnamed, REGISTRY, {})


def test_an_answer_that_an_early_exit_rejects_costs_no_more_than_was_made_of_it(log, routers):
    """Of 20 tokens asked with and 60 answered, 48 are judged."""
    told = {"input_tokens": 20, "output_tokens": 60}
    small, large = log[0].stages[0].model_copy(update=told), log[0].stages[1]
    entry = log[0].model_copy(update={"stages": (small, large)})
    for name, share in (("assistant", 68 / 80), ("checked", 1.0)):
        table = evaluate([entry], routers[name], REGISTRY, {}).table
        assert simulate(table, (1000,)).cost[0] == pytest.approx(0.001 * share + 0.02)
        assert simulate(table, (1000,)).seconds[0] == pytest.approx(0.5 * share + 3.0)
        assert simulate(table, (0,)).cost[0] == 0.001


def test_an_objective_gets_the_range_that_the_promise_leaves(log, routers):
    document = routers["assistant"].to_manifest()
    document["spec"]["objective"] = {"type": "Spend", "spend": {"currency": "EUR", "perHour": "1.0"}}
    router = type(routers["assistant"]).model_validate(document)
    found = calibrate(log, router, GOAL, REGISTRY, artifacts={})
    arrays = read_artifact(Settings({}, found.artifacts[0]), "logprob")
    left = ThresholdRange.from_arrays(arrays)
    assert left.limits.start == found.choice.thresholds[0] >= left.limits.least > 0
    assert left.loss == GOAL.limit
    share = float((found.evaluated.table.scores[:, 0] < left.limits.start).mean())
    assert abs(left.scores.escalated(left.limits.start) - share) < 0.01
    with pytest.raises(ConfigError, match="without an objective"):
        ThresholdRange.from_arrays({})


def test_a_self_check_that_is_noise_is_told_and_not_deployed(log, routers):
    found = calibrate(log, routers["checked"], GOAL, REGISTRY, artifacts={})
    assert found.choice.recommendation is Recommendation.LARGE_ALONE
    assert WarningCode.NO_SIGNAL in {warning.code for warning in found.choice.warnings}


def test_scores_that_moved_since_the_log_are_told(log, routers):
    tired = [
        entry.model_copy(
            update={
                "stages": (
                    entry.stages[0].model_copy(
                        update={"logprobs": tuple(value - 0.5 for value in entry.stages[0].logprobs)}
                    ),
                    entry.stages[1],
                )
            }
        )
        for entry in make_log(200, seed=3)
    ]
    findings = [
        {
            warning.code
            for warning in calibrate(log, routers["assistant"], GOAL, REGISTRY, artifacts={}, today=now).warnings
        }
        for now in (make_log(200, seed=3), tired)
    ]
    assert [WarningCode.SHIFT in found for found in findings] == [False, True]


def test_a_log_without_what_the_scorer_needs_is_refused(log, routers):
    bare = [
        entry.model_copy(
            update={"stages": (entry.stages[0].model_copy(update={"logprobs": None, "scores": {}}), entry.stages[1])}
        )
        for entry in log[:50]
    ]
    for name, said in (("assistant", "lacks logprobs"), ("checked", r"lacks scores\.self-check")):
        with pytest.raises(ConfigError, match=said):
            calibrate(bare, routers[name], GOAL, REGISTRY, artifacts={})


def test_a_log_without_costs_is_refused(log, routers):
    free = [
        log[0].model_copy(update={"stages": (log[0].stages[0].model_copy(update={"cost": None}), log[0].stages[1])})
    ]
    with pytest.raises(ConfigError, match=r"'small' has no cost in 1 of 50 requests: set spec\.pricing"):
        calibrate([*log[1:50], *free], routers["assistant"], GOAL, REGISTRY, artifacts={})


def test_calibrated_again_thresholds_rest_on_no_request_that_taught_the_scorer(log, routers):
    first = calibrate(log, routers["picker"], GOAL, REGISTRY, artifacts={})
    again = calibrate(log, routers["picker"], GOAL, REGISTRY, artifacts=first.artifacts)
    assert again.choice == first.choice
    assert again.evaluated.ids == first.evaluated.ids
    assert [warning.code for warning in again.warnings] == [WarningCode.LEARNED_FROM]
    anew = calibrate(log, routers["picker"], GOAL, REGISTRY, artifacts=first.artifacts, relearn=True)
    assert (anew.learned_from, anew.warnings, anew.artifacts) == (500, (), first.artifacts)
    lessons = [entry for entry in log if entry.id not in first.evaluated.ids]
    with pytest.raises(ConfigError, match="--relearn"):
        calibrate(lessons, routers["picker"], GOAL, REGISTRY, artifacts=first.artifacts)
    others = [entry.model_copy(update={"prompt": "Something else"}) for entry in lessons]
    assert not calibrate(others, routers["picker"], GOAL, REGISTRY, artifacts=first.artifacts).warnings


def test_vectors_of_two_lengths_are_told_by_the_request(log, routers):
    document = routers["picker"].to_manifest()
    scorer = {"name": "embedding", "poolRefs": [{"role": "embedder", "name": "vectors"}]}
    document["spec"]["strategy"]["predictive"]["scorer"] = scorer
    entries = [entry.model_copy(update={"vector": (1.0,) * (3 if entry.id == "7" else 2)}) for entry in log[:50]]
    with pytest.raises(ConfigError, match="request '7' has a vector of 3 numbers, and '0' one of 2"):
        train(entries, type(routers["picker"]).model_validate(document), REGISTRY, 0)


def test_off_policy_estimates_agree_with_the_whole_log(log, routers):
    random = np.random.default_rng(0)
    partial = []
    for entry in log:
        escalate = random.random() < 0.5
        stages = entry.stages if escalate else entry.stages[:1]
        action = "large" if escalate else "small"
        partial.append(entry.model_copy(update={"stages": stages, "action": action, "propensity": 0.5}))
    truth = replay(log, routers["assistant"], REGISTRY, {}).quality[0]
    for found in estimate(partial, routers["assistant"], REGISTRY, {}):
        assert found.low < truth < found.high
        assert found.high - found.low < 0.3
        assert 300 < found.effective_requests < 700


def test_a_weighted_router_is_the_mean_of_its_pools(log, routers):
    told = replay(log, routers["canary"], REGISTRY, {})
    assert told.cost[0] == pytest.approx(1000 * (0.25 * 0.001 + 0.75 * 0.02))


def run(*arguments):
    return CliRunner().invoke(application(["calibrate", "replay"]), [str(argument) for argument in arguments])


@pytest.mark.timeout(180)
def test_the_command_writes_a_manifest_that_loads_and_holds_its_promise(tmp_path, log, manifests):
    write_jsonl(tmp_path / "log.jsonl", log)
    out = tmp_path / "out"
    options = ("--max-quality-loss", "5%", "--confidence", "90%", "--out", out)
    result = run("calibrate", tmp_path / "log.jsonl", manifests, "--router", "picker", *options)
    assert result.exit_code == 0, result.output
    assert "Accept from" in result.output
    loaded = load([out / "router.yaml"])
    assert not loaded.problems
    assert [document["kind"] for document in yaml.safe_load_all((out / "router.yaml").read_text())] == [
        "ModelRouter",
        "ConfigMap",
    ]
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    assert "<img" in (out / "report.html").read_text()
    replayed = run("replay", tmp_path / "log.jsonl", out / "router.yaml", "--json")
    assert replayed.exit_code == 0, replayed.output
    told = orjson.loads(replayed.stdout)[0]
    assert (told["requests"], told["learned_from"]) == (500, 500)
    assert 0 < told["escalated"] < 1
    shown = run("replay", tmp_path / "log.jsonl", out / "router.yaml")
    assert (
        f"router 'picker' of {out / 'router.yaml'}: 500 requests were left out because its scorer learned from them"
        in shown.output
    )


def test_do_not_cascade_makes_the_manifest_direct(tmp_path, log, manifests):
    write_jsonl(tmp_path / "log.jsonl", log)
    options = ("--router", "checked", "--max-quality-loss", "2%", "--out", tmp_path)
    result = run("calibrate", tmp_path / "log.jsonl", manifests, *options)
    assert result.exit_code == 0, result.output
    assert "do not cascade" in result.output
    document = yaml.safe_load((tmp_path / "router.yaml").read_text())
    assert document["spec"]["strategy"] == {"type": "Direct", "direct": {"poolRef": {"name": "large"}}}


def test_a_budget_that_no_score_helps_to_spend_makes_the_manifest_weighted(tmp_path, log, manifests):
    write_jsonl(tmp_path / "log.jsonl", log)
    quality = sum(0.3 * small.quality + 0.7 * large.quality for small, large in (each.stages for each in log)) / len(
        log
    )
    options = ("--router", "checked", "--max-large-share", "70%", "--out", tmp_path)
    result = run("calibrate", tmp_path / "log.jsonl", manifests, *options)
    assert result.exit_code == 0, result.output
    assert "Send 70.0% of the requests to large at random" in result.output
    assert f"at random: quality {quality:.3f}, {1000 * (0.3 * 0.001 + 0.7 * 0.02):.4g} per 1,000" in result.output
    loaded = load([tmp_path / "router.yaml"])
    assert not loaded.problems
    weights = {pool.pool_ref.name: pool.weight for pool in loaded.resources[0].spec.strategy.weighted.pools}
    assert weights == {"small": 300, "large": 700}


def test_exploration_goes_with_the_thresholds(tmp_path, log, routers):
    document = routers["checked"].to_manifest()
    document["spec"]["exploration"] = {"permille": 10}
    found = calibrate(log, type(routers["checked"]).model_validate(document), GOAL, REGISTRY, artifacts={})
    assert found.choice.recommendation is Recommendation.LARGE_ALONE
    (tmp_path / "router.yaml").write_text(to_yaml(rewrite(found, tmp_path)))
    assert not load([tmp_path / "router.yaml"]).problems


def test_a_candidate_that_is_never_picked_is_left_out_of_the_manifest(tmp_path, log, routers):
    """A third pool that is expensive and always wrong."""
    document = routers["picker"].to_manifest()
    candidates = document["spec"]["strategy"]["predictive"]["candidates"]
    candidates.insert(1, {"poolRef": {"name": "useless"}, "thresholdPermille": 500})
    useless = RecordedStage(pool="useless", answer="c", quality=0.0, cost=0.5, seconds=1.0)
    entries = [entry.model_copy(update={"stages": (*entry.stages, useless)}) for entry in log]
    router = type(routers["picker"]).model_validate(document)
    found = calibrate(entries, router, Goal(GoalType.QUALITY_LOSS, 0.1, 0.9), REGISTRY, artifacts={})
    assert found.choice.recommendation is Recommendation.ROUTE
    assert NEVER in found.choice.thresholds
    (tmp_path / "router.yaml").write_text(to_yaml(rewrite(found, tmp_path)))
    loaded = load([tmp_path / "router.yaml"])
    assert not loaded.problems
    assert loaded.resources[0].strategy_pools == ("small", "large")


def test_a_stage_that_never_accepts_leaves_no_artifact_and_others_are_named_by_their_pool(tmp_path, log, routers):
    """A first pool that is hardly cheaper and always wrong."""
    document = routers["assistant"].to_manifest()
    stages = document["spec"]["strategy"]["cascade"]["stages"]
    stages.insert(0, {**stages[0], "poolRef": {"name": "useless"}})
    useless = log[0].stages[0].model_copy(update={"pool": "useless", "quality": 0.0, "cost": 0.0009})
    entries = [entry.model_copy(update={"stages": (*entry.stages, useless)}) for entry in log]
    router = type(routers["assistant"]).model_validate(document)
    found = calibrate(entries, router, Goal(GoalType.QUALITY_LOSS, 0.2, 0.9), REGISTRY, artifacts={})
    assert found.choice.thresholds[0] == NEVER
    assert set(found.stopping) == {1}
    (tmp_path / "router.yaml").write_text(to_yaml(rewrite(found, tmp_path)))
    loaded = load([tmp_path / "router.yaml"])
    assert not loaded.problems
    assert [key.name for key in loaded.config_maps] == ["assistant-scorer-small"]
    (scorer,) = loaded.resources[0].scorers
    assert scorer.artifact.config_map_ref.name == "assistant-scorer-small"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "exactly one"),
        (("--max-quality-loss", "2%", "--max-spend", "3"), "exactly one"),
        (("--max-quality-loss", "two"), "not a share"),
        (("--max-quality-loss", "200%"), "not between"),
        (("--max-quality-loss", "2%", "--confidence", "50%"), "--confidence: '50%' is not more than 50%"),
        (("--max-spend", "3", "--in-expectation"), "needs --max-quality-loss"),
        (("--max-quality-loss", "2%"), "--router"),
    ],
)
def test_options_that_do_not_fit_are_named(tmp_path, log, manifests, options, said):
    write_jsonl(tmp_path / "log.jsonl", log[:3])
    result = run("calibrate", tmp_path / "log.jsonl", manifests, *options)
    assert result.exit_code == 1
    assert said in result.output


def test_the_plugins_of_the_log_are_named_in_the_manifest(tmp_path, log, routers):
    recorded = [entry.model_copy(update={"plugins": "abc"}) for entry in log]
    with_plugins = {**routers["assistant"].to_manifest()}
    with_plugins["spec"] = {**with_plugins["spec"], "plugins": [{"pluginRef": {"name": "handbook"}}]}
    router = type(routers["assistant"]).model_validate(with_plugins)
    for entries, calibrated, warned in (
        (recorded, "abc", False),
        (log, "none", True),
        ([*recorded[: len(log) // 2], *log[len(log) // 2 :]], "none", True),
    ):
        found = calibrate(entries, router, GOAL, REGISTRY, artifacts={})
        assert (WarningCode.PLUGINS in {warning.code for warning in found.warnings}) is warned
        document = rewrite(found, tmp_path).documents[0]
        assert document["metadata"]["annotations"] == {"pilotfish.dev/calibrated-with-plugins": calibrated}
    without = rewrite(calibrate(log, routers["assistant"], GOAL, REGISTRY, artifacts={}), tmp_path)
    assert "annotations" not in without.documents[0]["metadata"]
