"""What a plugin may return, how long it may hold an answer, and that a plugin that hangs delays only itself."""

import asyncio
import threading
import time
from collections.abc import Mapping
from typing import Any

import pytest

from pilotfish.gateway.adaptations.guard import PluginGuard
from pilotfish.gateway.adaptations.watchdog import Watchdog
from pilotfish.gateway.threads import MOST_THREADS, PluginThreads
from pilotfish.plugin_api.adaptations import (
    Answered,
    AnswerStream,
    Channel,
    Conversation,
    OnAnswer,
    OnRequest,
    Refused,
    Release,
    Rewritten,
)
from pilotfish.plugin_api.models import Models
from pilotfish.telemetry.metrics import GatewayMetrics

from .adapting import Configured, adapted, install, plugin
from .conftest import House

MUCH = "x" * 5_000_000
RESULTS: Mapping[str, Any] = {
    "messages": Rewritten(({"role": "user", "content": MUCH},)),
    "unserializable": Rewritten(({"role": "user", "content": object()},)),
    "notes": Rewritten(({"role": "user", "content": "hi"},), notes={"all": MUCH}),
    "unserializable-notes": Rewritten(({"role": "user", "content": "hi"},), notes={"all": object()}),
    "answer": Answered(MUCH),
    "refusal": Refused(MUCH),
    "release": Release(MUCH),
    "release-notes": Release("", notes={"all": MUCH}),
    "held": Release("", held=len(MUCH)),
    "nothing": Release(None),  # type: ignore[arg-type]
}


class Excessive(Configured):
    """Returns what the config names, for a request or for the text of an answer."""

    async def on_request(self, *, conversation: Conversation, models: Models) -> Any:
        result = RESULTS[self.config["returns"]]
        return None if isinstance(result, Release) else result

    def on_answer(
        self, *, conversation: Conversation, state: Any, models: Models, channel: Channel
    ) -> AnswerStream | None:
        return Excess(self.config)


class Excess:
    def __init__(self, config: Mapping[str, Any]) -> None:
        self.result = RESULTS[config["returns"]]

    async def push(self, text: str) -> Any:
        return self.result if isinstance(self.result, Release) else Release(text)

    async def end(self, finish_reason: str | None) -> Release:
        return Release("")


class Slow(Configured):
    """Holds everything, and takes a part of its timeout for each part of the answer."""

    def on_answer(
        self, *, conversation: Conversation, state: Any, models: Models, channel: Channel
    ) -> AnswerStream | None:
        return Holding()


class Holding:
    async def push(self, text: str) -> Release:
        await asyncio.sleep(0.45)
        return Release("")

    async def end(self, finish_reason: str | None) -> Release:
        return Release("never")


PLUGINS: Mapping[str, type[OnRequest] | type[OnAnswer]] = {"excessive": Excessive, "slow": Slow}


@pytest.fixture(autouse=True)
def installed(house: House) -> None:
    install(house, __name__, PLUGINS)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("returns", RESULTS)
async def test_a_plugin_that_returns_too_much_is_left_out_or_fails_its_request(
    house: House, returns: str, stream: bool
) -> None:
    await house.serve([adapted("excessive")], plugins=[plugin("excessive", "Ignore", returns=returns)])
    answer = await house.ask(stream=stream)
    assert answer.text == "Canberra."
    assert len(answer.raw) < 10_000
    assert house.engine.bodies[0]["messages"] == [{"role": "user", "content": "hi"}]
    await house.serve([adapted("excessive")], plugins=[plugin("excessive", returns=returns)])
    failed = await house.ask(stream=stream)
    assert (failed.status, failed.json["error"]["type"]) == (500, "plugin_error")
    assert len(failed.raw) < 10_000
    assert (await house.get("/healthz")).status == 200


async def test_a_stream_holds_the_same_text_no_longer_than_the_timeout(house: House) -> None:
    await house.serve([adapted("slow")], plugins=[plugin("slow", "Ignore", timeout=1)])
    answer = await house.ask(stream=True)
    assert answer.text == "Canberra."
    assert "timeoutSeconds" in answer.chunks[-1]["pilotfish"]["plugins"]["slow"]["error"]


async def test_a_plugin_whose_threads_all_hang_delays_no_other() -> None:
    threads, over = PluginThreads(), threading.Event()
    hanging = [asyncio.create_task(threads.run("hangs", over.wait, 60)) for _ in range(2 * MOST_THREADS)]
    assert await threads.run("computes", sum, (1, 2)) == 3
    assert not any(task.done() for task in hanging)
    for task in hanging[MOST_THREADS:]:
        task.cancel()
    over.set()
    done = await asyncio.gather(*hanging, return_exceptions=True)
    assert [result for result in done if not isinstance(result, asyncio.CancelledError)] == [True] * MOST_THREADS
    threads.keep(())


def test_the_watchdog_names_a_plugin_while_it_blocks(caplog: pytest.LogCaptureFixture) -> None:
    guard = PluginGuard(GatewayMetrics())
    watchdog = Watchdog(lambda: guard.present, period_seconds=0.01, reported_seconds=0.05)
    watchdog.start()

    def block() -> None:
        while "blocked" not in caplog.text:
            time.sleep(0.01)

    guard.step("outer", lambda: guard.step("stuck", block))
    watchdog.stop()
    assert "plugin stuck has blocked the event loop" in caplog.text
    assert "in block" in caplog.text
    assert guard.present is None
