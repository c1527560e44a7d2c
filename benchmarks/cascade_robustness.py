"""How often does a change of the prompt turn a cascade's decision? On recorded answers of a real small model.

    .venv/bin/python benchmarks/cascade_robustness.py prompts questions.jsonl --limit 30 > variants.jsonl
    .venv/bin/pilotfish record variants.jsonl examples/calibrate examples/quickstart/pools.yaml --max-tokens 32 \\
        --out variants-log.jsonl
    .venv/bin/python benchmarks/cascade_robustness.py table variants-log.jsonl

The changes are those that benchmarks/routing.py tries on routers by the prompt. Each scorer's threshold is the score
that parts the unchanged prompts most evenly. Bands are of 95%.
"""

import argparse
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import orjson
from routing import table
from routing_serving import CHANGES
from scipy import stats

from pilotfish.calibration.log import RecordedRequest, read_log
from pilotfish.calibration.recording import read_prompts, sample

PLAIN = "plain"


def variants(questions: Path, limit: int | None) -> list[dict[str, str]]:
    """Every question unchanged, and after each change that has an effect on it."""
    found = []
    for prompt, _ in sample(read_prompts(questions), limit):
        text = str(prompt.conversation[-1]["content"])
        versions = {PLAIN: text, **{name: change(text) for name, change in CHANGES.items()}}
        found += [
            {"id": f"{prompt.id}|{name}", "prompt": version}
            for name, version in versions.items()
            if name == PLAIN or version != text
        ]
    return found


def scores(entries: Sequence[RecordedRequest]) -> dict[str, dict[str, dict[str, int]]]:
    """Permille of the first pool's answer: by scorer, change, and question."""
    found: dict[str, dict[str, dict[str, int]]] = defaultdict(lambda: defaultdict(dict))
    for entry in entries:
        question, _, change = entry.id.partition("|")
        for scorer, permille in entry.stages[0].scores.items():
            found[scorer][change][question] = permille
    return found


def even_threshold(values: Sequence[int]) -> int:
    """The score at which the share of accepted prompts is nearest to a half."""
    return min(sorted(set(values)), key=lambda value: abs(float(np.mean(np.array(values) >= value)) - 0.5))


def turned(of_scorer: Mapping[str, Mapping[str, int]], change: str, threshold: int) -> str:
    before = of_scorer[PLAIN]
    turns = [(of_scorer[change][key] >= threshold) != (before[key] >= threshold) for key in of_scorer[change]]
    interval = stats.binomtest(sum(turns), len(turns)).proportion_ci(0.95, method="wilson")
    return f"{np.mean(turns):.2f} ({interval.low:.2f} to {interval.high:.2f}) of {len(turns)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("prompts", "table"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    if options.what == "prompts":
        for row in variants(options.file, options.limit):
            sys.stdout.buffer.write(orjson.dumps(row) + b"\n")
        return
    found = scores(read_log(options.file))
    thresholds = {scorer: even_threshold(list(changes[PLAIN].values())) for scorer, changes in found.items()}
    body = [
        [change, *(turned(of_scorer, change, thresholds[scorer]) for scorer, of_scorer in found.items())]
        for change in CHANGES
        if all(change in of_scorer for of_scorer in found.values())
    ]
    print(table(["change", *(f"{scorer}, from {thresholds[scorer]}" for scorer in found)], body))


if __name__ == "__main__":
    main()
