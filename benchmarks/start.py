"""How long a start takes beside vLLM alone, and what Ray takes of the memory, in one run.

    .venv/bin/python benchmarks/start.py examples/quickstart

For each pool of the folder: the seconds from the start of vLLM's own server, with the engine arguments and variables
that Pilotfish would give it, to its first answer. Then the same for every pool of `pilotfish up` on the folder, from
its start to the first answer through the gateway, and the ratio of both. Weights are converted and read once before
anything is measured, and bytecode is there for both. With --rounds the two take turns, and the median is printed.
"""

import argparse
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections import defaultdict
from pathlib import Path

import psutil

from pilotfish.api import ModelPool
from pilotfish.manifests import load
from pilotfish.render.serve_application import EngineContext, engine_arguments, engine_environment, served_model
from pilotfish.settings import models_cache
from pilotfish.weights import ensure

QUESTION = {"messages": [{"role": "user", "content": "What is the capital of Australia?"}], "max_tokens": 1}
PATIENCE_SECONDS = 1800
WARM_IMPORT = "import pilotfish.engine.server, vllm.v1.engine.core, vllm.v1.worker.cpu_worker"


def environment(**more: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | more


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def first_answer(url: str, model: str, process: subprocess.Popen, began: float) -> float:
    """Seconds from `began` to the first answer of `model`."""
    data = json.dumps(QUESTION | {"model": model}).encode()
    while time.monotonic() - began < PATIENCE_SECONDS:
        if process.poll() is not None:
            raise RuntimeError(f"the server of {model} ended with status {process.returncode}")
        request = urllib.request.Request(  # noqa: S310
            f"{url}/v1/chat/completions", data=data, headers={"Content-Type": "application/json"}
        )
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_SECONDS) as answer:  # noqa: S310
                answer.read()
                return time.monotonic() - began
        except urllib.error.HTTPError as error:
            error.close()
        except urllib.error.URLError:
            pass
        time.sleep(0.1)
    raise RuntimeError(f"{model} did not answer within {PATIENCE_SECONDS} s")


def options(arguments: dict) -> list[str]:
    """Engine arguments as vLLM's command line takes them."""
    words = []
    for name, value in arguments.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            words.append(option)
        elif value is False:
            words.append(option.replace("--", "--no-", 1))
        else:
            words += [option, json.dumps(value) if isinstance(value, dict | list) else str(value)]
    return words


def vllm_alone(pool: ModelPool, context: EngineContext) -> float:
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--model", context.weights, "--served-model-name", served_model(pool)]
    command += options(engine_arguments(pool, context))
    began = time.monotonic()
    process = subprocess.Popen(
        command,
        env=environment(**engine_environment(pool, context)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        return first_answer(f"http://127.0.0.1:{port}", served_model(pool), process, began)
    finally:
        end(process)


def end(process: subprocess.Popen) -> None:
    processes = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
    process.send_signal(signal.SIGINT)
    process.wait(timeout=120)
    psutil.wait_procs(processes, timeout=30)


def pilotfish_up(folder: Path, pools: list[ModelPool]) -> tuple[dict[str, float], dict[str, int]]:
    """Seconds to the first answer of each pool, and bytes (PSS) of Ray, of the engines, and of `up` itself."""
    port = free_port()
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "pilotfish", "up", str(folder), "--port", str(port)],
        env=environment(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    seconds: dict[str, float] = {}

    def ask(pool: ModelPool) -> None:
        seconds[pool.name] = first_answer(f"http://127.0.0.1:{port}", pool.name, process, began)

    try:
        threads = [threading.Thread(target=ask, args=(pool,)) for pool in pools]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if len(seconds) < len(pools):
            raise RuntimeError("`pilotfish up` did not answer for every pool")
        return seconds, memory(process.pid)
    finally:
        end(process)


def memory(pid: int) -> dict[str, int]:
    """Bytes by part, each shared page counted once (PSS)."""
    total: dict[str, int] = defaultdict(int)
    up = psutil.Process(pid)
    total["up"] = up.memory_full_info().pss
    engines: set[int] = set()
    for process in up.children(recursive=True):
        name = process.name() if process.name().startswith(("ray::", "VLLM")) else " ".join(process.cmdline())
        is_engine = process.ppid() in engines or name.startswith(("ray::ServeReplica", "ray::small", "VLLM"))
        if is_engine or "PoolServer" in " ".join(process.cmdline()):
            engines.add(process.pid)
        part = "engines" if process.pid in engines else "Ray"
        size = process.memory_full_info().pss
        total[part] += size
        print(f"    {size / 1e6:7.0f} MB {part:8} {' '.join(process.cmdline())[:90]}")
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    loaded = load([given.folder])
    pools = [entry for entry in loaded.resources if isinstance(entry, ModelPool) and entry.spec.model]
    contexts = {}
    for pool in pools:
        weights = ensure(pool.spec.model, cache=models_cache(os.environ))
        contexts[pool.name] = EngineContext(weights=str(weights))
        for file in weights.iterdir():
            file.read_bytes()
    subprocess.run([sys.executable, "-c", WARM_IMPORT], env=environment(), check=True, capture_output=True)
    alone: dict[str, list[float]] = defaultdict(list)
    together: dict[str, list[float]] = defaultdict(list)
    for _ in range(given.rounds):
        for pool in pools:
            alone[pool.name].append(vllm_alone(pool, contexts[pool.name]))
        seconds, used = pilotfish_up(given.folder, pools)
        for name, taken in seconds.items():
            together[name].append(taken)
        print("  " + ", ".join(f"{part}: {size / 1e6:.0f} MB" for part, size in used.items()), flush=True)
    print("| pool | vLLM alone | pilotfish up | ratio |\n|---|---|---|---|")
    for name, taken in together.items():
        vllm, ours = statistics.median(alone[name]), statistics.median(taken)
        print(f"| {name} | {vllm:.1f} s | {ours:.1f} s | {ours / vllm:.2f} |")


if __name__ == "__main__":
    main()
