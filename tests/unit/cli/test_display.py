"""What `pilotfish up` prints where there is no terminal, and once pools are there."""

import io
import json
import shlex
from pathlib import Path

from rich.console import Console

from pilotfish.api import ModelPool, ModelRouter
from pilotfish.base.keys import Key
from pilotfish.cli.display import AWAITED_LINE_SECONDS, PROGRESS_LINE_SECONDS, Display
from pilotfish.cli.welcome import welcome
from pilotfish.local.events import Phase, PoolEvent
from pilotfish.routing.snapshot import Endpoint, PoolState, PoolView, RouterView, snapshot

KEY = Key("ModelPool", "default", "small")


def shown(events):
    """Lines printed for events, each with the time at which it comes."""
    written, now = io.StringIO(), [0.0]
    with Display(Console(file=written, width=200), clock=lambda: now[0]) as display:
        for seconds, event in events:
            now[0] = seconds
            display.on_event(event)
    return written.getvalue().splitlines()


def test_a_line_for_each_phase_and_now_and_then_for_bytes():
    copying = [
        (second / 2, PoolEvent(KEY, Phase.COPYING, "file:///m", second * 1_000_000, 100_000_000))
        for second in range(50)
    ]
    lines = shown([*copying, (60, PoolEvent(KEY, Phase.LOADING)), (75.25, PoolEvent(KEY, Phase.READY))])
    assert len([line for line in lines if "copying" in line]) == 1 + int(24.5 // PROGRESS_LINE_SECONDS)
    assert lines[0] == "small: copying weights, 0 of 100 MB, file:///m"
    assert lines[-2:] == ["small: engine loading", "small: ready, after 75.2 s"]


def test_a_failure_is_one_line_with_its_reason():
    assert shown([(0, PoolEvent(KEY, Phase.LOADING)), (5, PoolEvent(KEY, Phase.FAILED, "no such file"))])[-1] == (
        "small: failed, no such file, after 5.0 s"
    )


def test_silence_ends_with_what_is_awaited():
    written, now = io.StringIO(), [0.0]
    with Display(Console(file=written, width=200), clock=lambda: now[0], log=Path("/l")) as display:
        display.on_event(PoolEvent(KEY, Phase.LOADING))
        for seconds in (AWAITED_LINE_SECONDS - 1, AWAITED_LINE_SECONDS + 1, AWAITED_LINE_SECONDS + 2):
            now[0] = seconds
            display.awaited()
        display.on_event(PoolEvent(KEY, Phase.RETRYING, "try 2 in 2 s: proxy late"))
        display.on_event(PoolEvent(KEY, Phase.READY))
        now[0] = 10 * AWAITED_LINE_SECONDS
        display.awaited()
    assert written.getvalue().splitlines() == [
        "small: engine loading",
        "waiting for small (engine loading for 21 s)",
        "small: trying again, try 2 in 2 s: proxy late, details in /l",
        "small: ready, after 22.0 s",
    ]


def manifest(cls, name, spec):
    return cls.model_validate(
        {"apiVersion": "pilotfish.dev/v1alpha1", "kind": cls.__name__, "metadata": {"name": name}, "spec": spec}
    )


def test_the_curl_line_is_one_that_a_shell_takes():
    pool = manifest(ModelPool, "small", {"tier": "Small", "model": {"uri": "file:///m"}, "replicas": 1})
    router = manifest(ModelRouter, "plain", {"strategy": {"type": "Direct", "direct": {"poolRef": {"name": "small"}}}})
    seen = snapshot([PoolView(pool, PoolState.READY, (Endpoint("http://127.0.0.1:1/v1"),))], [RouterView(router)])
    text = welcome("http://127.0.0.1:8080", seen)
    [line] = [line for line in text.splitlines() if line.strip().startswith("curl")]
    words = shlex.split(line)
    assert "http://127.0.0.1:8080/v1/chat/completions" in words
    assert json.loads(words[words.index("-d") + 1])["model"] == "plain"
