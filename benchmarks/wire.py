"""What the gateway costs: CPU a request (whole process tree) and added latency, beside vllm-router and going direct.

    .venv/bin/python benchmarks/wire.py [--rounds 5] [--requests 400] [--bare]

All in one run, in turn: an engine that answers at once and whole or in 64 chunks 5 ms apart, then direct, vllm-router,
and the gateway with limits on and traces at 1% and at 100%; with `--bare`, the pass-throughs of bare_proxies.py, too.
One row is a cascade whose first answer is accepted at its first token: every chunk is parsed, and log-probabilities are
removed. It has the pool stream, also for a whole answer, which then takes as long as the stream.
Every body is checked. CPU is reported as a ratio to vllm-router's, the median over rounds; latency as milliseconds over
going direct, one request at a time. What is printed are the tables of docs/performance.md.
"""

import argparse
import asyncio
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import aiohttp
import orjson
import psutil
import uvloop
from bare_proxies import NEEDS, installed

from pilotfish.gateway.server import GatewayServer
from pilotfish.plugins.registry import Registry
from pilotfish.reconcile.kinds import parse_resource
from pilotfish.routing.snapshot import Endpoint, PoolState, PoolView, RouterView, snapshot
from pilotfish.settings import GatewaySettings
from pilotfish.telemetry.tracing import Tracing

