"""Questions about a handbook, half of which it does not answer, asked of models and routers through a gateway.

    .venv/bin/pilotfish up examples/quickstart examples/handbook
    .venv/bin/python benchmarks/handbook.py examples/handbook/questions.jsonl --out asked.jsonl \\
        --model small --model large --model handbook-small --model handbook

Models take turns question by question, one at a time, at temperature 0. A question with `page` and `check` is in the
handbook, one without is not. An answer is `right` where the check holds, and `declined` where it says that it does not
know, is marked as not found in the sources, or is refused by a plugin. The rest is `wrong`. `right page`: the share of
answers to questions of the handbook that had passages, in which one of them is of the right page.
"""

import argparse
import json
import re
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import openai

DECLINES = re.compile(
    r"\b(do(es)? not|don't|doesn't|cannot|can't|not) (know|contain|mention|say|specif\w+|provide\w*|includ\w+|found)\b"
    r"|\bno information\b|\bnot (in|found|available|mentioned|provided|specified|stated)\b|\bunknown\b",
    re.IGNORECASE,
)
FLAG = "[not found in the sources]"


@dataclass(frozen=True)
class Asked:
    model: str
    id: str
    inside: bool
    outcome: str
    seconds: float
    cost: float
    answered_by: str | None
    pages: list[str]
    answer: str


def outcome(row: dict, text: str) -> str:
    declined = bool(DECLINES.search(text)) or FLAG in text
    if "check" not in row:
        return "declined" if declined else "wrong"
    plain = re.sub(r"[\s,]+", " ", text.replace(",", "")).lower()
    wanted = [each.replace(",", "").lower() for each in row["check"]["any"]]
    if any(re.search(rf"(?<![\w.]){re.escape(each)}(?!\w|\.\d)", plain) for each in wanted):
        return "right"
    return "declined" if declined else "wrong"


def ask(client: openai.OpenAI, model: str, row: dict, max_tokens: int) -> Asked:
    started = time.perf_counter()
    messages = [{"role": "user", "content": row["prompt"]}]
    try:
        answer = client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=max_tokens)
        text, account = answer.choices[0].message.content or "", (answer.model_extra or {}).get("pilotfish") or {}
        result = outcome(row, text)
    except openai.BadRequestError as error:
        text, account, result = str(error), {}, "declined"
    citations = account.get("plugins", {}).get("handbook", {}).get("citations", [])
    return Asked(
        model, row["id"], "check" in row, result, time.perf_counter() - started,
        float((account.get("cost") or {}).get("amount", 0)), account.get("answered_by"),
        [each["path"] for each in citations], text,
    )  # fmt: skip


def line(model: str, found: list[Asked], pages: dict[str, str]) -> str:
    inside, outside = [a for a in found if a.inside], [a for a in found if not a.inside]
    share = {kind: np.mean([a.outcome == kind for a in inside]) for kind in ("right", "declined", "wrong")}
    cited = [pages[a.id] in a.pages for a in inside if a.pages]
    escalated = np.mean([a.answered_by == "large" for a in found])
    cells = [
        model, *(f"{share[kind]:.0%}" for kind in ("right", "declined", "wrong")),
        f"{np.mean([a.outcome == 'declined' for a in outside]):.0%}",
        f"{1000 * np.mean([a.cost for a in found]):.4f}", f"{np.mean([a.seconds for a in found]):.2f}",
        f"{escalated:.0%}", f"{np.mean(cited):.0%}" if cited else "",
    ]  # fmt: skip
    return f"| {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("questions", type=Path)
    parser.add_argument("--url", default="http://127.0.0.1:8080/v1")
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--max-tokens", type=int, default=48)
    options = parser.parse_args()
    rows = [json.loads(text) for text in options.questions.read_text().splitlines()]
    known = [Asked(**json.loads(text)) for text in options.out.read_text().splitlines()] if options.out.exists() else []
    asked = {(a.model, a.id): a for a in known}
    client = openai.OpenAI(base_url=options.url, api_key="none", timeout=600, max_retries=3)
    with options.out.open("a") as out:
        for row in rows:
            for model in options.model:
                if (model, row["id"]) not in asked:
                    found = asked[model, row["id"]] = ask(client, model, row, options.max_tokens)
                    out.write(json.dumps(asdict(found)) + "\n")
                    out.flush()
    pages = {row["id"]: row["page"] for row in rows if "page" in row}
    print(f"{len(rows)} questions, {len(pages)} of them in the handbook\n")
    heads = (
        "model",
        "right",
        "declined",
        "wrong",
        "declined, not in the handbook",
        "USD per 1,000",
        "seconds",
        "by large",
    )
    print(f"| {' | '.join((*heads, 'right page'))} |")
    print("|---|---|---|---|---|---|---|---|---|")
    for model in options.model:
        print(line(model, [a for a in asked.values() if a.model == model], pages))


if __name__ == "__main__":
    main()
