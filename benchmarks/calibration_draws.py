"""How often does a calibration lose more than its limit? A log is divided again and again: learn, calibrate, test.

    .venv/bin/python benchmarks/calibration_draws.py half-log.jsonl other-log.jsonl [--limit 10%] [--in-expectation]

The router is predictive, with `linear` over two pools of the log. A quarter of the requests trains
the scorer, a quarter chooses the threshold, and the loss on the other half is compared with the limit.
"""

import argparse
from pathlib import Path

import numpy as np

from pilotfish.calibration.log import read_log
from pilotfish.calibration.statistics.choose import Goal, GoalType, Recommendation, choose
from pilotfish.calibration.statistics.table import NEVER, Table, losses, simulate
from pilotfish.plugin_api.learning import Outcomes
from pilotfish.plugin_api.scorers import permille
from pilotfish.plugins.builtin.scorers.features import features
from pilotfish.plugins.builtin.scorers.linear_training import train_linear

SEED = 7


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("logs", type=Path, nargs="+")
    parser.add_argument("--pools", nargs=2, default=("small", "large"), metavar=("SMALL", "LARGE"))
    parser.add_argument("--limit", default="10%")
    parser.add_argument("--in-expectation", action="store_true")
    parser.add_argument("--draws", type=int, default=100)
    options = parser.parse_args()
    limit = float(options.limit.rstrip("%")) / 100
    goal = Goal(GoalType.QUALITY_LOSS, limit, None if options.in_expectation else 0.95)
    entries = [entry for path in options.logs for entry in read_log(path)]
    parts = [features(entry.prompt or "") for entry in entries]
    stages = [[entry.stage(pool) for pool in options.pools] for entry in entries]
    quality = np.array([[stage.quality for stage in row if stage] for row in stages], np.float64)
    cost = np.array([[stage.cost for stage in row if stage] for row in stages], np.float64)
    random = np.random.default_rng(SEED)
    lost, saved, estimated = [], [], []
    for _ in range(options.draws):
        order = random.permutation(len(entries))
        learn, calibrate, test = np.split(order, [len(order) // 4, len(order) // 2])
        model = train_linear([parts[place] for place in learn], Outcomes(quality[learn, 0], quality[learn, 1])).model
        scores = np.array([[permille(model.probability(model.margin(part)))] for part in parts])
        whole = Table(scores, quality, cost, np.zeros_like(cost), cumulative=False)
        choice = choose(whole.rows(calibrate), goal)
        thresholds = choice.thresholds or ((0,) if choice.recommendation is Recommendation.SMALL_ALONE else (NEVER,))
        tested = whole.rows(test)
        simulated = simulate(tested, thresholds)
        lost.append(float(losses(tested, simulated).mean()))
        saved.append(1 - float(simulated.cost.mean()) / float(cost[test, 1].mean()))
        if choice.spread is not None:
            estimated.append(choice.spread.over)
    over = sum(loss > limit for loss in lost)
    print(f"{over} of {options.draws} draws lost more than {limit:.0%} on {len(test)} requests.")
    print(f"Mean loss {np.mean(lost):.1%}, mean saving {np.mean(saved):.0%}.")
    if estimated:
        print(f"Calibration estimated a share of {np.mean(estimated):.0%} over the limit, on {len(estimated)} draws.")


if __name__ == "__main__":
    main()
