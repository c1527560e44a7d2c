"""`plugins.py prompting`: questions with checks, asked with and without a plugin that changes the prompt."""

import argparse
import asyncio
import gzip
import random
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import orjson
from scipy import stats

from pilotfish.calibration.recording import Gateway, RecordingModels, read_prompts, sample
from pilotfish.plugin_api.adaptations import Conversation, OnRequest, Rewritten
from pilotfish.plugin_api.settings import Settings
from pilotfish.testing.models import StandInModels
from pilotfish.testing.preparing import InMemoryDocuments, StandInWorkspace
from pilotfish_decompose import Decompose
from pilotfish_knowledge_card import KnowledgeCard
from pilotfish_prompt_retrieval import PromptRetrieval, demonstration_id

DESCRIPTION = """Questions with checks, asked with and without prompt-retrieval, knowledge-card or decompose.

    pilotfish up examples/quickstart                                        # in another shell
    sed -n 'p;n' examples/calibrate/questions.jsonl > half.jsonl
    sed -n 'n;p' examples/calibrate/questions.jsonl > other.jsonl
    python benchmarks/plugins.py prompting prompt-retrieval other.jsonl --learn half.jsonl
    python benchmarks/plugins.py prompting knowledge-card other.jsonl --category fact
    python benchmarks/plugins.py prompting decompose other.jsonl --category fact --join 3 --max-tokens 64

A file of questions is JSONL with id, prompt and check as `pilotfish record` reads it, or with question and
ground_truth, whose last number is the answer. Temperature 0. The plugins run in this process, the pools behind the
gateway at --url. Results are kept in --out: an interrupted run continues where it stopped.
"""

SEED = 7
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")
BY_STEPS = "\n\nThink step by step, briefly. End with a line of the form: Answer: <number>"
HEAD = ("asked", "right (95% interval)", "against the pool alone", "prompts changed", "seconds, mean", "questions")
NO_POOLS = StandInModels(missing=frozenset({"embedder"}))
ROOM = 1200
"""Tokens that a plugin may add in the quickstart's windows of 2048 tokens."""


@dataclass(frozen=True)
class Task:
    """A question, a good answer, and whether an answer is right."""

    id: str
    prompt: str
    answer: str
    holds: Callable[[str], bool]


@dataclass(frozen=True)
class Arm:
    """One way to ask: a pool, and what changes the prompt before."""

    name: str
    pool: str
    plugin: OnRequest | None = None
    roles: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Asked:
    """One question, asked one way."""

    arm: str
    id: str
    right: bool
    changed: bool
    seconds: float
    answer: str


def read_tasks(path: Path, category: str | None, limit: int | None) -> list[Task]:
    """At most `limit` tasks, always the same of a file."""
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    rows = [orjson.loads(line) for line in raw.splitlines() if line.strip()]
    if "ground_truth" in rows[0]:
        chosen = random.Random(SEED).sample(rows, min(limit or len(rows), len(rows)))
        return [_of_solution(row) for row in chosen]
    prompts = [
        (prompt, check) for prompt, check in read_prompts(path) if category is None or prompt.category == category
    ]
    return [
        Task(prompt.id, prompt.prompt or "", _expected(prompt.check or {}), check.holds)
        for prompt, check in sample(prompts, limit)
        if check
    ]


def joined(tasks: Sequence[Task], count: int) -> list[Task]:
    """Tasks of `count` questions each, right if every one of them is answered."""
    groups = [tasks[start : start + count] for start in range(0, len(tasks) - count + 1, count)]
    return [
        Task(
            "+".join(task.id for task in group),
            "Answer all of these questions. " + " ".join(task.prompt for task in group),
            " ".join(task.answer for task in group),
            lambda answer, group=group: all(task.holds(answer) for task in group),
        )
        for group in groups
    ]


def _expected(check: Mapping[str, Any]) -> str:
    return str(check.get("value") or check["any"][0])


def _of_solution(row: Mapping[str, str]) -> Task:
    question, expected = row["question"], _last_number(row["ground_truth"])
    return Task(
        sha256(question.encode()).hexdigest()[:12],
        question + BY_STEPS,
        str(expected),
        lambda answer: _last_number(answer) == expected,
    )


def _last_number(text: str) -> float | None:
    found = NUMBER.findall(text)
    return float(found[-1].replace(",", "")) if found else None


@dataclass(frozen=True)
class Shown:
    """The same demonstrations for every question, or `count` of them drawn at random for each."""

    tasks: Sequence[Task]
    count: int | None = None

    async def on_request(self, *, conversation: Conversation, models: Any) -> Rewritten:
        *history, last = conversation.messages
        drawn = self.tasks if self.count is None else random.Random(str(last)).sample(self.tasks, self.count)
        turns = [
            turn
            for task in drawn
            for turn in ({"role": "user", "content": task.prompt}, {"role": "assistant", "content": task.answer})
        ]
        return Rewritten((*history, *turns, last))


