"""`plugins.py glossary`: questions that use made-up terms, asked with and without their definitions."""

import argparse
import asyncio
import json
import random
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import aiohttp
from scipy import stats

from pilotfish.calibration.recording import Gateway
from pilotfish.plugin_api.adaptations import Conversation
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.models import StandInModels
from pilotfish_glossary import Glossary
from pilotfish_glossary.entries import Entry
from pilotfish_glossary.linking import Linker

DESCRIPTION = """Questions with made-up terms, asked with and without glossary; and the time to link terms.

    python benchmarks/plugins.py glossary                                   # the time alone
    pilotfish up examples/quickstart                                        # in another shell
    python benchmarks/plugins.py glossary --pool small --pool large

A row of --data has term, aliases, definition, question, and check, a pattern that right answers have. Temperature 0.
The plugin has the definitions of all rows, and runs in this process; pools are those of the gateway at --url.
"""

DATA = Path("benchmarks/glossary_questions.jsonl")
SYSTEM = {"role": "system", "content": "You answer questions of employees in one short sentence."}
ENTRIES = 10_000
WORDS = 1000
ROUNDS = 50


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, default=DATA, help="rows to measure on")
    parser.add_argument("--pool", action="append", default=[], help="a pool to ask; may be repeated")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the gateway, or another server")


def run(options: argparse.Namespace) -> None:
    measure_time()
    if options.pool:
        asyncio.run(measure(options))


def measure_time() -> None:
    """The milliseconds of one pass over a question."""
    draw = random.Random(7)
    words = ["".join(draw.choices("abcdefghijklmnop", k=draw.randint(3, 9))) for _ in range(20_000)]
    linker = Linker([Entry(term=" ".join(draw.sample(words, 2)), definition="It is.") for _ in range(ENTRIES)])
    question = " ".join(draw.choices(words, k=WORDS))
    started = time.process_time()
    for _ in range(ROUNDS):
        linker.mentions(question)
    passed = (time.process_time() - started) / ROUNDS
    print(f"{1000 * passed:.1f} ms of CPU to link {WORDS} words with {ENTRIES} entries\n")


async def measure(options: argparse.Namespace) -> None:
    rows = [json.loads(line) for line in options.data.read_text().splitlines()]
    entries = [{name: row[name] for name in ("term", "aliases", "definition")} for row in rows]
    glossary = Glossary.from_settings(Settings({"entries": entries}))
    print("| pool | without glossary | with glossary | right only with it, only without it | exact p |")
    print("|---|---|---|---|---|")
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as http:
        gateway = Gateway(http, options.url)
        for pool in options.pool:
            before, after = [], []
            for row in rows:
                messages: Sequence[Mapping[str, Any]] = (SYSTEM, {"role": "user", "content": row["question"]})
                before.append(await right(gateway, pool, messages, row["check"]))
                added = await glossary.on_request(conversation=Conversation(tuple(messages)), models=StandInModels())
                after.append(await right(gateway, pool, added.messages if added else messages, row["check"]))
            gained = sum(now and not then for then, now in zip(before, after, strict=True))
            lost = sum(then and not now for then, now in zip(before, after, strict=True))
            p = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
            shares = f"{sum(before)} of {len(rows)} | {sum(after)} of {len(rows)}"
            print(f"| {pool} | {shares} | {gained}, {lost} | {p:.2g} |")


async def right(gateway: Gateway, pool: str, messages: Sequence[Mapping[str, Any]], check: str) -> bool:
    body = {"model": pool, "messages": list(messages), "temperature": 0, "max_tokens": 48}
    answer = await gateway.post("/chat/completions", body)
    return bool(re.search(check, answer["choices"][0]["message"]["content"], re.IGNORECASE))
