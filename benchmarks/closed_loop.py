"""Questions with checks, asked of models through a gateway: right answers, share escalated, mean time, beside one
another.

    .venv/bin/python benchmarks/closed_loop.py other.jsonl --model small --model large --model by-logprob \\
        --out asked.jsonl [--limit 100] [--plot asked.png]

Temperature 0, one question at a time, so that times are those of an idle machine. Models take turns question by
question. Results are kept in --out: an interrupted run continues where it stopped, and the table is of the
questions that every model was asked. With --limit always the same sample of the questions is asked.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import openai
import orjson
from scipy import stats

from pilotfish.calibration.recording import Check, Prompt, read_prompts, sample

HEAD = ("model", "right", "escalated", "seconds, mean", "seconds, median", "questions")


@dataclass(frozen=True)
class Asked:
    """One question to one model."""

    model: str
    id: str
    right: bool
    escalated: bool
    seconds: float
    answer: str


def known(path: Path) -> list[Asked]:
    """What was asked before. A last line that was cut off is taken out of the file."""
    if not path.exists():
        return []
    raw = path.read_bytes()
    whole = raw[: raw.rfind(b"\n") + 1]
    if len(whole) < len(raw):
        path.write_bytes(whole)
    return [Asked(**orjson.loads(line)) for line in whole.splitlines()]


def ask(client: openai.OpenAI, model: str, prompt: Prompt, check: Check, max_tokens: int) -> Asked:
    started = time.perf_counter()
    answer = client.chat.completions.with_raw_response.create(
        model=model, messages=prompt.conversation, temperature=0, max_tokens=max_tokens
    )
    seconds = time.perf_counter() - started
    text = answer.parse().choices[0].message.content or ""
    escalated = answer.headers.get("x-pilotfish-escalated") == "true"
    return Asked(model, prompt.id, check.holds(text), escalated, seconds, text)


def shared(asked: Sequence[Asked], models: Sequence[str]) -> dict[str, list[Asked]]:
    """By model, what was asked of every one of them."""
    by_model = {model: {each.id: each for each in asked if each.model == model} for model in models}
    everywhere = set.intersection(*(set(found) for found in by_model.values()))
    return {model: [each for name, each in found.items() if name in everywhere] for model, found in by_model.items()}


def row(model: str, found: Sequence[Asked]) -> str:
    right = [each.right for each in found]
    seconds = [each.seconds for each in found]
    wilson = stats.binomtest(sum(right), len(right)).proportion_ci(0.95, method="wilson")
    half = 1.96 * float(np.std(seconds, ddof=1)) / np.sqrt(len(seconds))
    cells = (
        model,
        f"{np.mean(right):.1%} ({wilson.low:.1%} to {wilson.high:.1%})",
        f"{np.mean([each.escalated for each in found]):.1%}",
        f"{np.mean(seconds):.2f} ±{half:.2f}",
        f"{np.median(seconds):.2f}",
        str(len(found)),
    )
    return f"| {' | '.join(cells)} |"


def plot(by_model: dict[str, list[Asked]], path: Path) -> None:
    """Share of right answers against mean seconds, with 95% intervals."""
    import matplotlib as mpl  # noqa: PLC0415 - a second to load, and needed for the plot alone

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure, axes = plt.subplots(figsize=(8.5, 4.5), layout="constrained")
    for model, found in by_model.items():
        right, seconds = [each.right for each in found], [each.seconds for each in found]
        share, mean = float(np.mean(right)), float(np.mean(seconds))
        wilson = stats.binomtest(sum(right), len(right)).proportion_ci(0.95, method="wilson")
        half = 1.96 * float(np.std(seconds, ddof=1)) / np.sqrt(len(seconds))
        axes.errorbar(
            mean, share, xerr=half, yerr=[[share - wilson.low], [wilson.high - share]], fmt="o", capsize=3, label=model
        )
    axes.set(xlabel="mean seconds of a request, one at a time", ylabel="share of right answers")
    axes.yaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    axes.grid(alpha=0.3)
    axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize="small")
    figure.savefig(path, dpi=120)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--model", action="append", required=True, help="may be repeated")
    parser.add_argument("--url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--max-tokens", type=int, default=32)
    parser.add_argument("--limit", type=int, help="only so many of the questions")
    parser.add_argument("--out", type=Path, default=Path("asked.jsonl"))
    parser.add_argument("--plot", type=Path, help="where to draw it, as PNG")
    options = parser.parse_args()
    client = openai.OpenAI(base_url=options.url, api_key="none", timeout=600, max_retries=0)
    asked = known(options.out)
    done = {(each.model, each.id) for each in asked}
    with options.out.open("ab") as file:
        for prompt, check in sample(read_prompts(options.questions), options.limit):
            if check is None:
                parser.error(f"question {prompt.id!r} has no check")
            for model in options.model:
                if (model, prompt.id) not in done:
                    asked.append(ask(client, model, prompt, check, options.max_tokens))
                    file.write(orjson.dumps(asdict(asked[-1])) + b"\n")
                    file.flush()
    by_model = shared(asked, options.model)
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    for model, found in by_model.items():
        print(row(model, found))
    if options.plot:
        plot(by_model, options.plot)


if __name__ == "__main__":
    main()
