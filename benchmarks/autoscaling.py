"""Replicas of a pool over time while so many clients ask it at once, each one question after the other.

    .venv/bin/python benchmarks/autoscaling.py run small --namespace team --url http://ADDRESS/v1 \
        --phase 1:120 --phase 24:420 --phase 1:420 --csv deployment.csv
    .venv/bin/python benchmarks/autoscaling.py plot replicas.png Deployment=deployment.csv RayService=rayservice.csv

The pool's status is read with kubectl from the cluster that KUBECONFIG names. The address is the gateway's.
"""

import argparse
import csv
import json
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import matplotlib as mpl
import openai
from matplotlib import pyplot as plt

PERIOD_SECONDS = 2.0
COLUMNS = ("time", "seconds", "clients", "replicas", "ready", "desired", "answered", "failed")


class Client(threading.Thread):
    """Sends requests until stopped; half of the answers are streamed."""

    def __init__(self, url: str, model: str) -> None:
        super().__init__(daemon=True)
        self._client = openai.OpenAI(base_url=url, api_key="none", timeout=600, max_retries=0)
        self._model = model
        self.stopping = threading.Event()
        self.answered = self.failed = 0

    def run(self) -> None:
        asked = 0
        while not self.stopping.is_set():
            asked += 1
            try:
                whole = self._ask(f"Count to {asked % 9 + 2}.", stream=asked % 2 == 0)
            except openai.OpenAIError as error:
                print(f"{datetime.now(UTC):%H:%M:%S} {type(error).__name__}: {error}", file=sys.stderr)
                whole = False
            self.answered += whole
            self.failed += not whole

    def _ask(self, question: str, *, stream: bool) -> bool:
        messages = [{"role": "user", "content": question}]
        given = {"model": self._model, "messages": messages, "max_tokens": 32, "temperature": 0}
        if not stream:
            return bool(self._client.chat.completions.create(**given).choices[0].finish_reason)
        pieces = list(self._client.chat.completions.create(**given, stream=True))
        return any(piece.choices and piece.choices[0].finish_reason for piece in pieces)


def replicas(pool: str, namespace: str) -> tuple[int, int, int]:
    """Replicas that run, that answer, and that should."""
    asked = ("kubectl", "get", "modelpool", pool, "-n", namespace, "-o", "json")
    status = json.loads(subprocess.run(asked, capture_output=True, check=True).stdout)["status"]
    return tuple(status.get(name, 0) for name in ("replicas", "readyReplicas", "desiredReplicas"))


def count(clients: list[Client]) -> tuple[int, int]:
    """Answers that came whole, and those that did not."""
    return sum(client.answered for client in clients), sum(client.failed for client in clients)


def run(options: argparse.Namespace) -> None:
    """Let the phases pass, one row every two seconds."""
    everyone: list[Client] = []
    began, end = time.monotonic(), 0.0
    with options.csv.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(COLUMNS)
        for wanted, seconds in options.phase:
            asking = [client for client in everyone if not client.stopping.is_set()]
            for client in asking[wanted:]:
                client.stopping.set()
            for _ in range(wanted - len(asking)):
                everyone.append(Client(options.url, options.pool))
                everyone[-1].start()
            end += seconds
            while (now := time.monotonic() - began) < end:
                seen = replicas(options.pool, options.namespace)
                table.writerow((f"{datetime.now(UTC):%H:%M:%S}", f"{now:.0f}", wanted, *seen, *count(everyone)))
                file.flush()
                time.sleep(PERIOD_SECONDS)
    print("{} answers whole, {} not".format(*count(everyone)))


def plot(options: argparse.Namespace) -> None:
    """Replicas that run and that answer, one panel a file, over the clients that ask."""
    mpl.use("Agg")
    figure, panels = plt.subplots(
        len(options.named), 1, figsize=(8, 2.4 * len(options.named)), squeeze=False, sharex=True
    )
    for panel, (name, path) in zip(panels[:, 0], options.named, strict=True):
        with path.open() as file:
            rows = list(csv.DictReader(file))
        minutes = [int(row["seconds"]) / 60 for row in rows]
        load = panel.twinx()
        load.fill_between(minutes, [int(row["clients"]) for row in rows], step="post", color="0.9")
        load.set(ylabel="clients", ylim=(0, 26))
        for column, style, label in (("replicas", "--", "run"), ("ready", "-", "answer")):
            panel.step(minutes, [int(row[column]) for row in rows], style, where="post", label=label)
        panel.set(title=name, ylabel="replicas", ylim=(0, 3.2), yticks=range(4))
        panel.set_zorder(load.get_zorder() + 1)
        panel.patch.set_visible(False)
        panel.legend(loc="upper left", frameon=False)
    panels[-1, 0].set_xlabel("minutes")
    figure.tight_layout()
    figure.savefig(options.png, dpi=80)


def phase(text: str) -> tuple[int, float]:
    clients, _, seconds = text.partition(":")
    return int(clients), float(seconds)


def named(text: str) -> tuple[str, Path]:
    name, _, path = text.partition("=")
    return name, Path(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    running = commands.add_parser("run")
    running.add_argument("pool")
    running.add_argument("--namespace", default="default")
    running.add_argument("--url", required=True)
    running.add_argument("--phase", type=phase, action="append", required=True, metavar="CLIENTS:SECONDS")
    running.add_argument("--csv", type=Path, required=True)
    running.set_defaults(act=run)
    drawing = commands.add_parser("plot")
    drawing.add_argument("png", type=Path)
    drawing.add_argument("named", type=named, nargs="+", metavar="NAME=CSV")
    drawing.set_defaults(act=plot)
    options = parser.parse_args()
    options.act(options)


if __name__ == "__main__":
    main()
