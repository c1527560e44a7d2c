"""`plugins.py guard`: what the checks of a guard find in labelled strings, and what they find in clean ones."""

import argparse
import asyncio
import hashlib
import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from scipy import stats

from pilotfish.calibration.recording import Gateway, RecordingModels
from pilotfish.plugin_api.adaptations import Channel, Conversation
from pilotfish.plugin_api.models import Models
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.models import StandInModels
from pilotfish_guard import Guard

DESCRIPTION = """Recall and false alarms of each check of a guard.

    python benchmarks/plugins.py guard --data FILE.jsonl
    python benchmarks/plugins.py guard --data FILE.jsonl --where Answer --stuck

    pilotfish up examples/quickstart                                        # in another shell
    python benchmarks/plugins.py guard --data FILE.jsonl --pool judge=small

A row of a file has text and label (1: to be found, 0: clean). --manifest has an AdaptationPlugin of type guard, whose
checks are applied to every row as a message of a user, or as an answer. Each check counts alone, with its threshold.
Pools are those of the gateway at --url. --stuck adds to each clean row one that repeats its last words without end.
"""

MANIFEST = Path("plugins/pilotfish-guard/router.yaml")
AT_ONCE = 4
SEED = 7


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, action="append", help="rows to measure on; may be repeated")
    parser.add_argument("--manifest", type=Path, default=MANIFEST, help="a file with the AdaptationPlugin")
    parser.add_argument("--where", choices=("Request", "Answer"), default="Request", help="what the rows are")
    parser.add_argument("--most", type=int, help="take a random sample of this many rows of each file")
    parser.add_argument("--stuck", action="store_true", help="add rows that repeat their last words")
    parser.add_argument("--pool", action="append", default=[], metavar="ROLE=POOL", help="a pool that checks ask")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the gateway, or another server")


def run(options: argparse.Namespace) -> None:
    asyncio.run(measure(options))


async def measure(options: argparse.Namespace) -> None:
    roles = dict(each.split("=", 1) for each in options.pool)
    rows = [row for path in options.data for row in sample(read(path), options.most)]
    if options.stuck:
        draw = random.Random(SEED)
        rows += [{"text": stuck(draw, row["text"]), "label": 1} for row in rows if not int(row["label"])]
    thresholds = {check["name"]: check for check in checks(options.manifest, options.where, roles)}
    guard = Guard.from_settings(Settings({"checks": [flagging(check) for check in thresholds.values()]}))
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as http:
        models = RecordingModels(Gateway(http, options.url), roles) if roles else StandInModels()
        found = await findings(guard, rows, options.where, models)
    report(rows, found, thresholds)


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines() if line.strip()]


def sample(rows: Sequence[dict[str, Any]], most: int | None) -> list[dict[str, Any]]:
    return sorted(rows, key=lambda row: hashlib.sha256(row["text"].encode()).digest())[:most]


def stuck(draw: random.Random, text: str) -> str:
    """The text, and its last words again and again."""
    last = " ".join(text.split()[-draw.randint(1, 30) :])
    return text + "".join(f" {last}" for _ in range(draw.randint(8, 20) + 300 // max(1, len(last))))


def checks(manifest: Path, where: str, roles: Mapping[str, str]) -> list[dict[str, Any]]:
    """The checks that apply, without those that ask a pool that was not given."""
    plugins = [each for each in yaml.safe_load_all(manifest.read_text()) if each["kind"] == "AdaptationPlugin"]
    found = [check for plugin in plugins for check in plugin["spec"]["config"]["checks"]]
    found = [check for check in found if where in check.get("where", [where])]
    needed = [check.get("classifier", {}).get("role") or ("judge" if "judge" in check else None) for check in found]
    return [check for check, role in zip(found, needed, strict=True) if role is None or role in roles]


def flagging(check: Mapping[str, Any]) -> dict[str, Any]:
    """The check, so that it flags every text with its probability."""
    asked = {name: {**check[name], "thresholdPermille": 0} for name in ("classifier", "judge") if name in check}
    return {**check, **asked, "action": "Flag"}


async def findings(
    guard: Guard, rows: Sequence[Mapping[str, Any]], where: str, models: Models
) -> list[dict[str, float]]:
    limit = asyncio.Semaphore(AT_ONCE)

    async def one(text: str) -> dict[str, float]:
        async with limit:
            if where == "Request":
                asked = Conversation(({"role": "user", "content": text},))
                result = await guard.on_request(conversation=asked, models=models)
                return dict(result.notes["request"]) if result else {}
            stream = guard.on_answer(conversation=Conversation(()), state=None, models=models, channel=Channel())
            if stream is None:
                return {}
            await stream.push(text)
            return dict((await stream.end("stop")).notes.get("answer", {}))

    return await asyncio.gather(*(one(row["text"]) for row in rows))


def report(rows: Sequence[Mapping[str, Any]], found: Sequence[Mapping[str, float]], named: Mapping[str, Any]) -> None:
    labels = [bool(int(row["label"])) for row in rows]
    print(f"{sum(labels)} rows to be found, {len(labels) - sum(labels)} clean rows\n")
    print("| check | found (95% interval) | false alarms (95% interval) | AUC |\n|---|---|---|---|")
    hits: dict[str, list[bool]] = defaultdict(list)
    for name, check in named.items():
        asked = check.get("classifier") or check.get("judge")
        default = 900 if "classifier" in check else 500
        threshold = asked.get("thresholdPermille", default) / 1000 if asked else 1.0
        scores = [each.get(name, 0.0) for each in found]
        hits[name] = [score >= threshold for score in scores]
        print(f"| {name} | {rates(hits[name], labels)} | {auc(scores, labels) if asked else ''} |")
    print(f"| any | {rates([any(each) for each in zip(*hits.values(), strict=True)], labels)} | |")


def rates(hits: Sequence[bool], labels: Sequence[bool]) -> str:
    shown = []
    for wanted in (True, False):
        chosen = [hit for hit, label in zip(hits, labels, strict=True) if label == wanted]
        if not chosen:
            shown.append("no rows")
            continue
        interval = stats.binomtest(sum(chosen), len(chosen)).proportion_ci(method="wilson")
        share = sum(chosen) / len(chosen)
        shown.append(f"{sum(chosen)} of {len(chosen)}, {share:.1%} ({interval.low:.1%} to {interval.high:.1%})")
    return " | ".join(shown)


def auc(scores: Sequence[float], labels: Sequence[bool]) -> str:
    bad = [score for score, label in zip(scores, labels, strict=True) if label]
    clean = [score for score, label in zip(scores, labels, strict=True) if not label]
    if not bad or not clean:
        return ""
    return f"{stats.mannwhitneyu(bad, clean).statistic / len(bad) / len(clean):.3f}"
