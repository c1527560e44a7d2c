"""Logs of what a router served, in which not every pool was asked."""

import pytest
from tests.unit.calibration.conftest import make_log

from pilotfish.base.errors import ConfigError
from pilotfish.calibration.calibrate import calibrate
from pilotfish.calibration.replay import replay
from pilotfish.calibration.statistics.choose import Goal, GoalType
from pilotfish.calibration.statistics.diagnose import WarningCode
from pilotfish.plugins.registry import Registry
from pilotfish.plugins.score_digests import digest_of

GOAL = Goal(GoalType.QUALITY_LOSS, 0.05, 0.9)
REGISTRY = Registry.installed()


def test_requests_that_were_escalated_are_taken_for_no_sample_of_all(log, routers):
    served = [
        entry.model_copy(update={"action": "large"} if place % 3 else {"action": "small", "stages": entry.stages[:1]})
        for place, entry in enumerate(log[:90])
    ]
    said = "30 requests with an `action` lack the answers of some of the pools"
    with pytest.raises(ConfigError, match=said):
        calibrate(served, routers["assistant"], GOAL, REGISTRY, artifacts={})
    for name in ("assistant", "plain", "canary"):
        with pytest.raises(ConfigError, match=said):
            replay(served, routers[name], REGISTRY, {})


def test_requests_that_a_stage_was_not_asked_do_not_shift_its_scores(log, routers):
    today = [
        entry.model_copy(update={"stages": entry.stages[1:]}) if place % 3 else entry
        for place, entry in enumerate(make_log(300, seed=3))
    ]
    found = calibrate(log, routers["assistant"], GOAL, REGISTRY, artifacts={}, today=today)
    assert WarningCode.SHIFT not in {warning.code for warning in found.warnings}


@pytest.mark.parametrize(("name", "shifts"), [("checked", True), ("assistant", False)])
def test_answers_of_today_without_a_score_are_left_out_and_no_sample_where_verdicts_fall_early(
    log, routers, name, shifts
):
    """As a gateway writes them: no tokens, and every other answer has no score."""
    scorer = routers[name].scorers[0]
    today = [
        entry.model_copy(
            update={
                "stages": (
                    entry.stages[0].model_copy(
                        update={
                            "logprobs": None,
                            "scores": {scorer.name: 999} if odd else {},
                            "score_configs": {scorer.name: digest_of(scorer)},
                        }
                    ),
                )
            }
        )
        for odd, entry in ((place % 2, entry) for place, entry in enumerate(make_log(100, seed=3)))
    ]
    found = calibrate(log, routers[name], GOAL, REGISTRY, artifacts={}, today=today)
    told = {warning.code: warning.message for warning in found.warnings}
    assert told[WarningCode.UNSCORED].startswith("stage 1: 50 of today's answers have no score")
    assert (WarningCode.SHIFT in told, "streaming Hold" in told[WarningCode.UNSCORED]) == (shifts, not shifts)
