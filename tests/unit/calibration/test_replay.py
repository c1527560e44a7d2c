"""What other routers would have done: side by side on whole logs, and estimated from logs of single answers."""

import hashlib

import numpy as np
import orjson
import pytest
import yaml
from tests.unit.calibration.conftest import make_log
from typer.testing import CliRunner

from pilotfish.api.strategy import Scorer
from pilotfish.base.errors import ConfigError
from pilotfish.calibration.evaluate import score_all
from pilotfish.calibration.judges import judges_of
from pilotfish.calibration.learning import train
from pilotfish.calibration.log import RecordedStage, write_jsonl
from pilotfish.calibration.replay import estimate, replay
from pilotfish.calibration.scores import asked_of, holds
from pilotfish.cli.main import application
from pilotfish.plugin_api.artifacts import write_artifact
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.builtin.scorers.combined import CombinedScorer
from pilotfish.plugins.builtin.scorers.heads import LogisticHead
from pilotfish.plugins.builtin.scorers.logprob import scale_arrays
from pilotfish.plugins.registry import Registry
from pilotfish.plugins.score_digests import digest_of, in_force
from pilotfish.reconcile.kinds import parse_resource

REGISTRY = Registry.installed()


@pytest.fixture(scope="module")
def log():
    return make_log(400)


def with_threshold(router, permille):
    document = router.to_manifest()
    document["spec"]["strategy"]["cascade"]["stages"][0]["accept"]["thresholdPermille"] = permille
    return type(router).model_validate(document)


def served(entries, router, exploration=0.0):
    """The log that a gateway would have written: one answer a request, as the router decided and explored."""
    random = np.random.default_rng(5)
    threshold = router.spec.strategy.cascade.stages[0].accept.threshold_permille
    rows = []
    for entry, score in zip(entries, score_all(entries, router, REGISTRY, {})[:, 0], strict=True):
        accepted = score >= threshold
        explored = bool(accepted and random.random() < exploration)
        odds = (exploration if explored else 1 - exploration) if accepted else 1.0
        action = "large" if explored or not accepted else "small"
        stages = entry.stages if action == "large" else entry.stages[:1]
        rows.append(entry.model_copy(update={"stages": stages, "action": action, "propensity": odds}))
    return rows


def test_an_estimate_is_refused_where_the_log_never_took_what_the_router_would(log, routers):
    router = routers["assistant"]
    plain, explored = served(log, router), served(log, router, exploration=0.2)
    for lacking, other in (
        (plain, with_threshold(router, 800)),
        (plain, with_threshold(router, 500)),
        (plain, routers["plain"]),
        (explored, with_threshold(router, 500)),
    ):
        with pytest.raises(ConfigError, match=r"spec\.exploration"):
            estimate(lacking, other, REGISTRY, {})
    for supported, same in ((plain, router), (explored, with_threshold(router, 800)), (explored, routers["plain"])):
        truth = replay(log, same, REGISTRY, {}).quality[0]
        for found in estimate(supported, same, REGISTRY, {}):
            assert found.unsupported == 0
            assert found.low < truth < found.high


@pytest.mark.parametrize("name", ["plain", "canary", "assistant"])
def test_any_router_is_estimated_from_a_log_of_a_coin(log, routers, name):
    rows = []
    for entry, heads in zip(log, np.random.default_rng(0).permutation(len(log)) % 2, strict=True):
        action = "large" if heads else "small"
        stages = entry.stages if action == "large" else entry.stages[:1]
        rows.append(entry.model_copy(update={"stages": stages, "action": action, "propensity": 0.5}))
    truth = replay(log, routers[name], REGISTRY, {}).quality[0]
    found = estimate(rows, routers[name], REGISTRY, {})
    assert len(found) == 3
    for one in found:
        assert one.low < truth < one.high < one.low + 0.3


def test_a_stage_that_was_not_asked_is_not_taken_for_one_that_scored_nothing(routers):
    router = routers["assistant"]
    rows = [
        entry.model_copy(update={"stages": entry.stages[1:], "action": "large", "propensity": 0.5})
        for entry in make_log(60)
    ]
    with pytest.raises(ConfigError, match="100% of 60 requests"):
        estimate(rows, router, REGISTRY, {})