CHUNKS = 64
CHUNK_SECONDS = 0.005
STARTING_SECONDS = 180
HEAD = b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"small","choices":[{"index":0,"delta":'
TOKEN = b"data: " + HEAD + b'{"content":" word"},"logprobs":null,"finish_reason":null}]}\n\n'
FINISH = b"data: " + HEAD + b'{"content":""},"logprobs":null,"finish_reason":"stop"}]}\n\n'
USAGE = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"small","choices":[],'
    b'"usage":{"prompt_tokens":20,"total_tokens":84,"completion_tokens":64}}\n\n'
)
TEXT = b" word" * CHUNKS
WHOLE = (
    b'{"id":"chatcmpl-1","object":"chat.completion","created":1,"model":"small","choices":[{"index":0,"message":'
    b'{"role":"assistant","content":"' + TEXT + b'"},"logprobs":null,"finish_reason":"stop"}],'
    b'"usage":{"prompt_tokens":20,"total_tokens":84,"completion_tokens":64}}'
)
MESSAGES = [{"role": "system", "content": "You are terse. " * 20}, {"role": "user", "content": "Say a word. " * 20}]


class Engine(asyncio.Protocol):
    """As little HTTP as both proxies need, so that the engine's own CPU does not blur theirs."""

    def connection_made(self, transport: asyncio.Transport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while (end := self.buffer.find(b"\r\n\r\n")) >= 0:
            head = self.buffer[:end].lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
            if len(self.buffer) < end + 4 + length:
                return
            body, self.buffer = self.buffer[end + 4 : end + 4 + length], self.buffer[end + 4 + length :]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        if b"/chat/completions" not in head.partition(b"\r\n")[0]:
            self.whole(b'{"object":"list","data":[{"id":"small","object":"model"}]}')
        elif orjson.loads(body).get("stream"):
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            self.chunk(0)
        else:
            self.whole(WHOLE)

    def whole(self, body: bytes) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        self.transport.write(head + body)

    def chunk(self, number: int) -> None:
        if self.transport.is_closing():
            return
        if number == CHUNKS:
            self.transport.write(b"".join(map(_sized, (FINISH, USAGE, b"data: [DONE]\n\n"))) + b"0\r\n\r\n")
            return
        self.transport.write(_sized(TOKEN))
        asyncio.get_running_loop().call_later(CHUNK_SECONDS, self.chunk, number + 1)


def _sized(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


async def serve_engine(port: int) -> None:
    server = await asyncio.get_running_loop().create_server(Engine, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


async def serve_gateway(port: int, engine: int) -> None:
    """The gateway as it is: a router with limits over one pool."""

    def made(kind: str, name: str, spec: dict) -> object:
        value = {"apiVersion": "pilotfish.dev/v1alpha1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        resource, faults = parse_resource(value)
        assert resource is not None, faults
        return resource

    pool = made("ModelPool", "small", {"tier": "Small", "model": {"uri": "package://a/b"}, "replicas": 1})
    limits = {"requestsPerMinute": 10_000_000, "tokensPerMinute": 10_000_000_000}
    strategy = {"type": "Direct", "direct": {"poolRef": {"name": "small"}}}
    router = made("ModelRouter", "assistant", {"strategy": strategy, "limits": limits})
    accept = {"scorer": {"name": "logprob"}, "thresholdPermille": 0}
    stages = [{"poolRef": {"name": "small"}, "accept": accept}, {"poolRef": {"name": "small"}}]
    cascade = {"type": "Cascade", "cascade": {"stages": stages}}
    judged = made("ModelRouter", "judged", {"strategy": cascade, "limits": limits})
    tracing = Tracing.from_environment(os.environ, "gateway")
    server = GatewayServer(GatewaySettings(port=port), Registry.installed(), tracing)
    await server.start()
    view = PoolView(pool, PoolState.READY, (Endpoint(f"http://127.0.0.1:{engine}/v1"),))
    server.apply(snapshot([view], [RouterView(router), RouterView(judged)]))
    await asyncio.Event().wait()


@dataclass
class Target:
    name: str
    port: int
    model: str
    process: psutil.Process | None = None

    def cpu(self) -> float:
        if self.process is None:
            return 0.0
        tree = [self.process, *self.process.children(recursive=True)]
        return sum(each.cpu_times().user + each.cpu_times().system for each in tree)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(*command: str, **environ: str) -> Iterator[psutil.Process]:
    child = subprocess.Popen(command, env=os.environ | environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield psutil.Process(child.pid)
    finally:
        child.terminate()
        child.wait(20)


async def ask(session: aiohttp.ClientSession, target: Target, stream: bool) -> float:
    """Seconds to the first byte of a stream, or to the end of a whole answer. The body is checked."""
    body = orjson.dumps({"model": target.model, "messages": MESSAGES, "stream": stream, "max_tokens": 64})
    started = time.perf_counter()
    url = f"http://127.0.0.1:{target.port}/v1/chat/completions"
    async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as response:
        assert response.status == 200, await response.text()
        first = await response.content.readany()
        seconds = time.perf_counter() - started
        raw = first + await response.read()
    if stream:
        assert raw.count(b'" word"') == CHUNKS, raw[:300]
        assert raw.rstrip().endswith(b"[DONE]")
    else:
        assert TEXT in raw
        orjson.loads(raw)
        seconds = time.perf_counter() - started
    return seconds


async def wait_for(target: Target) -> None:
    deadline = time.monotonic() + STARTING_SECONDS
    async with aiohttp.ClientSession() as session:
        while True:
            try:
                await ask(session, target, stream=False)
            except (aiohttp.ClientError, AssertionError):
                if time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.2)
            else:
                return


async def load(target: Target, stream: bool, requests: int, concurrency: int) -> list[float]:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=concurrency)) as session:
        left = iter(range(requests))

        async def worker() -> list[float]:
            return [await ask(session, target, stream) for _ in left]

        return [
            second for seconds in await asyncio.gather(*(worker() for _ in range(concurrency))) for second in seconds
        ]


@dataclass
class Measured:
    """One target's figures, a value for each round."""

    cpu: list[float]
    alone: list[float]


async def measure(targets: list[Target], rounds: int, requests: int, *, stream: bool) -> dict[str, Measured]:
    """CPU milliseconds a request under load, and seconds of a request that is alone."""
    taken = {target.name: Measured([], []) for target in targets}
    for _ in range(rounds):
        for target in targets:
            before = target.cpu()
            await load(target, stream, requests, 16)
            taken[target.name].cpu.append(1000 * (target.cpu() - before) / requests)
            taken[target.name].alone.append(statistics.median(await load(target, stream, 40 if stream else 200, 1)))
    return taken


def table(taken: dict[str, Measured], *, stream: bool) -> str:
    """Rows in Markdown."""
    base, direct = taken["vllm-router"], taken["direct"]
    what = "a stream of 64 chunks" if stream else "a whole answer"
    lines = [
        f"| {what} | CPU ms | CPU / vllm-router | added ms{' to the first byte' if stream else ''} (median) |",
        "|---|---|---|---|",
    ]
    for name, mine in taken.items():
        if name == "direct":
            continue
        ratio = statistics.median(cpu / theirs for cpu, theirs in zip(mine.cpu, base.cpu, strict=True))
        added = statistics.median(alone - less for alone, less in zip(mine.alone, direct.alone, strict=True))
        lines.append(f"| {name} | {statistics.median(mine.cpu):.3f} | {ratio:.2f} | {1000 * added:.2f} |")
    return "\n".join(lines)


async def main(rounds: int, requests: int, *, bare: bool) -> None:
    me = (sys.executable, __file__)
    engine = free_port()
    otlp = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{engine}", "OTEL_TRACES_SAMPLER": "traceidratio"}
    with ExitStack() as processes:

        def started(name: str, model: str, *command: str, **environ: str) -> Target:
            port = free_port()
            words = [word.replace("PORT", str(port)) for word in command]
            return Target(name, port, model, processes.enter_context(running(*words, **environ)))

        processes.enter_context(running(*me, "--engine", str(engine)))
        router = str(Path(sys.executable).parent / "vllm-router")
        targets = [
            Target("direct", engine, "small"),
            started(
                "vllm-router", "small", router, "--worker-urls", f"http://127.0.0.1:{engine}",
                "--policy", "round_robin", "--host", "127.0.0.1", "--port", "PORT",
                "--prometheus-port", str(free_port()), "--log-level", "warning",
            ),
        ]  # fmt: skip
        for share, ratio in (("1%", "0.01"), ("100%", "1.0")):
            command = (*me, "--gateway", "PORT", str(engine))
            name = f"gateway, traces {share}"
            targets.append(started(name, "assistant", *command, **otlp, OTEL_TRACES_SAMPLER_ARG=ratio))
            if share == "1%":
                targets.append(replace(targets[-1], name=f"{name}, a cascade that accepts", model="judged"))
        if bare:
            proxies = str(Path(__file__).parent / "bare_proxies.py")
            targets += [
                started(f"bare: {kind}", "small", sys.executable, proxies, kind, "PORT", str(engine))
                for kind in NEEDS
                if installed(kind)
            ]
        for target in targets:
            await wait_for(target)
        for stream in (False, True):
            count = requests // 4 if stream else requests
            print(table(await measure(targets, rounds, count, stream=stream), stream=stream), end="\n\n", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=400, help="a target and round, plain; a quarter of it streamed")
    parser.add_argument("--bare", action="store_true", help="measure pass-throughs on HTTP libraries, too")
    parser.add_argument("--engine", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--gateway", type=int, nargs=2, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        uvloop.run(serve_engine(given.engine))
    elif given.gateway:
        uvloop.run(serve_gateway(*given.gateway))
    else:
        uvloop.run(main(given.rounds, given.requests, bare=given.bare))
