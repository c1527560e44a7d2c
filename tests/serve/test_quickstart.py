"""The quickstart as it is shipped: a real escalation on the real pair."""

import json
import os
import re
import urllib.request
from pathlib import Path

import pytest

from pilotfish.local import state
from tests.serve.up import Up, ask
from tests.support.otlp import OtlpSink

ROOT = Path(__file__).parents[2]
LABEL = (
    "Review: The kettle broke after two days. I want my money back.\n\n"
    "Is this review positive or negative? Answer with one word."
)
EASY = "What is the capital of Australia?"
PRIDE = "Who wrote Pride and Prejudice, and in which year was it published?"
HARD = "Which team answers it, billing or delivery: Where is my parcel?"


@pytest.fixture(scope="module")
def sink():
    sink = OtlpSink()
    try:
        yield sink
    finally:
        sink.close()


ALWAYS_ESCALATES = """
apiVersion: pilotfish.dev/v1alpha1
kind: ModelRouter
metadata: {name: escalates}
spec:
  strategy:
    type: Cascade
    cascade:
      streaming: EarlyExit
      stages:
        - poolRef: {name: small}
          accept: {scorer: {name: logprob}, thresholdPermille: 1000, decideWithinTokens: 32}
        - poolRef: {name: large}
"""


@pytest.fixture(scope="module")
def run(sink, tmp_path_factory):
    extra = tmp_path_factory.mktemp("routers") / "escalates.yaml"
    extra.write_text(ALWAYS_ESCALATES)
    run = Up(ROOT / "examples" / "quickstart", extra, OTEL_EXPORTER_OTLP_ENDPOINT=sink.url)
    try:
        run.wait_for("small: ready")
        run.wait_for("large: ready")
        yield run
    finally:
        run.end()


def test_the_calibrated_router_chooses_the_small_model_for_a_label(run):
    status, headers, body = ask(run.url, "assistant", LABEL, max_tokens=64)
    assert status == 200
    assert "negative" in body["choices"][0]["message"]["content"].lower()
    assert headers["x-pilotfish-stages"] == "small"


def test_the_calibrated_router_chooses_the_large_model_for_a_fact(run):
    status, headers, body = ask(run.url, "assistant", PRIDE, max_tokens=64)
    assert status == 200
    text = body["choices"][0]["message"]["content"]
    assert "Austen" in text
    assert "1813" in text
    assert headers["x-pilotfish-stages"] == "large"


def test_the_cascade_keeps_an_answer_with_a_high_score(run):
    status, headers, body = ask(run.url, "cascade", EASY, max_tokens=64)
    assert status == 200
    assert "Canberra" in body["choices"][0]["message"]["content"]
    assert (headers["x-pilotfish-stages"], headers["x-pilotfish-escalated"]) == ("small", "false")


def test_the_cascade_escalates_an_answer_with_a_low_score(run):
    status, headers, body = ask(run.url, "cascade", HARD, max_tokens=64)
    assert status == 200
    assert "delivery" in body["choices"][0]["message"]["content"]
    assert headers["x-pilotfish-escalated"] == "true"


def test_after_an_escalation_the_small_engine_is_idle_while_the_large_one_generates(run):
    body = {
        "model": "escalates",
        "messages": [{"role": "user", "content": PRIDE + " Explain at length."}],
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


def test_twenty_of_twenty_traces_have_the_engine_s_own_spans(run, sink):
    """Serve samples one trace in a hundred by default; a trace without its engine explains nothing."""
    traces = {f"{number:032x}" for number in range(1, 21)}
    for trace in traces:
        request = urllib.request.Request(  # noqa: S310
            f"{run.url}/v1/chat/completions",
            data=json.dumps(
                {"model": "small", "messages": [{"role": "user", "content": EASY}], "max_tokens": 2}
            ).encode(),
            headers={"Content-Type": "application/json", "traceparent": f"00-{trace}-00000000000000ab-01"},
        )
        with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
            json.load(answer)

    def whole(spans) -> bool:
        return not [trace for trace in traces if lacks([span for span in spans if span.trace == trace])]

    # Every process exports its own spans, in its own time.
    sink.wait_until(whole, 120)
    told = {trace: [span for span in sink.spans() if span.trace == trace] for trace in traces}
    assert not {lack: spans for spans in told.values() if (lack := lacks(spans))}


def lacks(spans) -> str:
    """What the spans of a trace lack to be whole."""
    names, known = {span.name for span in spans}, {span.span for span in spans} | {"00000000000000ab"}
    for wanted in ("chat small", "llm_request"):
        if wanted not in names:
            return wanted
    if not any(name.startswith(("proxy", "route", "replica")) for name in names):
        return "a span of Serve's"
    return next((f"the parent of {span.name}" for span in spans if span.parent not in known), "")


def test_the_spans_of_an_escalation_tell_the_decision(run, sink):
    trace = f"{77:032x}"
    body = {"model": "cascade", "messages": [{"role": "user", "content": HARD}], "temperature": 0, "max_tokens": 16}
    request = urllib.request.Request(  # noqa: S310
        f"{run.url}/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"Content-Type": "application/json", "traceparent": f"00-{trace}-00000000000000ab-01"},
    )
    with urllib.request.urlopen(request, timeout=300) as answer:  # noqa: S310
        json.load(answer)
        headers = {name.lower(): value for name, value in answer.headers.items()}
    assert headers["x-pilotfish-stages"] == "small,large"
    wanted = {"chat cascade", "chat small", "chat large"}
    assert sink.wait_until(lambda spans: wanted <= {span.name for span in spans if span.trace == trace}, 60)
    told = {span.name: span.attributes for span in sink.spans() if span.trace == trace}
    assert told["chat cascade"]["pilotfish.escalated"]
    assert told["chat small"]["pilotfish.verdict"] == "Rejected"
    assert str(told["chat small"]["pilotfish.score_permille"]) == headers["x-pilotfish-score"]
    assert told["chat large"]["pilotfish.verdict"] == "Accepted"


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
