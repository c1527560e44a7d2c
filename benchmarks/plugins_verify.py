"""`plugins.py verify`: how well the signals of the plugin verify separate supported from unsupported sentences."""

import argparse
import asyncio
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from pilotfish.calibration.recording import Gateway, RecordingModels
from pilotfish.plugin_api.models import Models
from pilotfish.testing.models import StandInModels
from pilotfish_verify import Config, Weights
from pilotfish_verify.calibration import FOLDS, SIGNALS, Labelled, auc, calibrate
from pilotfish_verify.context import passages_of
from pilotfish_verify.judging import JUDGE, SCORER, Judge, probability_of

DESCRIPTION = """The area under the ROC curve of each signal of verify, and of their combination.

    python benchmarks/plugins.py verify --data FILE.jsonl

    pilotfish up examples/quickstart                                        # in another shell
    python benchmarks/plugins.py verify --data FILE.jsonl --judge small --learn OTHER.jsonl

A row of a file has context, sentence and label (1: the context supports the sentence, 0: it does not). Each row is
judged as one sentence. The pools are those of the gateway at --url. --learn is another set, from which weights are
learned that are then applied to --data. Signals of pools are kept in --out: an interrupted run continues.
"""

RESAMPLES = 1000
AT_ONCE = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="rows to measure on")
    parser.add_argument("--learn", type=Path, help="rows of another set to learn weights from")
    parser.add_argument("--most", type=int, help="take a random sample of this many rows of each file")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the gateway, or another server")
    parser.add_argument("--judge", help="the Generate pool to ask for yes or no")
    parser.add_argument("--scorer", help="the Score pool to ask for relevance")
    parser.add_argument("--out", type=Path, default=Path("verify-signals.jsonl"), help="where signals are kept")


def run(options: argparse.Namespace) -> None:
    asyncio.run(measure(options))


async def measure(options: argparse.Namespace) -> None:
    config = Config(weights=Weights(yes=1 if options.judge else 0, score=1 if options.scorer else 0))
    roles = {role: pool for role, pool in ((JUDGE, options.judge), (SCORER, options.scorer)) if pool}
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        models = RecordingModels(Gateway(http, options.url), roles) if roles else StandInModels()
        kept = Kept(options.out, roles)
        data = sample(read(options.data), options.most)
        rows = await signals_of(data, config, models, kept)
        learned = None
        if options.learn:
            other = await signals_of(sample(read(options.learn), options.most), config, models, kept)
            learned = calibrate(other).weights
    report(data, rows, learned)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def key_of(row: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps([row["context"], row["sentence"]]).encode()).hexdigest()[:24]


def sample(rows: Sequence[dict[str, Any]], most: int | None) -> list[dict[str, Any]]:
    return sorted(rows, key=key_of)[:most]


class Kept:
    """Signals of pools that were computed before, in a file."""

    def __init__(self, path: Path, roles: Mapping[str, str]) -> None:
        self._path, self._roles = path, dict(roles)
        lines = read(path) if roles and path.exists() else []
        self._found = {each["row"]: each["signals"] for each in lines if each["roles"] == self._roles}

    def get(self, row: Mapping[str, Any]) -> dict[str, float] | None:
        return self._found.get(key_of(row))

    def add(self, row: Mapping[str, Any], signals: Mapping[str, float]) -> None:
        if self._roles:
            with self._path.open("a") as file:
                file.write(json.dumps({"row": key_of(row), "roles": self._roles, "signals": signals}) + "\n")


async def signals_of(rows: Sequence[dict[str, Any]], config: Config, models: Models, kept: Kept) -> list[Labelled]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(row: dict[str, Any]) -> Labelled:
        overlap = await Judge(Config(), passages_of(row["context"]), models).signals(row["sentence"])
        signals = kept.get(row)
        if signals is None:
            async with limit:
                signals = await Judge(config, passages_of(row["context"]), models).signals(row["sentence"])
            kept.add(row, signals)
        return Labelled({**signals, **overlap}, bool(row["label"]))

    return await asyncio.gather(*map(one, rows))


def shared_words(row: Mapping[str, Any]) -> float:
    """The plain overlap: the share of the sentence's distinct words that occur in the context."""
    context, sentence = (set(re.findall(r"\w+", row[name].lower())) for name in ("context", "sentence"))
    return len(sentence & context) / max(1, len(sentence))


def report(data: Sequence[Mapping[str, Any]], rows: Sequence[Labelled], learned: Weights | None) -> None:
    supported = np.array([row.supported for row in rows])
    columns = {"plain overlap: share of words": [shared_words(row) for row in data]}
    for name in SIGNALS:
        if name in rows[0].signals:
            columns[f"`{name}`"] = [row.signals[name] for row in rows]
    overlap = Config().weights
    columns["default weights (overlap alone)"] = [
        probability_of({name: row.signals[name] for name in ("words", "pairs", "numbers")}, overlap) for row in rows
    ]
    if learned:
        columns["weights learned on the other set"] = [probability_of(row.signals, learned) for row in rows]
    print(f"{len(rows)} rows, {supported.sum()} supported\n")
    print("| signal | AUC (95% interval) |\n|---|---|")
    rng = np.random.default_rng(7)
    samples = [rng.integers(0, len(rows), len(rows)) for _ in range(RESAMPLES)]
    samples = [places for places in samples if 0 < supported[places].sum() < len(places)]
    for name, values in columns.items():
        scores = np.array(values)
        low, high = np.quantile([auc(supported[places], scores[places]) for places in samples], [0.025, 0.975])
        print(f"| {name} | {auc(supported, scores):.3f} ({low:.3f} to {high:.3f}) |")
    print(f"| all, {FOLDS} folds of this set | {calibrate(rows).auc:.3f} |")
    if learned:
        print(f"\nlearned: {learned.to_manifest()}")
