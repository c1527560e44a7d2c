"""A live copy, beside an API server that does not behave."""

import asyncio

from pilotfish.kube.reflector import Reflector
from pilotfish.render.resources import SECRETS


class EndsWatches:
    """An API server that holds nothing and ends every watch as soon as it is opened."""

    opened = 0

    async def list(self, *_, **__):
        return [], "1"

    async def watch(self, *_, **__):
        self.opened += 1
        await asyncio.sleep(0)
        return
        yield


async def test_a_watch_that_ends_at_once_is_not_opened_again_at_once():
    server = EndsWatches()
    following = asyncio.create_task(Reflector(server, SECRETS, lambda: None).run())
    for _ in range(100):
        await asyncio.sleep(0)
    following.cancel()
    await asyncio.wait({following})
    assert server.opened == 1