def router_of(stages):
    text = f"""
apiVersion: pilotfish.dev/v1alpha1
kind: ModelRouter
metadata: {{name: another}}
spec: {{strategy: {{type: Cascade, cascade: {{streaming: Hold, stages: [{stages}, {{poolRef: {{name: large}}}}]}}}}}}
"""
    router, faults = parse_resource(yaml.safe_load(text))
    assert router is not None, faults
    return router


def test_doubly_robust_needs_to_know_where_every_request_would_go(log):
    scorer = "{name: logprob, config: {scale: probability}}"
    small = f"{{poolRef: {{name: small}}, accept: {{scorer: {scorer}, thresholdPermille: 800}}}}"
    middle = f"{{poolRef: {{name: middle}}, accept: {{scorer: {scorer}, thresholdPermille: %d}}}}"
    rows = [
        entry.model_copy(update={"stages": entry.stages[:1], "action": "small", "propensity": 0.9})
        if place % 10
        else entry.model_copy(
            update={
                "stages": (entry.stages[0], entry.stages[0].model_copy(update={"pool": "middle"})),
                "action": "middle",
                "propensity": 0.1,
            }
        )
        for place, entry in enumerate(log)
    ]
    found = [estimate(rows, router_of(f"{small}, {middle % threshold}"), REGISTRY, {}) for threshold in (0, 500)]
    assert [len(estimates) for estimates in found] == [3, 2]


COMBINED = """{
  name: combined,
  config: {members: [{name: logprob, config: {statistic: minimum}}, {name: self-check, config: {samples: 3}}]},
  poolRefs: [{role: self, name: large}]}"""


def test_combined_is_learned_and_replayed_from_scores_of_its_members_own_config(log):
    router = router_of(f"{{poolRef: {{name: small}}, accept: {{scorer: {COMBINED}, thresholdPermille: 500}}}}")
    (scorer,) = router.scorers
    judged = digest_of(scorer.model_copy(update={"name": "self-check", "config": {"samples": 3}}))
    tokens = digest_of(Scorer(name="logprob", config={"statistic": "minimum"}))

    def recorded(digest):
        update = {"score_configs": {"self-check": digest, "logprob": tokens}, "score_costs": {"self-check": 0.5}}
        return [
            entry.model_copy(
                update={
                    "stages": (
                        entry.stages[0].model_copy(
                            update={**update, "scores": {**entry.stages[0].scores, "logprob": 900 if place % 3 else 1}}
                        ),
                        entry.stages[1],
                    )
                }
            )
            for place, entry in enumerate(log[:60])
        ]

    learned = {0: train(recorded(judged), router, REGISTRY, 0).artifact}
    told = replay(recorded(judged), router, REGISTRY, learned)
    assert told.cost[0] > 500
    for asking in (lambda rows: train(rows, router, REGISTRY, 0), lambda rows: replay(rows, router, REGISTRY, learned)):
        with pytest.raises(ConfigError, match=r"scores\.self-check by this config"):
            asking(recorded("another"))


def test_combined_and_a_scorer_alone_are_recorded_as_one_unless_their_configs_differ():
    """A pool that only the verifier asks is none of the self-check's."""
    members = "members: [{name: self-check}, {name: verifier}]"
    several = f"{{name: combined, config: {{{members}}}, poolRefs: [{{role: verifier, name: judge}}]}}"
    stage = "{poolRef: {name: small}, accept: {scorer: %s, thresholdPermille: 500}}"
    together, alone, other = (
        router_of(stage % scorer)
        for scorer in (several, "{name: self-check}", "{name: self-check, config: {samples: 9}}")
    )
    judges = judges_of([together, alone], REGISTRY)
    assert [(judge.name, judge.roles) for judge in judges] == [
        ("self-check", {"self": "small"}),
        ("verifier", {"self": "small", "verifier": "judge"}),
    ]
    with pytest.raises(ConfigError, match="another config"):
        judges_of([together, other], REGISTRY)


def test_a_weighted_router_tells_each_pool_apart(log, routers):
    told = replay(log, routers["canary"], REGISTRY, {})
    assert told.escalated == 0.75
    assert told.slowest == 3.0
    assert [(stage.pool, stage.share) for stage in told.stages] == [("small", 0.25), ("large", 0.75)]
    assert [stage.seconds for stage in told.stages] == pytest.approx([0.5, 3.0])
    assert [stage.cost for stage in told.stages] == pytest.approx([1.0, 20.0])


