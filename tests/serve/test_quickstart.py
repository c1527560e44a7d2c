"""The quickstart as it is shipped: a real escalation on the real pair."""

import json
import os
import re
import urllib.request
from pathlib import Path

import pytest

from pilotfish.local import state
from tests.serve.up import Up, ask

ROOT = Path(__file__).parents[2]
EASY = "What is the capital of Australia?"
HARD = "Who wrote Pride and Prejudice, and in which year was it published?"


@pytest.fixture(scope="module")
def run():
    run = Up(ROOT / "examples" / "quickstart")
    try:
        run.wait_for("small: ready")
        run.wait_for("large: ready")
        yield run
    finally:
        run.end()


def test_the_small_model_answers_what_it_can(run):
    status, headers, body = ask(run.url, "assistant", EASY, max_tokens=64)
    assert status == 200
    assert "Canberra" in body["choices"][0]["message"]["content"]
    assert (headers["x-pilotfish-stages"], headers["x-pilotfish-escalated"]) == ("small", "false")


def test_the_large_model_answers_what_it_must(run):
    status, headers, body = ask(run.url, "assistant", HARD, max_tokens=64)
    assert status == 200
    text = body["choices"][0]["message"]["content"]
    assert "Austen" in text
    assert "1813" in text
    assert headers["x-pilotfish-escalated"] == "true"


def test_after_an_escalation_the_small_engine_is_idle_while_the_large_one_generates(run):
    body = {
        "model": "assistant",
        "messages": [{"role": "user", "content": HARD + " Explain at length."}],
        "temperature": 0,
        "stream": True,
        "max_tokens": 400,
    }
    request = urllib.request.Request(  # noqa: S310
        f"{run.url}/v1/chat/completions", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=600) as answer:  # noqa: S310
        assert answer.headers["x-pilotfish-escalated"] == "true"
        events = (line for line in answer if line.startswith(b"data: {"))
        seen = []
        for _ in events:
            seen.append(running(run))
            if seen[-1] == (0, 1):
                break
        assert seen[-1] == (0, 1), seen[-5:]


def running(run) -> tuple[int, int]:
    """Running requests of the small and the large engine, by the engines' own metrics."""
    [found] = [entry for entry in state.running(state.state_folder(os.environ)) if entry.port == run.port]
    with urllib.request.urlopen(found.ray_metrics, timeout=60) as answer:  # noqa: S310
        text = answer.read().decode()
    counts = {}
    for line in text.splitlines():
        if line.startswith("ray_vllm_num_requests_running{"):
            model = re.search(r'model_name="([^"]+)"', line)[1]
            counts[model] = counts.get(model, 0) + int(float(line.rsplit(" ", 1)[1]))
    return counts.get("small", 0), counts.get("large", 0)
