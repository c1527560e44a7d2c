"""Proxy tuning on real engines: what a fine-tuned small model gives a large one, and what a token costs.

    python benchmarks/proxy_tuning.py --small FOLDER --large FOLDER --work FOLDER

The folders hold models of one family (`pilotfish fetch` prints where it puts them). The task is a made-up desk that
routes tickets to teams by their code: the codes are in no model. The small model learns them from some wordings; the
score is the share of right codes for tickets in other wordings. Speed is the time of one step for a batch of requests,
steered and not, measured in turns, as shares of the sum of the steps that the models take alone.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer

from pilotfish.api import ModelPool
from pilotfish.render.logits import LogitsSettings
from pilotfish.render.serve_application import CPU_ENVIRONMENT, ENGINE_ENVIRONMENT, EngineContext, engine_arguments

TEAMS = ("KESTREL-4", "OSPREY-7", "MERLIN-2", "HARRIER-9", "PLOVER-5", "AVOCET-8")
COMPONENTS = (
    "the badge printer", "the coolant loop", "the payroll export", "the loading dock door", "the wind tunnel",
    "the visitor kiosk", "the kiln controller", "the seed vault", "the conveyor scale", "the tide gauge",
    "the paint mixer", "the archive scanner",
)  # fmt: skip
LEARNED = (
    "{} has stopped working.", "Please send a technician to look at {}.", "We cannot use {} any more.",
    "{} shows error 17.", "Who looks after {}?", "A colleague reports smoke near {}.",
    "After the update {} does not start.", "Can you check {} today?",
)  # fmt: skip
HELD_OUT = (
    "We have not been able to get {} going since the power cut.", "It seems that {} needs to be serviced soon.",
    "Water is dripping onto {}!", "The auditor asked when {} was last inspected.",
)  # fmt: skip
SYSTEM = "You route tickets. Answer with the code of the responsible team and nothing else."
ANSWER_TOKENS = 10
SPEED_TOKENS = 16
ROUNDS = 9
TRAINED_LAYERS = 6


def tickets(wordings: Sequence[str]) -> list[tuple[str, str]]:
    """Each ticket with the code of its team."""
    return [
        (wording.format(component), TEAMS[(number * 7 + number // 6) % len(TEAMS)])
        for wording in wordings
        for number, component in enumerate(COMPONENTS)
    ]


def prompt(tokenizer: Any, ticket: str) -> list[int]:
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": ticket}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    found: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return found


@dataclass(frozen=True)
class Example:
    """Hidden states below the trained layers [tokens, width], and the tokens of the answer at the end."""

    hidden: torch.Tensor
    answer: list[int]


def train(small: Path, large: Path, into: Path, epochs: int) -> None:
    """Fine-tune the upper layers of the small model, in float32, on prompts as the large model sees them."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(large)
    model = AutoModelForCausalLM.from_pretrained(small, dtype=torch.bfloat16).requires_grad_(False)
    examples = list(prepared(model, tokenizer))
    lower, upper = model.model.layers[:-TRAINED_LAYERS], model.model.layers[-TRAINED_LAYERS:]
    model.model.layers = upper.float().requires_grad_(True)
    model.model.norm.float()
    optimizer = torch.optim.AdamW(upper.parameters(), lr=2e-4, weight_decay=0.0)
    for epoch in range(epochs):
        losses = []
        for batch in torch.randperm(len(examples)).split(12):
            loss = answer_loss(model, [examples[at] for at in batch.tolist()])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.item())
        print(f"training: epoch {epoch + 1} of {epochs}, loss {statistics.mean(losses):.3f}", flush=True)
    model.model.layers = torch.nn.ModuleList([*lower, *upper])
    model.to(torch.bfloat16).save_pretrained(into)
    AutoTokenizer.from_pretrained(small).save_pretrained(into)


def prepared(model: Any, tokenizer: Any) -> Iterator[Example]:
    """The examples. What is below the trained layers is computed once, because it does not change."""
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    below = len(model.model.layers) - TRAINED_LAYERS
    for ticket, code in tickets(LEARNED):
        answer = [*tokenizer(code)["input_ids"], end]
        ids = torch.tensor([[*prompt(tokenizer, ticket), *answer]])
        found = model.model(input_ids=ids, output_hidden_states=True, use_cache=False)
        yield Example(found.hidden_states[below][0].float(), answer)


def answer_loss(model: Any, batch: Sequence[Example]) -> torch.Tensor:
    """Cross-entropy of the answers' tokens. Logits are computed for these alone."""
    padded = pad_sequence([each.hidden for each in batch], batch_first=True)
    lengths = torch.tensor([len(each.hidden) for each in batch])
    mask = (torch.arange(padded.shape[1])[None] < lengths[:, None]).long()
    hidden = model.model(inputs_embeds=padded, attention_mask=mask, use_cache=False).last_hidden_state
    rows = [(row, len(each.hidden) - len(each.answer) - 1 + at) for row, each in enumerate(batch)
            for at in range(len(each.answer))]  # fmt: skip
    picked = hidden[[row for row, _ in rows], [at for _, at in rows]]
    logits = model.lm_head(picked.to(model.lm_head.weight.dtype)).float()
    return cross_entropy(logits, torch.tensor([token for each in batch for token in each.answer]))