def test_a_router_is_shown_before_and_after_its_calibration(tmp_path, log, routers):
    write_jsonl(tmp_path / "log.jsonl", log[:20])
    paths = [tmp_path / name for name in ("before.yaml", "after.yaml")]
    for path, threshold in zip(paths, (0, 1000), strict=True):
        path.write_text(yaml.safe_dump(with_threshold(routers["assistant"], threshold).to_manifest()))
    command = ["replay", str(tmp_path / "log.jsonl"), *map(str, paths)]
    told = CliRunner().invoke(application(["replay"]), [*command, "--json"])
    assert told.exit_code == 0, told.output
    rows = orjson.loads(told.stdout)
    assert [(row["router"], row["path"], row["escalated"]) for row in rows] == [
        ("assistant", str(paths[0]), 0.0),
        ("assistant", str(paths[1]), 1.0),
    ]
    shown = CliRunner().invoke(application(["replay"]), command, env={"COLUMNS": "300"})
    assert [shown.stdout.count(str(path)) for path in paths] == [1, 1]


def raw_digest(config):
    """As versions before the default scale `odds` wrote it."""
    identity = orjson.dumps({"config": config, "pools": {}}, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(identity, digest_size=8).hexdigest()


def test_scores_recorded_on_the_scale_of_another_default_are_not_mixed_up():
    """A digest without a scale is of the time when `probability` was the default."""
    digests = {
        str(config): digest_of(Scorer(name="logprob", config=config))
        for config in ({}, {"scale": "odds"}, {"scale": "probability"})
    }
    before = raw_digest({})
    assert digests["{}"] == digests["{'scale': 'odds'}"] != digests["{'scale': 'probability'}"] == before
    named = Scorer(name="combined", config={"members": [{"name": "logprob"}, {"name": "verifier"}]})
    head = LogisticHead(("0-logprob", "1-verifier"), (1.0, 1.0), 0.0)
    old, new = (
        in_force(named, CombinedScorer.from_settings(Settings(named.config, write_artifact("combined", arrays))))
        for arrays in (head.to_arrays(), {**head.to_arrays(), **scale_arrays()})
    )
    assert [digest_of(asked_of(scorer)[0]) for scorer in (old, new, named)] == [before, digests["{}"], digests["{}"]]
    assert digest_of(old) != digest_of(new) == digest_of(named)


@pytest.mark.parametrize(
    ("config", "held", "refused"),
    [
        ({}, [{"scale": "odds"}], [None, {}, {"scale": "probability"}]),
        ({"scale": "probability"}, [None, {}, {"scale": "probability"}], [{"scale": "odds"}]),
        (
            {"statistic": "combination"},
            [None, {"statistic": "combination"}, {"statistic": "combination", "scale": "odds"}],
            [{}, {"scale": "odds"}],
        ),
    ],
)
def test_a_recorded_score_counts_for_every_config_that_means_the_same(config, held, refused):
    """Digests as former versions wrote them. None: no digest, as former gateways wrote scores of `probability`."""
    scorer = Scorer(name="logprob", config=config)

    def stage(recorded):
        configs = {} if recorded is None else {"logprob": raw_digest(recorded)}
        return RecordedStage(pool="small", scores={"logprob": 998}, score_configs=configs)

    assert [recorded for recorded in held + refused if holds(stage(recorded), scorer)] == held


def test_scores_of_a_former_gateway_are_not_calibrated_as_odds(log, routers):
    """Its rows have no digest. The scale was `probability`."""
    rows = [
        entry.model_copy(
            update={
                "stages": (
                    entry.stages[0].model_copy(update={"logprobs": None, "scores": {"logprob": 998}}),
                    entry.stages[1],
                )
            }
        )
        for entry in log
    ]
    router = routers["assistant"]
    assert set(score_all(rows, router, REGISTRY, {})[:, 0]) == {998}
    document = router.to_manifest()
    del document["spec"]["strategy"]["cascade"]["stages"][0]["accept"]["scorer"]["config"]["scale"]
    with pytest.raises(ConfigError, match=r"lacks logprobs \(the recorded score has another config"):
        score_all(rows, type(router).model_validate(document), REGISTRY, {})