@dataclass
class Measurement:
    """Asks tasks of arms, several at once, and keeps every answer."""

    gateway: Gateway
    out: Path
    at_once: int
    max_tokens: int

    def __post_init__(self) -> None:
        raw = self.out.read_bytes() if self.out.exists() else b""
        self.known = {}
        for line in raw[: raw.rfind(b"\n") + 1].splitlines():
            row = Asked(**orjson.loads(line))
            self.known[row.arm, row.id] = row
        self._slots = asyncio.Semaphore(self.at_once)

    async def ask(self, task: Task, arm: Arm) -> None:
        """Ask, unless the answer is known."""
        if (arm.name, task.id) in self.known:
            return
        async with self._slots:
            started = time.perf_counter()
            messages = await self._messages(task, arm)
            body = {"model": arm.pool, "messages": list(messages), "temperature": 0, "max_tokens": self.max_tokens}
            answer = await self.gateway.post("/chat/completions", body)
            seconds = time.perf_counter() - started
        text = answer["choices"][0]["message"]["content"] or ""
        asked = Asked(
            arm.name,
            task.id,
            task.holds(text),
            len(messages) > 1 or messages[0]["content"] != task.prompt,
            seconds,
            text,
        )
        self.known[arm.name, task.id] = asked
        with self.out.open("ab") as file:
            file.write(orjson.dumps(asdict(asked)) + b"\n")

    async def _messages(self, task: Task, arm: Arm) -> Sequence[Mapping[str, Any]]:
        messages = ({"role": "user", "content": task.prompt},)
        if arm.plugin is None:
            return messages
        models = RecordingModels(self.gateway, arm.roles or {})
        conversation = Conversation(messages, context_tokens=ROOM, max_tokens=self.max_tokens)
        result = await arm.plugin.on_request(conversation=conversation, models=models)
        return result.messages if isinstance(result, Rewritten) else messages


async def prepared(rows: Sequence[Mapping[str, Any]], config: Mapping[str, Any], folder: Path) -> PromptRetrieval:
    """The plugin over these rows, with BM25."""
    documents = InMemoryDocuments({"rows.jsonl": b"\n".join(orjson.dumps(row) for row in rows)})
    plugin = PromptRetrieval.from_settings(Settings(config))
    await plugin.prepare(documents=documents, into=StandInWorkspace(folder), models=NO_POOLS, progress=lambda *_: None)
    return PromptRetrieval.from_settings(Settings(config, prepared=folder))


async def trials_of(measurement: Measurement, pool: str, tasks: Sequence[Task], each: int, folder: Path) -> list[Any]:
    """Trial rows: every task without demonstrations, and after each of its `each` nearest among the others."""
    by_id = {demonstration_id(task.prompt, task.answer): task for task in tasks}
    plugin = await prepared([_demonstration(task) for task in tasks], {"demonstrations": each + 1}, folder)
    alone = Arm(f"{pool} learning", pool)
    asked = [(task, alone, []) for task in tasks]
    for task in tasks:
        conversation = Conversation(({"role": "user", "content": task.prompt},))
        result = await plugin.on_request(conversation=conversation, models=NO_POOLS)
        near = [note["id"] for note in result.notes["demonstrations"]] if result else []
        near = [name for name in near if by_id[name].prompt != task.prompt][:each]
        asked += [(task, Arm(f"{pool} after {name}", pool, Shown([by_id[name]])), [name]) for name in near]
    await asyncio.gather(*(measurement.ask(task, arm) for task, arm, _ in asked))
    return [
        {
            "input": task.prompt,
            "demonstrations": shown,
            "quality": float(measurement.known[arm.name, task.id].right),
        }
        for task, arm, shown in asked
    ]


def _demonstration(task: Task) -> dict[str, str]:
    return {"input": task.prompt, "output": task.answer}


async def prompt_retrieval(options: argparse.Namespace, measurement: Measurement) -> list[Arm]:
    """No, random, similar, and similar and useful demonstrations. Usefulness is learned with the first pool."""
    learn = read_tasks(options.learn, options.category, options.learn_limit)
    config = {"demonstrations": options.demonstrations, "maxTokens": ROOM}
    rows: list[Mapping[str, Any]] = [_demonstration(task) for task in learn]
    arms = []
    with tempfile.TemporaryDirectory() as place:
        similar = await prepared(rows, config, Path(place, "similar"))
        learned = await trials_of(measurement, options.pools[0], learn, options.trials, Path(place, "trials"))
        useful = await prepared([*rows, *learned], config, Path(place, "useful"))
    for pool in options.pools:
        arms += [
            Arm(pool, pool),
            Arm(f"{pool}, random demonstrations", pool, Shown(learn, options.demonstrations)),
            Arm(f"{pool}, similar demonstrations", pool, similar),
            Arm(f"{pool}, similar and useful demonstrations", pool, useful),
        ]
    return arms


