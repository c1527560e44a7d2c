"""The report of a calibration: a figure (PNG), and an HTML page with it."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from pilotfish.base.arrays import Floats
from pilotfish.calibration.calibrate import Calibrated
from pilotfish.calibration.statistics.bounds import mean_interval
from pilotfish.calibration.statistics.choose import Goal, GoalType, Recommendation
from pilotfish.calibration.statistics.control import RESAMPLES, path_of
from pilotfish.calibration.statistics.metrics import apgr, bootstrap_places, calibration_error, reliability
from pilotfish.calibration.statistics.table import Simulated, Table, simulate, simulate_one

DRAWS = 200
SEED = 17
MOST_POINTS = 60
SMALL, LARGE, ROUTER, CHANCE = "#2a9d8f", "#e76f51", "#264653", "#999999"


@dataclass(frozen=True)
class Line:
    """A way to answer, with what it came to: means with 95% intervals, and the share answered by the last pool."""

    name: str
    quality: tuple[float, float, float]
    cost: tuple[float, float, float]
    seconds: float
    large_share: float


def lines(calibrated: Calibrated) -> list[Line]:
    """Each pool alone, and the router at its chosen thresholds, or by chance, where it is to be one."""
    table, pools, choice = calibrated.evaluated.table, calibrated.evaluated.pools, calibrated.choice
    alone = [simulate_one(table, place) for place in range(len(pools))]
    found = [_line(f"{pool} alone", simulated, len(pools)) for pool, simulated in zip(pools, alone, strict=True)]
    if choice.thresholds:
        shown = ", ".join(str(threshold) for threshold in choice.thresholds)
        found.append(_line(f"router at {shown}", simulate(table, choice.thresholds), len(pools)))
    if choice.large_permille is not None:
        found.append(_by_chance(alone[0], alone[-1], choice.large_permille / 1000))
    return found


def _line(name: str, simulated: Simulated, pools: int) -> Line:
    large_share = float((simulated.pool == pools - 1).mean())
    return Line(
        name,
        _interval(simulated.quality),
        _interval(1000 * simulated.cost),
        float(simulated.seconds.mean()),
        large_share,
    )


def _by_chance(small: Simulated, large: Simulated, share: float) -> Line:
    quality, cost, seconds = (
        (1 - share) * first + share * last
        for first, last in ((small.quality, large.quality), (small.cost, large.cost), (small.seconds, large.seconds))
    )
    return Line("at random", _interval(quality), _interval(1000 * cost), float(seconds.mean()), share)


def _interval(values: Floats) -> tuple[float, float, float]:
    return float(values.mean()), *mean_interval(values, 0.95)


def picture(calibrated: Calibrated) -> bytes:
    """PNG: quality against cost with an error band, and the reliability of each stage's score."""
    table = calibrated.evaluated.table
    stages = table.scores.shape[1]
    figure = Figure(figsize=(6.4 + 4.2 * stages, 4.6), layout="constrained")
    axes = figure.subplots(1, 1 + stages, width_ratios=[6.4] + [4.2] * stages)
    _curve(axes[0], calibrated)
    for stage in range(stages):
        _reliability(axes[1 + stage], table, stage, calibrated.evaluated.pools[stage])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def _curve(axes: Axes, calibrated: Calibrated) -> None:
    table, pools = calibrated.evaluated.table, calibrated.evaluated.pools
    if table.scores.shape[1] == 1:
        costs, qualities = _band(table)
        axes.plot(costs.mean(axis=0), qualities.mean(axis=0), color=ROUTER, label="router, every threshold")
        low, high = np.percentile(qualities, [2.5, 97.5], axis=0)
        axes.fill_between(costs.mean(axis=0), low, high, color=ROUTER, alpha=0.15, label="95% of resamples")
    small, large = simulate_one(table, 0), simulate_one(table, len(pools) - 1)
    ends = [1000 * float(small.cost.mean()), 1000 * float(large.cost.mean())]
    heights = [float(small.quality.mean()), float(large.quality.mean())]
    axes.plot(ends, heights, color=CHANCE, linestyle="--", label="random routing")
    axes.scatter(ends[:1], heights[:1], color=SMALL, zorder=3, label=f"{pools[0]} alone")
    axes.scatter(ends[1:], heights[1:], color=LARGE, zorder=3, label=f"{pools[-1]} alone")
    if calibrated.choice.thresholds:
        simulated = simulate(table, calibrated.choice.thresholds)
        point = 1000 * float(simulated.cost.mean()), float(simulated.quality.mean())
        axes.scatter(*point, color=ROUTER, marker="*", s=170, zorder=4, label="chosen")
    if calibrated.goal.type is GoalType.QUALITY_LOSS:
        axes.axhline(heights[1] - calibrated.goal.limit, color=LARGE, linestyle=":", label="quality limit")
    axes.set(xlabel="cost of 1,000 requests", ylabel="mean quality")
    axes.legend(fontsize="small", loc="lower right")


