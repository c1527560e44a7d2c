"""The load that is followed: what an idle pool costs, and pools that go meanwhile."""

import asyncio
from datetime import UTC, datetime

import pytest
from resource_builders import a_policy

from pilotfish.base.keys import Key
from pilotfish.controller import load
from pilotfish.controller.load import LoadBook
from pilotfish.reconcile.scaling import Running, ScalingMemory, decide

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

SMALL, LARGE = Key("ModelPool", "team", "small"), Key("ModelPool", "team", "large")
TICK_SECONDS = 2.0


class Gateways:
    """Report the load so many times; a clock moves with each."""

    def __init__(self, times, load):
        self.now, self.over = 0.0, asyncio.Event()
        self._left, self._load = times, load

    def clock(self):
        return self.now

    async def in_flight(self):
        if not self._left:
            self.over.set()
            await asyncio.Event().wait()
        self._left -= 1
        self.now += TICK_SECONDS
        return dict.fromkeys((SMALL, LARGE), self._load)


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """No waiting between samples."""
    monkeypatch.setattr(load, "PERIOD_SECONDS", 0.0)


async def follow(book, gateways, enqueue):
    following = asyncio.create_task(book.follow(gateways.in_flight, enqueue))
    await gateways.over.wait()
    following.cancel()
    await asyncio.wait({following})


async def test_an_idle_pool_is_looked_at_once_and_keeps_the_samples_of_its_look_back_alone():
    gateways, looked = Gateways(500, load=0.0), []
    book = LoadBook(gateways.clock)
    policy = a_policy(behavior={"lookBackSeconds": 30})
    book.remember(SMALL, decide(policy, ScalingMemory(), Running(1, 1), now=0.0, at=NOON).memory)

    async def enqueue(key):
        looked.append(key)

    await follow(book, gateways, enqueue)
    assert looked == [SMALL]
    assert len(book.memory(SMALL).samples) == 30 / TICK_SECONDS


async def test_a_pool_that_goes_while_others_are_handed_on_stays_forgotten():
    gateways = Gateways(2, load=1.0)
    book = LoadBook(gateways.clock)
    for key in (SMALL, LARGE):
        book.remember(key, ScalingMemory())

    async def enqueue(key):
        if key == SMALL:
            book.forget(LARGE)

    await follow(book, gateways, enqueue)
    assert book.memory(SMALL).samples
    assert book.memory(LARGE) is None
