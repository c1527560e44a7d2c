"""How well do routers route? Measured on public records of what small and large models answered; no model runs.

.venv/bin/python benchmarks/routing.py --data ../shared/data [--embedder FOLDER --cache FOLDER] [--write
docs/routing.md] [--cascades-only [--scale probability]]

Prints Markdown tables, and puts them between the markers of docs/routing.md. Every figure has a 95% error band: over
five folds, over bootstrap resamples of a test file, or over random draws, as its table says. Nothing is tuned on what
is tested.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import routing_data as records
import routing_serving as serving
from routing_data import Chain, Floats, Pairs
from scipy import stats
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from pilotfish.calibration.statistics.choose import Goal, GoalType, Recommendation, choose
from pilotfish.calibration.statistics.control import learn_then_test, path_of
from pilotfish.calibration.statistics.metrics import apgr, bootstrap_places, cpt
from pilotfish.calibration.statistics.table import Table, losses, simulate, simulate_one
from pilotfish.plugin_api.learning import Outcomes
from pilotfish.plugin_api.scorers import TokenLogprobs
from pilotfish.plugin_api.settings import Settings
from pilotfish.plugins.builtin.scorers.features import features
from pilotfish.plugins.builtin.scorers.linear_model import LinearModel
from pilotfish.plugins.builtin.scorers.linear_training import train_linear
from pilotfish.plugins.builtin.scorers.logprob import LogprobScorer, Scale
from pilotfish.routing.threshold_control import NEVER
from pilotfish_embedding.training import train as train_embedding

FOLDS, SEED, DRAWS, RESAMPLES = 5, 0, 500, 300
BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
PREDICTED_COST = (0.1, 1.0)
"""Small and large, where a record has no costs: they differ tenfold."""
Vectors = Callable[[Sequence[str]], Floats]
Band = tuple[float, float]
"""A figure and half of its 95% band."""


def shown(band: Band, digits: int = 3) -> str:
    return f"{band[0]:.{digits}f} ±{band[1]:.{digits}f}"


def over_folds(values: Sequence[float]) -> Band:
    spread = float(np.std(values, ddof=1)) / np.sqrt(len(values))
    return float(np.mean(values)), float(stats.t.ppf(0.975, len(values) - 1)) * spread


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def folds(count: int) -> list[np.ndarray]:
    order = np.random.default_rng(SEED).permutation(count)
    return [order[fold::FOLDS] for fold in range(FOLDS)]


# Predictive


Predictor = Callable[[Pairs, np.ndarray, np.ndarray], Floats]
"""Scores of the tested prompts, learned from the others: (pairs, learn, test)."""


def by_linear(pairs: Pairs, learn: np.ndarray, test: np.ndarray, keep: dict[str, LinearModel] | None = None) -> Floats:
    outcomes = Outcomes(pairs.small[learn], pairs.large[learn])
    trained = train_linear([pairs.prompts[place] for place in learn], outcomes).model
    if keep is not None:
        keep[pairs.name] = trained
    margins = [trained.margin(features(pairs.prompts[place])) for place in test]
    return np.array([round(1000 * trained.probability(margin)) for margin in margins], np.float64)


def by_embedding(pairs: Pairs, learn: np.ndarray, test: np.ndarray, vectors: Vectors) -> Floats:
    found = vectors(pairs.prompts)
    trained = train_embedding(
        found[learn], Outcomes(pairs.small[learn], pairs.large[learn]), [str(place) for place in learn]
    )
    rows = found[test] / np.linalg.norm(found[test], axis=1, keepdims=True)
    return np.array([round(1000 * trained.probability(row)) for row in rows], np.float64)


def by_tfidf(pairs: Pairs, learn: np.ndarray, test: np.ndarray) -> Floats:
    """The baseline: ridge regression on TF-IDF of words and their pairs, on the same folds."""
    weigh = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
    matrix = weigh.fit_transform([pairs.prompts[place] for place in learn])
    model = Ridge(alpha=1.0, solver="sparse_cg", tol=1e-3).fit(matrix, (pairs.small - pairs.large)[learn])
    return np.asarray(model.predict(weigh.transform([pairs.prompts[place] for place in test])))


TO_BEAT = {
    "GSM8K Mixtral-8x7B, GPT-4": (0.609, 0.62),
    "MMLU Llama 8B, 405B": (0.603, 0.603),
    "MMLU-Pro Llama 8B, 70B": (0.532, 0.532),
    "LLMRouter mix Qwen 7B, 51B": (0.819, 0.819),
}
"""APGR of TF-IDF ridge as published with the records, and the aim."""


@dataclass
class Predicted:
    """Scores of every prompt by a model that had not seen it, and the trained scorers of the last fold."""

    scores: dict[str, Floats]
    models: dict[str, LinearModel]


def predictive(sets: Sequence[Pairs], predictors: dict[str, Predictor], kept: Predicted) -> str:
    body = []
    for pairs in sets:
        tests = folds(len(pairs.prompts))
        areas: dict[str, list[float]] = {}
        for name, predictor in predictors.items():
            found = []
            scores = np.zeros(len(pairs.prompts))
            for test in tests:
                learn = np.setdiff1d(np.arange(len(scores)), test)
                scores[test] = predictor(pairs, learn, test)
                small, large = pairs.small[test], pairs.large[test]
                halves = [cpt(scores[test], small, large, level) for level in (0.5, 0.8)]
                found.append((apgr(scores[test], small, large), *halves))
            areas[name] = [area for area, _, _ in found]
            if name == "linear":
                kept.scores[pairs.name] = scores
            columns = [over_folds([row[place] for row in found]) for place in range(3)]
            told, aim = TO_BEAT[pairs.name]
            verdict = "" if name == "TF-IDF ridge" else _above(columns[0], aim)
            area, half, most = (shown(column) for column in columns)
            body.append([pairs.name, name, area, half, most, verdict, f"{told:.3f}"])
        ours = over_folds(np.subtract(areas["linear"], areas["TF-IDF ridge"]).tolist())
        body[-1].append("")
        print(f"{pairs.name}: linear less TF-IDF, fold by fold: {shown(ours)}", file=sys.stderr)
    head = ["set", "scorer", "APGR", "CPT(50%)", "CPT(80%)", "aim", "TF-IDF as published"]
    return table(head, [row[: len(head)] for row in body])


def _above(band: Band, aim: float) -> str:
    if band[0] - band[1] > aim:
        return f"over {aim}: met"
    return f"over {aim}: within the band" if band[0] > aim else f"over {aim}: missed"


# Cascades


def permille(confidence: Floats, scale: Scale) -> np.ndarray:
    """Scores by `logprob` of recorded log-probabilities."""
    scorer = LogprobScorer.from_settings(Settings({"statistic": "mean", "scale": scale.value}))
    scores = []
    for logprob in confidence:
        running = scorer.start()
        running.add([TokenLogprobs(float(logprob))])
        scores.append(running.score().permille)
    return np.array(scores, np.int64)


def chain_table(chain: Chain, small: str, large: str, scale: Scale = Scale.ODDS) -> Table:
    def pair(values: dict[str, Floats]) -> Floats:
        return np.column_stack([values[small], values[large]])

    scores = permille(chain.confidence[small], scale)[:, None]
    return Table(scores, pair(chain.quality), pair(chain.cost), pair(chain.seconds))


CASCADES = (
    ("mmlu", "llama", "llama3.1-8b", "llama3.1-405b", 0.696),
    ("mmlu", "qwen_oai", "gpt-4o-mini", "gpt-4o", 0.781),
    ("truthfulqa", "llama", "llama3.2-1b", "llama3.1-405b", None),
    ("truthfulqa", "llama", "llama3.1-8b", "llama3.1-405b", 0.654),
    ("truthfulqa", "qwen_oai", "gpt-4o-mini", "gpt-4o", None),
)


def cascades(data: Path, scale: Scale = Scale.ODDS) -> str:
    body = []
    for task, family, small, large, told in CASCADES:
        learn, test = (
            chain_table(records.chain(data, task, family, part), small, large, scale) for part in ("train", "test")
        )
        area = _resampled(lambda t: apgr(t.scores[:, 0].astype(float), t.quality[:, 0], t.quality[:, 1]), test)
        for limit in (0.02, 0.05):
            found = choose(learn, Goal(GoalType.QUALITY_LOSS, limit, 0.95))
            thresholds = found.thresholds or ((NEVER,) if found.recommendation is Recommendation.LARGE_ALONE else (0,))
            whole = found.recommendation is not Recommendation.ROUTE

            def lost(t: Table, thresholds: tuple[int, ...] = thresholds, whole: bool = whole) -> float:
                return 0.0 if whole else float(losses(t, simulate(t, thresholds)).mean())

            def dearness(t: Table, thresholds: tuple[int, ...] = thresholds, whole: bool = whole) -> float:
                alone = float(simulate_one(t, 1).cost.mean())
                return 1.0 if whole else float(simulate(t, thresholds).cost.mean()) / alone

            body.append(
                [
                    f"{task} {small} → {large}",
                    f"{len(learn)} / {len(test)}",
                    shown(area) + (f" (alone {told})" if told else ""),
                    f"{limit:.0%}",
                    "accept from " + str(thresholds[0])
                    if found.recommendation is Recommendation.ROUTE
                    else "do not cascade",
                    shown(_resampled(lost, test)),
                    shown(_resampled(dearness, test)),
                    ", ".join(warning.code.value for warning in found.warnings) or "none",
                ]
            )
    head = ["cascade", "train / test", "APGR", "promise", "verdict", "quality lost", "cost / large alone", "noticed"]
    return table(head, body)


def _resampled(measure: Callable[[Table], float], given: Table) -> Band:
    values = [measure(given.rows(places)) for places in bootstrap_places(len(given), RESAMPLES, SEED)]
    low, high = np.percentile(values, [2.5, 97.5])
    return measure(given), float(high - low) / 2


# The bound


def bound(data: Path, sets: Sequence[Pairs], kept: Predicted) -> str:
    populations = [_both_parts(data, "llama", "llama3.1-8b", "llama3.1-405b")]
    populations.append(_both_parts(data, "qwen_oai", "gpt-4o-mini", "gpt-4o"))
    for pairs in sets[2:]:
        cost = np.tile(PREDICTED_COST, (len(pairs.prompts), 1))
        quality = np.column_stack([pairs.small, pairs.large])
        scores = kept.scores[pairs.name].astype(np.int64)[:, None]
        populations.append((f"{pairs.name}, linear", Table(scores, quality, cost, cost, cumulative=False)))
    return table(
        ["population", "drawn / rest", "promise", "broken", "allowed", "saved", "best possible", "left"],
        [_bound_row(name, population, 0.05) for name, population in populations],
    )


def _both_parts(data: Path, family: str, small: str, large: str) -> tuple[str, Table]:
    parts = [chain_table(records.chain(data, "mmlu", family, part), small, large) for part in ("train", "test")]
    fields = [
        np.concatenate([getattr(part, name) for part in parts]) for name in ("scores", "quality", "cost", "seconds")
    ]
    return f"MMLU {small} → {large}, logprob", Table(*fields)


def _bound_row(name: str, population: Table, limit: float) -> list[str]:
    random = np.random.default_rng(SEED)
    drawn = min(600, len(population) // 3)
    broken, saved, possible = 0, [], []
    for _ in range(DRAWS):
        order = random.permutation(len(population))
        learn, rest = population.rows(order[:drawn]), population.rows(order[drawn:])
        passed = learn_then_test(learn, path_of(learn), limit=limit, error=0.05)
        alone = float(rest.cost[:, -1].mean())
        if passed:
            simulated = simulate(rest, passed[-1].thresholds)
            broken += float(losses(rest, simulated).mean()) > limit
            saved.append(1 - float(simulated.cost.mean()) / alone)
        else:
            saved.append(0.0)
        possible.append(_best_saving(rest, limit))
    allowed = int(stats.binom.ppf(0.975, DRAWS, 0.05))
    left = np.subtract(possible, saved)
    return [
        name,
        f"{drawn} / {len(population) - drawn}",
        f"{limit:.0%}, 95%",
        f"{broken} of {DRAWS}",
        f"{allowed}",
        shown((float(np.mean(saved)), 1.96 * float(np.std(saved)))),
        shown((float(np.mean(possible)), 1.96 * float(np.std(possible)))),
        shown((float(left.mean()), 1.96 * float(left.std()))),
    ]


def _best_saving(rest: Table, limit: float) -> float:
    """What the boldest threshold would save that keeps the promise on the very requests it is judged by."""
    order = np.argsort(-rest.scores[:, 0], kind="stable")
    ends = np.append(np.flatnonzero(np.diff(rest.scores[order, 0])), len(order) - 1)
    lost = np.cumsum((rest.quality[:, 1] - rest.quality[:, 0])[order])[ends] / len(order)
    kept = ends[lost <= limit]
    accepted = np.arange(len(order)) <= (kept.max() if len(kept) else -1)
    if rest.cumulative:
        cost = rest.cost[:, 0].sum() + rest.cost[order, 1][~accepted].sum()
    else:
        cost = rest.cost[order, 0][accepted].sum() + rest.cost[order, 1][~accepted].sum()
    return 1 - float(cost) / float(rest.cost[:, 1].sum())


# Serving


def robustness(
    pairs: Pairs, linear: LinearModel, embedded: serving.EmbeddingModel | None, vectors: Vectors | None
) -> str:
    prompts = [pairs.prompts[place] for place in folds(len(pairs.prompts))[-1]][:200]
    columns = {"linear": serving.flips(prompts, serving.linear_scores(linear))}
    if embedded is not None and vectors is not None:
        columns["embedding"] = serving.flips(prompts, serving.embedding_scores(embedded, vectors))
    body = [
        [name, str(columns["linear"][name][2]), *(shown(found[name][:2], 2) for found in columns.values())]
        for name in serving.CHANGES
    ]
    return table(["change", "prompts changed", *columns], body)


def objective(data: Path) -> str:
    arrivals = records.arrivals(data)
    body = []
    for family, small, large in (("llama", "llama3.1-8b", "llama3.1-405b"), ("qwen_oai", "gpt-4o-mini", "gpt-4o")):
        _, answers = _both_parts(data, family, small, large)
        for share in (0.2, 0.4):
            runs = [serving.objective(arrivals, answers, seed, share) for seed in range(5)]
            gain = over_folds([run["quality"] - run["fixed"] for run in runs])
            body.append(
                [
                    f"MMLU {small} → {large}, {share:.0%} large",
                    *(
                        f"{100 * mean:.2f}% ±{100 * half:.2f}"
                        for mean, half in (
                            over_folds([run["worst"] for run in runs]),
                            over_folds([run["worst_fixed"] for run in runs]),
                        )
                    ),
                    shown(over_folds([run["quality"] for run in runs]), 4),
                    shown(over_folds([run["fixed"] for run in runs]), 4),
                    f"{gain[0]:+.4f} ±{gain[1]:.4f}",
                ]
            )
    head = [
        "answers, budget",
        "worst ten minutes",
        "the same, fixed threshold",
        "quality",
        "quality, fixed",
        "difference",
    ]
    return table(head, body)


CASCADES_TITLE = "Cascades: thresholds from the training files, applied to the test files"


def sections(data: Path, vectors: Vectors | None) -> Iterator[tuple[str, str]]:
    sets = [load(data) for load in (records.gsm8k, records.mmlu, records.mmlu_pro, records.mix)]
    kept = Predicted({}, {})
    predictors: dict[str, Predictor] = {"TF-IDF ridge": by_tfidf, "linear": partial(by_linear, keep=kept.models)}
    if vectors is not None:
        predictors["embedding"] = partial(by_embedding, vectors=vectors)
    yield "Predictive routers, five folds", predictive(sets, predictors, kept)
    yield CASCADES_TITLE, cascades(data)
    yield f"The promise, over {DRAWS} random calibration sets", bound(data, sets, kept)
    pairs, linear = sets[0], kept.models[sets[0].name]
    embedded = None
    if vectors is not None:
        learn = np.setdiff1d(np.arange(len(pairs.prompts)), folds(len(pairs.prompts))[-1])
        outcomes = Outcomes(pairs.small[learn], pairs.large[learn])
        embedded = train_embedding(vectors(pairs.prompts)[learn], outcomes, [str(place) for place in learn])
    yield (
        "Decisions that a change of the prompt turns (GSM8K, threshold at the median)",
        robustness(pairs, linear, embedded, vectors),
    )
    yield (
        "Microseconds of a decision, models' calls not counted",
        table(["scorer", "µs, median (least to most)"], serving.microseconds(pairs, linear, embedded)),
    )
    yield "Spend held on the Azure conversation trace", objective(data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--embedder", type=Path, help="folder of a transformers embedding model; left out without it")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "pilotfish-benchmarks")
    parser.add_argument("--cascades-only", action="store_true", help="the table of cascades alone: a minute or two")
    parser.add_argument("--scale", type=Scale, default=Scale.ODDS, help="of logprob, with --cascades-only")
    parser.add_argument("--write", type=Path, help="the document whose marked part is replaced")
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"skipped: the records are not at {options.data}; give --data")
        return
    if options.cascades_only:
        print(cascades(options.data, options.scale))
        return
    vectors = partial(records.vectors, model=options.embedder, cache=options.cache) if options.embedder else None
    parts: list[str] = []
    started = time.perf_counter()
    for title, text in sections(options.data, vectors):
        parts.append(f"### {title}\n\n{text}\n")
        print(parts[-1], flush=True)
        print(f"({time.perf_counter() - started:.0f} s)", file=sys.stderr)
    if options.write:
        before, _, rest = options.write.read_text().partition(BEGIN)
        _, _, after = rest.partition(END)
        options.write.write_text(f"{before}{BEGIN}\n\n" + "\n".join(parts) + f"\n{END}{after}")


if __name__ == "__main__":
    main()
