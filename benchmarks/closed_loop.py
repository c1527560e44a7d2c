"""Questions with checks, asked of models through a gateway: right answers, share escalated, mean time, beside one
another.

    .venv/bin/python benchmarks/closed_loop.py other.jsonl --model small --model large --model by-logprob

Temperature 0, one question at a time, so that times are those of an idle machine. Models take turns question by
question.
"""

import argparse
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import openai
from scipy import stats

from pilotfish.calibrate.recording import read_prompts

HEAD = ("model", "right", "escalated", "seconds, mean", "seconds, median", "questions")


@dataclass
class Asked:
    right: list[bool] = field(default_factory=list)
    escalated: list[bool] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def row(self, model: str) -> str:
        wilson = stats.binomtest(sum(self.right), len(self.right)).proportion_ci(0.95, method="wilson")
        half = 1.96 * float(np.std(self.seconds, ddof=1)) / np.sqrt(len(self.seconds))
        cells = (
            model,
            f"{np.mean(self.right):.1%} ({wilson.low:.1%} to {wilson.high:.1%})",
            f"{np.mean(self.escalated):.1%}",
            f"{np.mean(self.seconds):.2f} ±{half:.2f}",
            f"{np.median(self.seconds):.2f}",
            str(len(self.right)),
        )
        return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--model", action="append", required=True, help="may be repeated")
    parser.add_argument("--url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--max-tokens", type=int, default=128)
    options = parser.parse_args()
    client = openai.OpenAI(base_url=options.url, api_key="none", timeout=600, max_retries=0)
    asked = {model: Asked() for model in options.model}
    for prompt, check in read_prompts(options.questions):
        for model, found in asked.items():
            started = time.perf_counter()
            answer = client.chat.completions.with_raw_response.create(
                model=model, messages=prompt.conversation, temperature=0, max_tokens=options.max_tokens
            )
            found.seconds.append(time.perf_counter() - started)
            text = answer.parse().choices[0].message.content or ""
            found.right.append(check is not None and check.holds(text))
            found.escalated.append(answer.headers.get("x-pilotfish-escalated") == "true")
    print(f"| {' | '.join(HEAD)} |\n|{' --- |' * len(HEAD)}")
    for model, found in asked.items():
        print(found.row(model))


if __name__ == "__main__":
    main()
