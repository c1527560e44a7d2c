"""The quickstart's cascade on prompts that were written down before they were tried: who answered, was it right?

    pilotfish up examples/quickstart            # in another shell
    .venv/bin/python benchmarks/quickstart.py   # prints a table of answers

A pattern that was written with each prompt decides whether its answer is right. Temperature 0. Then the time to
the first token of an escalated answer, streamed: the router as it is, and a router of the same folder that holds
(`--hold NAME`), in turn, medians of five.
"""

import argparse
import json
import re
import statistics
import time
from pathlib import Path

import openai

TWO = (
    {"prompt": "What is the capital of Australia?", "right": "canberra"},
    {"prompt": "Which team answers it, billing or delivery: Where is my parcel?", "right": "delivery"},
)
MOST_TOKENS = 96


def ask(client: openai.OpenAI, model: str, entry: dict) -> str:
    started = time.perf_counter()
    answer = client.chat.completions.with_raw_response.create(
        model=model,
        messages=[{"role": "user", "content": entry["prompt"]}],
        temperature=0,
        max_tokens=MOST_TOKENS,
    )
    seconds = time.perf_counter() - started
    headers, parsed = answer.headers, answer.parse()
    text = parsed.choices[0].message.content or ""
    right = re.search(entry["right"], text, re.IGNORECASE | re.DOTALL) is not None
    who = headers["x-pilotfish-stages"].rpartition(",")[2]
    said = " ".join(text.split())
    said = (said[:77] + "…") if len(said) > 78 else said
    cells = [
        entry["prompt"],
        who,
        headers.get("x-pilotfish-score", ""),
        "right" if right else "wrong",
        f"{seconds:.1f}",
        said,
    ]
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def first_token(client: openai.OpenAI, model: str, prompt: str) -> float:
    started = time.perf_counter()
    with client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": prompt}], temperature=0, max_tokens=MOST_TOKENS, stream=True
    ) as stream:
        for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                return time.perf_counter() - started
    raise RuntimeError("the stream had no text")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--model", default="cascade")
    parser.add_argument("--hold", help="a router over the same pools with streaming: Hold")
    given = parser.parse_args()
    client = openai.OpenAI(base_url=given.url, api_key="none", timeout=600, max_retries=0)
    prompts = (Path(__file__).parent / "quickstart_prompts.jsonl").read_text().splitlines()
    print("| prompt | answered by | score | | seconds | answer |\n|---|---|---|---|---|---|")
    for entry in (*TWO, *map(json.loads, prompts)):
        print(ask(client, given.model, entry), flush=True)
    if given.hold:
        seconds: dict[str, list[float]] = {given.model: [], given.hold: []}
        for _ in range(5):
            for model, taken in seconds.items():
                taken.append(first_token(client, model, TWO[1]["prompt"]))
        for model, taken in seconds.items():
            print(f"first token of the escalated answer, {model}: median {statistics.median(taken):.2f} s of {taken}")


if __name__ == "__main__":
    main()
