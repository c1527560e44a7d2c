"""How well does `linear` rank prompts after learning from few labels? Measured on public records; no model runs.

    .venv/bin/python benchmarks/few_labels.py --data ../shared/data [--labels 200] [--draws 60]

Each draw learns from some prompts and ranks the others of a sample. TF-IDF ridge on the same draws is the baseline.
"""

import argparse
from pathlib import Path

import numpy as np
import routing_data as records
from routing import by_linear, by_tfidf, shown, table

from pilotfish.calibration.statistics.metrics import apgr

SAMPLE = 1800
SEED = 11


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--labels", type=int, default=200)
    parser.add_argument("--draws", type=int, default=60)
    options = parser.parse_args()
    if not options.data.is_dir():
        print(f"skipped: the records are not at {options.data}; give --data")
        return
    body = []
    for load in (records.gsm8k, records.mmlu, records.mmlu_pro, records.mix):
        pairs, random = load(options.data), np.random.default_rng(SEED)
        sample = random.permutation(len(pairs.prompts))[:SAMPLE]
        areas: dict[str, list[float]] = {"linear": [], "TF-IDF ridge": []}
        for _ in range(options.draws):
            order = random.permutation(sample)
            learn, test = order[: options.labels], order[options.labels :]
            for name, predictor in (("linear", by_linear), ("TF-IDF ridge", by_tfidf)):
                areas[name].append(apgr(predictor(pairs, learn, test), pairs.small[test], pairs.large[test]))
        body.append([pairs.name, *(shown((float(np.mean(found)), float(np.std(found)))) for found in areas.values())])
    print(table(["set", "linear, APGR", "TF-IDF ridge, APGR"], body))
    print(f"\nMean and standard deviation over {options.draws} draws of {options.labels} labels.")


if __name__ == "__main__":
    main()