def _band(table: Table) -> tuple[Floats, Floats]:
    """Costs of 1,000 requests and qualities [draws, points] along the thresholds."""
    path = path_of(table)
    path = path[:: max(1, len(path) // MOST_POINTS)]
    simulated = [simulate(table, thresholds) for thresholds in path]
    cost = np.array([one.cost for one in simulated])
    quality = np.array([one.quality for one in simulated])
    places = bootstrap_places(len(table), DRAWS, SEED)
    costs = np.array([1000 * cost[:, drawn].mean(axis=1) for drawn in places])
    return costs, np.array([quality[:, drawn].mean(axis=1) for drawn in places])


def _reliability(axes: Axes, table: Table, stage: int, pool: str) -> None:
    scores = table.scores[:, stage] / 1000
    good = (table.quality[:, stage] >= table.quality[:, -1]).astype(np.float64)
    bins = reliability(scores, good)
    middles = [entry.score for entry in bins]
    shares = np.array([entry.good for entry in bins])
    errors = np.abs(np.array([[entry.low for entry in bins], [entry.high for entry in bins]]) - shares)
    axes.plot([0, 1], [0, 1], color=CHANCE, linestyle="--")
    axes.errorbar(middles, shares, yerr=errors, fmt="o-", color=SMALL, capsize=2)
    axes.set(xlabel="score", ylabel="share as good as the last pool", xlim=(0, 1), ylim=(0, 1))
    axes.set_title(f"{pool}: calibration error {calibration_error(bins):.3f}", fontsize="medium")


def recommendation_text(calibrated: Calibrated) -> str:
    """The recommendation in one or two sentences."""
    choice, pools = calibrated.choice, calibrated.evaluated.pools
    if choice.recommendation is Recommendation.LARGE_ALONE:
        return f"Send everything to {pools[-1]}: {choice.reason}."
    if choice.recommendation is Recommendation.SMALL_ALONE:
        return f"Send everything to {pools[0]}: {choice.reason}."
    if choice.large_permille is not None:
        share = f"{choice.large_permille / 1000:.1%}"
        return f"Send {share} of the requests to {pools[-1]} at random, and the others to {pools[0]}: {choice.reason}."
    shown = " and ".join(
        f"{threshold} permille at {pool}" for threshold, pool in zip(choice.thresholds, pools, strict=False)
    )
    return f"Accept from {shown}: {choice.reason}."


def guarantee_text(calibrated: Calibrated) -> str:
    """What was promised, by which method, on how many examples."""
    goal, choice = calibrated.goal, calibrated.choice
    if goal.type is not GoalType.QUALITY_LOSS:
        what = "Spend per 1,000 requests" if goal.type is GoalType.SPEND else "The share of large calls"
        held = "stays" if choice.kept else "is not shown to stay"
        return f"{what} {held} at or under {goal.limit:g} with {_sureness(goal)}, on {choice.examples} examples."
    if goal.confidence is None:
        how = "in expectation over one more request (conformal risk control, Angelopoulos et al. 2024)"
    else:
        how = f"with confidence {goal.confidence:.0%} (Learn then Test, Angelopoulos et al. 2021, with betting tests)"
    least = f" Such a guarantee needs at least {choice.examples_needed} examples, even if nothing is lost."
    return (
        f"Mean quality stays within {goal.limit:.2%} of the last pool alone, {how}."
        f" This is based on {choice.examples} examples and holds for requests like these.{least}"
        f"{_spread_text(calibrated)}"
    )


def _spread_text(calibrated: Calibrated) -> str:
    """How far a single calibration may be from a promise in expectation; empty where none was made."""
    spread = calibrated.choice.spread
    if spread is None:
        return ""
    return (
        f" The guarantee is about the average over calibrations, not about this one: on {RESAMPLES} resamples of"
        f" these examples, single calibrations lost {spread.low:.2%} to {spread.high:.2%} (5th to 95th percentile), and"
        f" {spread.over:.0%} of them lost more than {calibrated.goal.limit:.2%}. For a guarantee about this one, give"
        " --confidence without --in-expectation."
    )


def _sureness(goal: Goal) -> str:
    if goal.type is GoalType.LARGE_SHARE:
        return f"confidence {goal.confidence:.0%} (Clopper and Pearson 1934)"
    return (
        f"a confidence of about {goal.confidence:.0%} (Student's t: if no request costs far more than those of the log)"
    )


def page(calibrated: Calibrated, png: bytes) -> str:
    """HTML: the recommendation, the guarantee, the table, the picture, and warnings, without external resources."""
    rows = "".join(_row(line) for line in lines(calibrated))
    warnings = [*calibrated.choice.warnings, *calibrated.warnings]
    noticed = "".join(f"<li><b>{escape(warning.code.value)}</b> {escape(warning.message)}</li>" for warning in warnings)
    stops = "".join(f"<li>{escape(text)}</li>" for text in stopping_texts(calibrated))
    image = base64.b64encode(png).decode()
    title = f"Calibration of router {escape(calibrated.router.name)}"
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body{{font:16px/1.5 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em}}img{{max-width:100%}}
td,th{{padding:.2em .8em;text-align:right}}td:first-child,th:first-child{{text-align:left}}</style></head><body>
<h1>{title}</h1>
<p><strong>{escape(recommendation_text(calibrated))}</strong></p>
<p>{escape(guarantee_text(calibrated))}</p>
<table><tr><th></th><th>quality (95%)</th><th>cost of 1,000 (95%)</th><th>seconds</th><th>last pool</th></tr>
{rows}</table>
<p><img alt="cost against quality, and reliability" src="data:image/png;base64,{image}"></p>
{_section("Warnings", noticed)}{_section("Stopping boundaries", stops)}
<p>{escape(_small_print(calibrated))}</p>
</body></html>
"""


def _row(line: Line) -> str:
    quality = f"{line.quality[0]:.3f} ({line.quality[1]:.3f} to {line.quality[2]:.3f})"
    cost = f"{line.cost[0]:.4g} ({line.cost[1]:.4g} to {line.cost[2]:.4g})"
    cells = (quality, cost, f"{line.seconds:.2f}", f"{line.large_share:.1%}")
    return f"<tr><td>{escape(line.name)}</td>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"


def _section(title: str, items: str) -> str:
    return f"<h2>{title}</h2><ul>{items}</ul>" if items else ""


def stopping_texts(calibrated: Calibrated) -> Sequence[str]:
    """What the stopping boundaries of each stage do, and the error that they cost."""
    return [
        f"stage {place + 1}: {found.decided_early:.0%} of decisions are made early, after {found.mean_tokens:.0f}"
        f" instead of {found.mean_tokens_without:.0f} tokens on average; {found.changed:.2%} differ from those"
        f" without boundaries,"
        f" and at most {found.promised_error:.0%} will"
        for place, found in calibrated.stopping.items()
    ]


def _small_print(calibrated: Calibrated) -> str:
    evaluated = calibrated.evaluated
    area = _area(evaluated.table)
    parts = [
        f"{len(evaluated.ids)} requests were used for calibration",
        f"the scorers learned from {calibrated.learned_from} others" if calibrated.learned_from else "",
        f"{evaluated.left_out} lacked a pool's answer or quality and were left out" if evaluated.left_out else "",
        f"APGR {area:.3f} (random routing has 0.5)" if area is not None else "",
    ]
    return "; ".join(part for part in parts if part) + "."


def _area(table: Table) -> float | None:
    small, large = table.quality[:, 0], table.quality[:, -1]
    if table.scores.shape[1] != 1 or large.mean() <= small.mean():
        return None
    return apgr(table.scores[:, 0].astype(np.float64), small, large)
