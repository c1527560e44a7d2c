"""Public records of what a small and a large model answered to the same question, as arrays. Read where they are,
never kept.
"""

import csv
import gzip
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LONGEST_EMBEDDED_TOKENS = 128
BATCH = 32


@dataclass(frozen=True)
class Pairs:
    """Prompts, and how well a small and a large model did, 0 to 1."""

    name: str
    prompts: list[str]
    small: Floats
    large: Floats


@dataclass(frozen=True)
class Chain:
    """Answers of several models: confidence (log-probability), quality, cost and seconds [n] by model."""

    name: str
    confidence: dict[str, Floats]
    quality: dict[str, Floats]
    cost: dict[str, Floats]
    seconds: dict[str, Floats]


def rows(path: Path) -> list[dict[str, str]]:
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def column(found: Sequence[dict[str, Any]], name: str) -> Floats:
    return np.array([float(row[name]) for row in found])


def gsm8k(data: Path) -> Pairs:
    """RouteLLM's pair, without the prompts that its training data may have held."""
    folder = data / "routellm"
    with (folder / "gsm8k_contaminated_prompts.jsonl").open() as lines:
        drop = {json.loads(line)["eval_prompt"] for line in lines}
    found = [row for row in rows(folder / "gsm8k_gsm8k_responses.csv.gz") if row["prompt"] not in drop]
    small, large = "mistralai/Mixtral-8x7B-Instruct-v0.1", "gpt-4-1106-preview"
    correct = {model: np.array([float(row[model] == "True") for row in found]) for model in (small, large)}
    return Pairs("GSM8K Mixtral-8x7B, GPT-4", [row["prompt"] for row in found], correct[small], correct[large])


def mmlu(data: Path) -> Pairs:
    found = [row for part in ("train", "test") for row in rows(data / "chains" / f"mmlu_llama_chain_{part}.csv.gz")]
    small, large = (column(found, f"llama3.1-{size}|correct") for size in ("8b", "405b"))
    return Pairs("MMLU Llama 8B, 405B", [row["prompt"] for row in found], small, large)


def mmlu_pro(data: Path) -> Pairs:
    found = rows(data / "mmlu_pro" / "mmlu_pro.csv.gz")
    prompts = ["\n".join([row["question"], *json.loads(row["options"])]) for row in found]
    small, large = (column(found, f"Meta-Llama-3_1-{size}-Instruct|correct") for size in ("8B", "70B"))
    return Pairs("MMLU-Pro Llama 8B, 70B", prompts, small, large)


def mix(data: Path) -> Pairs:
    found: list[dict[str, Any]] = []
    for part in ("train", "test"):
        with gzip.open(data / "llmrouter" / f"dcrouter_{part}.json.gz") as file:
            found += json.load(file)
    small, large = "qwen2.5-7b-instruct", "llama-3.1-nemotron-51b-instruct"
    quality = {model: np.array([float(row["scores"][model]) for row in found]) for model in (small, large)}
    return Pairs("LLMRouter mix Qwen 7B, 51B", [row["question"] for row in found], quality[small], quality[large])


def chain(data: Path, task: str, family: str, part: str) -> Chain:
    found = rows(data / "chains" / f"{task}_{family}_chain_{part}.csv.gz")
    models = [name.removesuffix("|correct") for name in found[0] if name.endswith("|correct")]

    def by_model(field: str, scale: float = 1.0) -> dict[str, Floats]:
        return {model: column(found, f"{model}|{field}") * scale for model in models}

    return Chain(
        f"{task} {part}", by_model("conf"), by_model("correct"), by_model("cost"), by_model("latency_ms", 1e-3)
    )


def arrivals(data: Path) -> Floats:
    """Seconds of each request since the first, of the Azure conversation trace."""
    found = rows(data / "traces" / "AzureLLMInferenceTrace_2023_conv.csv.gz")
    times = [datetime.fromisoformat(row["TIMESTAMP"][:26]).timestamp() for row in found]
    return np.array(times) - times[0]


def vectors(prompts: Sequence[str], model: Path, cache: Path) -> Floats:
    """Mean-pooled embeddings [n, d] by a transformers model in a folder; kept in `cache`, as they take minutes."""
    digest = hashlib.sha256("\0".join(prompts).encode()).hexdigest()[:16]
    kept = cache / f"vectors-{digest}.npy"
    if kept.exists():
        return np.load(kept).astype(np.float64)
    import torch  # noqa: PLC0415 - large, and needed for embeddings alone
    from transformers import AutoModel, AutoTokenizer  # noqa: PLC0415

    tokenizer, network = AutoTokenizer.from_pretrained(model), AutoModel.from_pretrained(model).eval()
    order = np.argsort([len(prompt) for prompt in prompts])
    found = np.zeros((len(prompts), network.config.hidden_size), np.float32)
    for start in range(0, len(order), BATCH):
        places = order[start : start + BATCH]
        texts = [prompts[place] for place in places]
        inputs = tokenizer(
            texts, padding=True, truncation=True, max_length=LONGEST_EMBEDDED_TOKENS, return_tensors="pt"
        )
        with torch.inference_mode():
            hidden = network(**inputs).last_hidden_state
        mask = inputs["attention_mask"].unsqueeze(-1)
        found[places] = ((hidden * mask).sum(1) / mask.sum(1)).numpy()
    cache.mkdir(parents=True, exist_ok=True)
    np.save(kept, found.astype(np.float16))
    return found.astype(np.float64)