async def knowledge_card(options: argparse.Namespace, measurement: Measurement) -> list[Arm]:
    """Each pool alone, and with the other one's card."""
    plugin = KnowledgeCard.from_settings(Settings({"maxTokens": 100}))
    return [
        arm
        for pool, expert in zip(options.pools, reversed(options.pools), strict=True)
        for arm in (Arm(pool, pool), Arm(f"{pool}, card by {expert}", pool, plugin, {"expert": expert}))
    ]


async def decompose(options: argparse.Namespace, measurement: Measurement) -> list[Arm]:
    """Each pool alone, and after answers to parts by the first pool, which also splits."""
    plugin = Decompose.from_settings(Settings({"maxParts": 3, "maxPartTokens": 100, "partSeconds": 600}))
    roles = {"splitter": options.pools[0], "solver": options.pools[0]}
    return [
        arm
        for pool in options.pools
        for arm in (Arm(pool, pool), Arm(f"{pool}, parts by {options.pools[0]}", pool, plugin, roles))
    ]


TECHNIQUES = {"prompt-retrieval": prompt_retrieval, "knowledge-card": knowledge_card, "decompose": decompose}


def row_of(arm: Arm, base: Sequence[Asked], found: Sequence[Asked]) -> str:
    """A line of the table. `base`: the same questions, asked of the pool alone."""
    right = np.array([each.right for each in found])
    before = np.array([each.right for each in base])
    wilson = stats.binomtest(int(right.sum()), len(right)).proportion_ci(0.95, method="wilson")
    gained, lost = int((right & ~before).sum()), int((~right & before).sum())
    chance = stats.binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
    cells = (
        arm.name,
        f"{right.mean():.1%} ({wilson.low:.1%} to {wilson.high:.1%})",
        f"+{gained} -{lost} (p = {chance:.2f})" if arm.plugin else "",
        f"{np.mean([each.changed for each in found]):.0%}",
        f"{np.mean([each.seconds for each in found]):.1f}",
        str(len(found)),
    )
    return f"| {' | '.join(cells)} |"


def table(arms: Sequence[Arm], tasks: Sequence[Task], known: Mapping[tuple[str, str], Asked]) -> str:
    lines = [f"| {' | '.join(HEAD)} |", f"|{' --- |' * len(HEAD)}"]
    for arm in arms:
        base = [known[arm.pool, task.id] for task in tasks]
        lines.append(row_of(arm, base, [known[arm.name, task.id] for task in tasks]))
    return "\n".join(lines)


async def _run(options: argparse.Namespace) -> None:
    timeout = aiohttp.ClientTimeout(total=3600)
    async with aiohttp.ClientSession(timeout=timeout) as http:
        gateway = Gateway(http, options.url)
        measurement = Measurement(gateway, options.out, options.at_once, options.max_tokens)
        arms = await TECHNIQUES[options.technique](options, measurement)
        tasks = read_tasks(options.questions, options.category, options.limit)
        tasks = joined(tasks, options.join) if options.join > 1 else tasks
        await asyncio.gather(*(measurement.ask(task, arm) for task in tasks for arm in arms))
    print(table(arms, tasks, measurement.known))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("technique", choices=TECHNIQUES)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--learn", type=Path, help="the questions that demonstrations are made of (prompt-retrieval)")
    parser.add_argument("--learn-limit", type=int, help="only so many of them")
    parser.add_argument("--trials", type=int, default=3, help="demonstrations tried with each of them")
    parser.add_argument("--demonstrations", type=int, default=4)
    parser.add_argument("--pools", nargs="+", default=["small", "large"], help="the small one first")
    parser.add_argument("--category", help="only questions of this category")
    parser.add_argument("--limit", type=int, help="only so many questions")
    parser.add_argument("--join", type=int, default=1, help="ask so many questions as one")
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--url", default="http://127.0.0.1:8080")
    parser.add_argument("--out", type=Path, default=Path("asked.jsonl"))


def run(options: argparse.Namespace) -> None:
    if options.technique == "prompt-retrieval" and options.learn is None:
        raise SystemExit("prompt-retrieval needs --learn")
    asyncio.run(_run(options))