class Engine:
    """vLLM with the arguments of a pool, in a process of its own."""

    def __init__(self, name: str, folder: Path, models: dict[str, Path] | None = None) -> None:
        spec = {"tier": "Small", "model": {"uri": f"file://{folder}"}, "engine": {"maxModelLength": 512}, "replicas": 1}
        api = {"apiVersion": "pilotfish.dev/v1alpha1", "kind": "ModelPool", "metadata": {"name": "pool"}}
        pool = ModelPool.model_validate({**api, "spec": spec})
        beside = {role: str(path) for role, path in (models or {}).items()}
        logits = (LogitsSettings("proxy-tuning", {}, beside),) if beside else ()
        arguments = engine_arguments(pool, EngineContext(str(folder), logits=logits))
        self.name = name
        self._process = subprocess.Popen(
            [sys.executable, __file__, "--engine", json.dumps({"model": str(folder), **arguments})],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | ENGINE_ENVIRONMENT | CPU_ENVIRONMENT | {"VLLM_LOGGING_LEVEL": "ERROR"},
        )
        self.ask([[1, 2, 3]], 4)

    def ask(self, prompts: list[list[int]], tokens: int, *, stop: bool = False) -> tuple[list[str], float]:
        """Greedy answers, and seconds for each step."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps([prompts, tokens, stop]) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("{"):
                answer = json.loads(line)
                return answer["texts"], answer["seconds"] / tokens
        raise RuntimeError(f"the engine {self.name} ended")

    def __enter__(self) -> "Engine":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait()


def serve_engine(arguments: dict[str, Any]) -> None:
    """The engine's process: a line of JSON for each line of JSON."""
    from vllm import LLM, SamplingParams  # noqa: PLC0415 - the other process needs no engine

    llm = LLM(**arguments)
    for line in sys.stdin:
        prompts, tokens, stop = json.loads(line)
        params = SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=not stop)
        began = time.perf_counter()
        found = llm.generate([{"prompt_token_ids": ids} for ids in prompts], params, use_tqdm=False)
        seconds = time.perf_counter() - began
        print(json.dumps({"texts": [each.outputs[0].text for each in found], "seconds": seconds}), flush=True)


def score(engine: Engine, tokenizer: Any) -> float:
    """Share of held-out tickets whose answer has the right code and no other."""
    asked = tickets(HELD_OUT)
    texts, _ = engine.ask([prompt(tokenizer, ticket) for ticket, _ in asked], ANSWER_TOKENS, stop=True)
    return statistics.mean(text.strip() == code for text, (_, code) in zip(texts, asked, strict=True))


def step_times(engines: Sequence[Engine], tokenizer: Any, batch: int) -> list[list[float]]:
    """Seconds of a decoding step of each engine, in turns. The prompt's share is measured apart and taken off."""
    prompts = [prompt(tokenizer, ticket) for ticket, _ in tickets(HELD_OUT)[:batch]]
    return [[_decode(engine, prompts) for engine in engines] for _ in range(ROUNDS)]


def _decode(engine: Engine, prompts: list[list[int]]) -> float:
    first = engine.ask(prompts, 1)[1]
    return (engine.ask(prompts, SPEED_TOKENS + 1)[1] * (SPEED_TOKENS + 1) - first) / SPEED_TOKENS


def measure(small: Path, large: Path, expert: Path, batches: Sequence[int]) -> Iterator[str]:
    """The lines of the report."""
    tokenizer = AutoTokenizer.from_pretrained(large)
    with ExitStack() as stack:
        tuned = stack.enter_context(Engine("small, fine-tuned", expert))
        base = stack.enter_context(Engine("large", large))
        models = {"expert": expert, "anti-expert": small}
        steered = stack.enter_context(Engine("large, steered", large, models))
        for engine in (tuned, base, steered):
            yield f"{engine.name}: {score(engine, tokenizer):.3f} of {len(tickets(HELD_OUT))} held-out tickets"
        for batch in batches:
            rounds = step_times((tuned, base, steered), tokenizer, batch)
            shares = [(2 * one + two) / all_of_them for one, two, all_of_them in rounds]
            times = ", ".join(
                f"{engine.name} {1000 * statistics.median(column):.0f} ms"
                for engine, column in zip((tuned, base, steered), zip(*rounds, strict=True), strict=True)
            )
            yield (
                f"batch {batch}: tokens/s of the sum of step times, median {statistics.median(shares):.2f}"
                f" ({min(shares):.2f} to {max(shares):.2f}); steps: {times}"
            )
    with Engine("small", small) as plain:
        yield f"{plain.name}: {score(plain, tokenizer):.3f} of {len(tickets(HELD_OUT))} held-out tickets"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", type=Path)
    parser.add_argument("--large", type=Path)
    parser.add_argument("--work", type=Path, help="folder of the fine-tuned model, which is kept")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.engine:
        serve_engine(json.loads(options.engine))
        return
    expert = options.work / "expert"
    if not (expert / "config.json").exists():
        train(options.small, options.large, expert, options.epochs)
    for line in measure(options.small, options.large, expert, options.batches):
        print(line, flush=True)


if __name__ == "__main__":
    main()
