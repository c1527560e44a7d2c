"""`plugins.py rewrite`: does a corrector repair damaged text, and what does it do to text without damage?"""

import argparse
import asyncio
import json
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from difflib import SequenceMatcher
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np

from pilotfish.calibration.recording import Gateway, RecordingModels
from pilotfish.plugin_api.adaptations import Channel, Conversation
from pilotfish_rewrite import Config, Rewrite

DESCRIPTION = """How many wrong words a passage has before and after the plugin rewrite.

    pilotfish up examples/quickstart                                        # in another shell
    python benchmarks/plugins.py rewrite --data FILE.jsonl --corrector small

A row of the file has a `text` without errors. Two letters are exchanged in some of the words, and the plugin corrects
the result. A word is wrong if it is missing or another than in the file. The same is done without damage.
Results are kept in --out: an interrupted run continues.
"""

DAMAGED = 0.15
"""The share of words with two letters exchanged."""
RESAMPLES = 1000
AT_ONCE = 4
INSTRUCTION = (
    "Correct the spelling of the passage. Change nothing else. If it has no error, repeat it unchanged. Write the "
    "corrected passage and nothing else."
)


@dataclass(frozen=True)
class Corrected:
    """Shares of wrong words, and the outcomes of the windows."""

    before: float
    after: float
    windows: dict[str, int]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", type=Path, required=True, help="JSONL with text")
    parser.add_argument("--most", type=int, default=100, help="the most passages")
    parser.add_argument("--url", default="http://127.0.0.1:8000", help="the gateway, or another server")
    parser.add_argument("--corrector", required=True, help="the Generate pool that corrects")
    parser.add_argument("--out", type=Path, default=Path("rewrite.jsonl"), help="where results are kept")
    parser.add_argument("--sentences", type=int, default=3, help="sentences of a window")


def run(options: argparse.Namespace) -> None:
    asyncio.run(measure(options))


async def measure(options: argparse.Namespace) -> None:
    lines = options.data.read_text().splitlines()
    passages = list(dict.fromkeys(json.loads(line)["text"] for line in lines if line.strip()))
    random.Random(7).shuffle(passages)
    plugin = Rewrite(Config(instruction=INSTRUCTION, sentences=options.sentences))
    found = Kept(options.out)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=600)) as http:
        models = RecordingModels(Gateway(http, options.url), {"corrector": options.corrector})
        limit = asyncio.Semaphore(AT_ONCE)

        async def kept(passage: str, share: float) -> str:
            key = sha256(f"{options.corrector} {options.sentences} {share} {passage}".encode()).hexdigest()
            async with limit:
                if key not in found.rows:
                    found.add(key, await corrected(plugin, models, passage, share), damaged=share > 0)
            return key

        chosen = passages[: options.most]
        keys = await asyncio.gather(*(kept(passage, share) for passage in chosen for share in (DAMAGED, 0.0)))
    print(f"{len(keys) // 2} passages\n")
    print("| passages | wrong words before | after | passages with more wrong words | windows |\n|---|---|---|---|---|")
    for name, is_damaged in (("with damage", True), ("without damage", False)):
        rows = [found.rows[key] for key in keys if found.rows[key]["damaged"] is is_damaged]
        worse = np.mean([row["after"] > row["before"] for row in rows])
        counted = sum((Counter(row["windows"]) for row in rows), Counter())
        windows = ", ".join(f"{count} {outcome}" for outcome, count in counted.most_common())
        before, after = (interval([row[place] for row in rows]) for place in ("before", "after"))
        print(f"| {name} | {before} | {after} | {worse:.1%} | {windows} |")


class Kept:
    """Results in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        lines = path.read_text().splitlines() if path.exists() else []
        self.rows: dict[str, dict[str, Any]] = {row["key"]: row for row in map(json.loads, lines)}

    def add(self, key: str, result: Corrected, *, damaged: bool) -> None:
        self.rows[key] = {"key": key, "damaged": damaged, **asdict(result)}
        with self._path.open("a") as file:
            file.write(json.dumps(self.rows[key]) + "\n")


async def corrected(plugin: Rewrite, models: RecordingModels, text: str, share: float) -> Corrected:
    given = damaged(text, share, random.Random(text))
    conversation = Conversation(({"role": "user", "content": ""},))
    stream = plugin.on_answer(conversation=conversation, state=None, models=models, channel=Channel())
    assert stream
    pushed, ended = await stream.push(given), await stream.end("stop")
    return Corrected(wrong(text, given), wrong(text, pushed.text + ended.text), ended.notes["windows"])


def damaged(text: str, share: float, chosen: random.Random) -> str:
    """The text with two inner letters exchanged in about this share of words with five or more letters."""
    words = text.split(" ")
    for place, word in enumerate(words):
        if len(word) >= 5 and word.isalpha() and chosen.random() < share:
            at = chosen.randrange(1, len(word) - 2)
            words[place] = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
    return " ".join(words)


def wrong(text: str, other: str) -> float:
    """The share of words that are missing or another in the other text, and of words that were added."""
    first, second = text.split(), other.split()
    same = sum(block.size for block in SequenceMatcher(None, first, second, autojunk=False).get_matching_blocks())
    return (max(len(first), len(second)) - same) / max(1, len(first))


def interval(shares: Sequence[float]) -> str:
    rng = np.random.default_rng(7)
    means = [np.mean(rng.choice(shares, len(shares))) for _ in range(RESAMPLES)]
    low, high = np.quantile(means, [0.025, 0.975])
    return f"{np.mean(shares):.1%} ({low:.1%} to {high:.1%})"
